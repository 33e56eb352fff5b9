"""The drifting term beside a regression: its particles, its weight, and eight devices against one."""

import types

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import PartitionSpec as P

from lift_jax.configuration import missing_mr
from lift_jax.errors import UserError
from lift_jax.losses.drifting import drifting_loss
from lift_jax.losses.residual_drifting import residual_drifting_loss
from lift_jax.models.build import configured_translator
from lift_jax.training.translation_loss import mean_source, weighted_sum
from lift_jax.training.translator_stages import training_size


def windows(batch=8, slices=2, height=9, width=8, seed=0):
    """A prediction, a target and a reference."""
    rng = np.random.default_rng(seed)
    return tuple(rng.uniform(-1, 1, (batch, slices, height, width)).astype(np.float32) for _ in range(3))


def test_particles_are_patches_of_residuals_one_a_slice_at_every_place():
    prediction, target, reference = windows(2, 3)
    sides = []
    for image in (prediction - reference, target - reference):
        places = [image[:, :, i : i + 4, j : j + 4].reshape(6, 16) for i in (0, 4) for j in (0, 4)]
        sides.append(jnp.asarray(np.stack(places)))
    expected, stats = drifting_loss(*sides, temperatures=(0.2,), field="mean_shift")
    loss, named = residual_drifting_loss(
        prediction, target, reference, patch=4, temperatures=(0.2,), field="mean_shift"
    )
    np.testing.assert_allclose(loss, expected.mean(), rtol=1e-5)
    np.testing.assert_allclose(named["drifting_distance_scale"], stats["distance_scale"], rtol=1e-5)


def test_slices_smaller_than_a_patch_are_refused():
    with pytest.raises(ValueError, match="patches of 10 pixels do not fit"):
        residual_drifting_loss(*windows(2), patch=10)


def test_without_a_weight_the_loss_is_as_it_was_and_with_one_it_is_added():
    prediction, target, reference = windows(2, 2, 12, 12)
    plain = missing_mr().loss.to_dict() | {"similarity": 0.0, "drifting_patch": 4}
    value, terms = weighted_sum(prediction, target, reference, plain, None)
    other, _ = weighted_sum(prediction, target, 2 * reference, plain | {"drifting_field": "mmd"}, None)
    assert value == other and terms.keys() == {"pixel", "through_plane"}
    more, terms = weighted_sum(prediction, target, reference, plain | {"drifting": 0.3}, None)
    np.testing.assert_allclose(more, value + 0.3 * terms["drifting"], rtol=1e-5)
    assert terms["drifting"] > 0 and "drifting_force_0.2" in terms


def test_eight_devices_give_the_loss_and_gradient_of_one():
    sides = windows(8)

    def loss(prediction, target, reference, axis_name=None):
        return residual_drifting_loss(prediction, target, reference, patch=4, axis_name=axis_name)[0]

    expected, expected_gradient = jax.jit(jax.value_and_grad(loss))(*sides)

    def shared(*sides):
        value, gradient = jax.value_and_grad(loss)(*sides, "data")
        return jax.lax.pmean(value, "data"), gradient / jax.lax.axis_size("data")

    mesh = jax.make_mesh((8,), ("data",), axis_types=(jax.sharding.AxisType.Auto,))
    mapped = jax.shard_map(shared, mesh=mesh, in_specs=(P("data"),) * 3, out_specs=(P(), P("data")))
    value, gradient = jax.jit(mapped)(*sides)
    np.testing.assert_allclose(value, expected, rtol=1e-5)
    scale = np.abs(expected_gradient).max()
    np.testing.assert_allclose(gradient / scale, expected_gradient / scale, atol=1e-5)


def test_the_mean_source_is_of_those_that_are_there():
    sources = np.random.default_rng(0).normal(size=(2, 3, 4, 4, 3)).astype(np.float32)
    available = jnp.array([[1, 0, 1], [0, 1, 0]], jnp.float32)
    mean = mean_source(sources, available)
    np.testing.assert_allclose(mean[0], sources[0, ..., [0, 2]].mean(axis=0), rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(mean[1], sources[1, ..., 1], rtol=1e-5)


@pytest.mark.parametrize(("crop", "told"), [((0, 0), "24x40"), ((16, 16), "16x16")])
def test_patches_larger_than_the_slices_are_refused_by_their_key(crop, told):
    case = types.SimpleNamespace(array=lambda name: np.zeros((5, 20, 40, 4)))
    config = missing_mr()
    config.update_from_flattened_dict({"loss.drifting": 0.1, "loss.drifting_patch": 32, "data.crop": crop})
    with pytest.raises(UserError, match=rf"^config\.loss\.drifting_patch: 32 .* {told}$"):
        training_size([case], config, configured_translator(config))
    config.loss.drifting = 0.0
    assert min(training_size([case], config, configured_translator(config))) < 32
