"""The network, loss, configuration and stages of MR to CT."""

import functools

import jax
import numpy as np
import pytest

from configs.synthrad_mr_to_ct import get_config
from lift_jax.configuration import from_json, mr_to_ct, to_json, validate
from lift_jax.data.paired_cases import PairedCase
from lift_jax.errors import UserError
from lift_jax.inference.ct import predict_ct
from lift_jax.inference.ct_files import _onto_body
from lift_jax.models.build import configured_translator, initial_parameters
from lift_jax.training.ct_loss import ct_loss
from lift_jax.training.optimisers import grouped_adamw
from tests.small_network import random_pair, random_parameters, small_network

WEIGHTS = mr_to_ct().loss.to_dict() | {"pixel": 1.0, "similarity": 0.0, "through_plane": 2.0}


@pytest.fixture(scope="module")
def network():
    return small_network(contrasts=1, combine=False)


@pytest.fixture(scope="module")
def params(network):
    return random_parameters(network)


def predicted(network, params, batch, **options):
    inputs = [batch[name] for name in ("sources", "available", "wanted", "depth")]
    apply = jax.jit(functools.partial(network.apply, **options))
    return np.asarray(apply({"params": params}, *inputs), np.float64)


def test_loss_weighs_bone_and_sees_nothing_outside_the_body(network, params):
    window = random_pair()
    made = np.where(window["body"] > 0, predicted(network, params, window), -1)
    target = window["target"].astype(np.float64)
    bone = target > (250 + 1024) / 2012 - 1
    pixel = (np.abs(made - target) * (1 + 3 * bone)).mean()
    steps = np.abs(np.diff(made - target, axis=1)).mean()
    loss, terms = jax.jit(ct_loss(network, WEIGHTS, 3.0, use_mixer=True))(params, window, jax.random.key(0))
    assert float(terms["pixel"]) == pytest.approx(pixel, rel=1e-5)
    assert float(terms["through_plane"]) == pytest.approx(steps, rel=1e-5)
    assert float(loss) == pytest.approx(pixel + 2 * steps, rel=1e-5)
    assert set(terms) == {"pixel", "through_plane"}
    plain, _ = jax.jit(ct_loss(network, WEIGHTS, 0.0, use_mixer=True))(params, window, jax.random.key(0))
    assert float(plain) < float(loss)


def test_direct_head_does_not_copy_the_source(network, params):
    """With a head of weights 0 every voxel of a slice is predicted alike, whatever the MR shows there."""
    head = {
        "kernel": 0 * params["translator"]["head"]["kernel"],
        "bias": 0 * params["translator"]["head"]["bias"] + 0.25,
    }
    silenced = params | {"translator": params["translator"] | {"head": head}}
    assert np.ptp(predicted(network, silenced, random_pair()), axis=(2, 3)).max() < 1e-6


def test_the_task_has_one_source_and_a_head_that_tells_the_value_itself():
    network = configured_translator(get_config("tiny"))
    params = jax.eval_shape(lambda key: initial_parameters(network, key), jax.random.key(0))
    stem = network.translator.stem
    assert set(params) == {"translator", "mixer"}
    assert params["translator"]["head"]["kernel"].shape[-1] == stem**2
    assert params["translator"]["stem_conv"]["kernel"].shape[-2] == stem**2


def test_prediction_is_in_hu_within_the_scanners_range_and_air_outside_the_body(network, params):
    rng = np.random.default_rng(3)
    mask = rng.random((5, 10, 13)) < 0.5
    mr = np.where(mask, rng.random(mask.shape), 0).astype(np.float32)
    case = PairedCase("case", mr, None, mask, np.eye(4))
    made = predict_ct(network, params, case, chunk=2, skip_memory=0.0)
    assert made.shape == mask.shape and made.dtype == np.float32
    assert (made[~mask] == -1024).all() and made.min() >= -1024 and made.max() <= 3000
    whole = predict_ct(network, params, case, chunk=5, skip_memory=1.0)
    np.testing.assert_allclose(made, whole, atol=0.05)


def test_a_group_without_decay_is_adam():
    params = {"translator": {"w": np.ones((2, 2), np.float32)}, "mixer": {"w": np.ones((2, 2), np.float32)}}
    options = {"steps": 10, "warmup": 0, "clip": 1e9}
    both = grouped_adamw({"translator": 0.1, "mixer": 0.1}, weight_decay={"translator": 0.0, "mixer": 0.5}, **options)
    zero = jax.tree.map(np.zeros_like, params)
    updates, _ = both.update(zero, both.init(params), params)
    np.testing.assert_array_equal(updates["translator"]["w"], 0)
    np.testing.assert_allclose(updates["mixer"]["w"], -0.05, rtol=1e-5)


@pytest.mark.parametrize("variant", ["no_mixer", "phantom", "tiny"])
def test_configurations_are_valid_and_return_from_json(variant):
    config = get_config(variant)
    with config.unlocked():
        config.data.root = "somewhere"
    assert validate(config) is config
    assert from_json(to_json(config), "x").to_dict() == config.to_dict()
    with pytest.raises(ValueError, match="variants"):
        get_config("other")


@pytest.mark.parametrize(
    "key, value, told",
    [
        ("data.layout", "brats", "data.layout"),
        ("data.layout", "synthrad", "data.root"),
        ("data.spacing", 0.0, "data.spacing"),
        ("data.side", -1, "data.side"),
        ("inference.side", -1, "inference.side"),
        ("loss.bone_weight", -1.0, "bone_weight"),
        ("stages", ("translator", "else"), "stages"),
    ],
)
def test_keys_that_cannot_work_are_named(key, value, told):
    config = mr_to_ct()
    config.data.spacing = 4.0
    assert validate(config) is config
    config.update_from_flattened_dict({key: value})
    with pytest.raises(UserError, match=told):
        validate(config)


def test_a_result_goes_back_onto_a_finer_grid_without_air_in_its_skin():
    coarse_mask = np.zeros((6, 6, 6), bool)
    coarse_mask[1:-1, 1:-1, 1:-1] = True
    fine_mask = coarse_mask.repeat(2, 0).repeat(2, 1).repeat(2, 2)
    affine, fine_affine = np.diag([2.0, 2, 2, 1]), np.diag([1.0, 1, 1, 1])
    affine[:3, 3] = 0.5
    case = PairedCase("a", np.zeros(coarse_mask.shape), None, coarse_mask, affine)
    native = PairedCase("a", np.zeros(fine_mask.shape), None, fine_mask, fine_affine)
    made = _onto_body(np.where(coarse_mask, 40.0, -1024), case, native)
    np.testing.assert_allclose(made[fine_mask], 40, atol=1e-3)
    assert (made[~fine_mask] == -1024).all()
    air = _onto_body(np.full(coarse_mask.shape, -1024.0), case, native)
    np.testing.assert_allclose(air, -1024, atol=1e-3)
