"""LiFT-C's loss of a batch against plain float64 NumPy, and what repeats and slices near the ends weigh in it."""

import functools

import jax
import numpy as np
import pytest

from lift_jax.data.slabs import slab_weights
from lift_jax.losses.paired import LossWeights
from lift_jax.training.translation import translation_loss
from tests.small_network import MR, MR_TO_CT, random_pair, random_parameters, random_slab, small_network


@pytest.fixture(scope="module")
def network():
    return small_network(source_channels=1, target_channels=1, combine=False)


@pytest.fixture(scope="module")
def params(network):
    return random_parameters(network)


def predicted(network, params, batch, **options):
    inputs = [batch[name] for name in ("sources", "available", "target_onehot", "depth")]
    apply = jax.jit(functools.partial(network.apply, **options))
    return np.asarray(apply({"params": params}, *inputs), np.float64)


def value(network, channels, weights, params, batch):
    return jax.jit(translation_loss(network, channels, weights, use_mixer=True))(params, batch, jax.random.key(0))


def test_loss_weighs_bone_and_sees_nothing_outside_the_foreground(network, params):
    batch = random_pair()
    prediction = np.where(batch["foreground"] > 0, predicted(network, params, batch), -1)
    target = batch["target_image"].astype(np.float64)
    bone = target > (250 + 1024) / 2012 - 1
    pixel = (np.abs(prediction - target) * (1 + 3 * bone)).mean()
    steps = np.abs(np.diff(prediction - target, axis=1)).mean()
    weights = LossWeights(pixel=1.0, similarity=0.0, through_plane=2.0, bone=3.0)
    loss, terms = value(network, MR_TO_CT, weights, params, batch)
    assert float(terms["pixel"]) == pytest.approx(pixel, rel=1e-5)
    assert float(terms["through_plane"]) == pytest.approx(steps, rel=1e-5)
    assert float(loss) == pytest.approx(pixel + 2 * steps, rel=1e-5)
    assert set(terms) == {"pixel", "through_plane"}


def test_bone_weighs_nothing_in_targets_that_are_not_in_hu():
    network = small_network("none")
    params, batch = random_parameters(network), random_slab(2, slices=2, height=12, width=12)
    losses = [value(network, MR, LossWeights(similarity=0.0, bone=bone), params, batch)[0] for bone in (0.0, 5.0)]
    assert float(losses[0]) == pytest.approx(float(losses[1]), rel=1e-6)


def test_repeats_of_the_last_slice_of_a_short_volume_have_no_effect(network, params):
    batch = random_pair(batch=1, slices=6)
    weights, pairs = slab_weights(4, 6, 0)
    batch |= {"slice_weights": weights[None], "delta_z_weights": pairs[None]}
    changed = batch | {"target_image": batch["target_image"].copy()}
    changed["target_image"][:, 4:] = 0.5
    one, other = (value(network, MR_TO_CT, LossWeights(), params, each)[1] for each in (batch, changed))
    for name in one:
        assert float(one[name]) == pytest.approx(float(other[name]), rel=1e-6), name
