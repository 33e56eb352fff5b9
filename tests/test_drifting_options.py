"""Switches of the drifting loss: each does what its name says, to any field."""

import dataclasses
import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from drifting_reference import drifting_reference
from quick_compile import quick_jit

from lift_jax.losses.drifting import FIELDS, DriftingOptions, drifting_loss
from lift_jax.losses.drifting_options import annealed_temperatures, guidance_weight
from lift_jax.losses.fields import mean_shift

TEMPERATURE = 0.5
RAW = DriftingOptions(normalise_force=False)


def particles(*counts, locations=2, features=3, seed=0):
    rng = np.random.default_rng(seed)
    return [rng.normal(size=(locations, n, features)).astype(np.float32) for n in counts]


@functools.partial(quick_jit, static_argnames=("field", "options", "temperatures"))
def loss_and_gradient(*arrays, field="mean_shift", options=RAW, temperatures=(TEMPERATURE,)):
    def total(x):
        loss, stats = drifting_loss(x, *arrays[1:], field=field, options=options, temperatures=temperatures)
        return loss.sum(), (loss, stats)

    gradient, (loss, stats) = jax.grad(total, has_aux=True)(arrays[0])
    return loss, gradient, stats


def force_of(*arrays, **settings):
    """In scaled coordinates."""
    _, gradient, stats = loss_and_gradient(*arrays, **settings)
    _, n, c = arrays[0].shape
    return -np.asarray(gradient) * n * c * (stats["distance_scale"] / c**0.5) / 2


def switched(**switches):
    return dataclasses.replace(RAW, **switches)


def distances_of(x, *others):
    others = np.concatenate(others, axis=1).astype(np.float64)
    return np.linalg.norm(x[:, :, None].astype(np.float64) - others[:, None], axis=-1)


def plain_mean_shift(d_real, positives, d_other, others):
    """Laplace-weighted mean of the real minus that of the others, by given scaled distances."""
    k_real, k_other = np.exp(-d_real / TEMPERATURE), np.exp(-d_other / TEMPERATURE)
    return (k_real / k_real.sum(-1, keepdims=True)) @ positives.astype(np.float64) - (
        k_other / k_other.sum(-1, keepdims=True)
    ) @ others.astype(np.float64)


def test_forces_are_normalised_each_by_its_own_root_mean_square_and_added():
    arrays = particles(4, 5)
    first, second = (force_of(*arrays, temperatures=(t,)) for t in (0.3, 0.8))
    expected = sum(force / np.sqrt(np.mean(force**2)) for force in (first, second))
    options = switched(normalise_force=True)
    np.testing.assert_allclose(force_of(*arrays, temperatures=(0.3, 0.8), options=options), expected, rtol=1e-4)
    np.testing.assert_allclose(force_of(*arrays, temperatures=(0.3, 0.8)), first + second, rtol=1e-4, atol=1e-5)


def test_a_sum_over_features_is_their_number_times_the_mean():
    arrays = particles(4, 5)
    mean, mean_gradient, _ = loss_and_gradient(*arrays)
    total, total_gradient, _ = loss_and_gradient(*arrays, options=switched(features="sum"))
    np.testing.assert_allclose(total, 3 * mean, rtol=1e-6)
    np.testing.assert_allclose(total_gradient, 3 * mean_gradient, rtol=1e-5)


@pytest.mark.parametrize("field", ["mean_shift", "softmax"])
def test_independent_negatives_alone_repel(field):
    x, positives, negatives = particles(4, 5, 3)
    options = switched(self_exclusion="independent")
    whole = force_of(x, positives, negatives, field=field, options=options)
    if field == "mean_shift":  # a query does not feel the other queries, but for the distance scale they share
        scale = distances_of(x, positives, negatives).mean()
        d_real, d_other = distances_of(x, positives) / scale, distances_of(x, negatives) / scale
        expected = plain_mean_shift(d_real, positives, d_other, negatives) / (scale / 3**0.5)
        np.testing.assert_allclose(whole, expected, rtol=1e-4, atol=1e-5)
    swapped = force_of(x, negatives, positives, field=field, options=options)
    np.testing.assert_allclose(whole, -swapped, rtol=1e-4, atol=1e-5)


def test_independent_negatives_must_be_given():
    with pytest.raises(ValueError, match="needs negatives: another batch"):
        drifting_loss(*particles(4, 5), options=DriftingOptions(self_exclusion="independent"))


def test_a_frozen_scale_is_the_divisor():
    x, positives = particles(4, 5)
    _, _, stats = loss_and_gradient(x, positives)
    frozen = switched(distance_scale=float(stats["distance_scale"]))
    np.testing.assert_allclose(force_of(x, positives, options=frozen), force_of(x, positives), rtol=1e-5, atol=1e-6)
    twice = switched(distance_scale=2 * float(stats["distance_scale"]))
    wider = force_of(x, positives, temperatures=(2 * TEMPERATURE,)) / 2
    np.testing.assert_allclose(force_of(x, positives, options=twice), wider, rtol=1e-4, atol=1e-6)


def test_a_scale_may_be_traced():
    x, positives = particles(4, 5)

    @quick_jit
    def stats_of(scale):
        return drifting_loss(x, positives, options=switched(distance_scale=scale))[1]

    assert stats_of(jnp.float32(1.5))["distance_scale"] == 1.5


def test_a_scale_by_row_is_each_querys_own():
    x, positives, negatives = particles(4, 5, 3)
    options = switched(self_exclusion="independent", distance_scale="row")
    distances = distances_of(x, positives, negatives)
    scale, rows = distances.mean(), distances.mean(axis=-1, keepdims=True)
    d_real, d_other = distances_of(x, positives) / rows, distances_of(x, negatives) / rows
    expected = plain_mean_shift(d_real, positives, d_other, negatives) / (scale / 3**0.5)
    np.testing.assert_allclose(force_of(x, positives, negatives, options=options), expected, rtol=1e-4, atol=1e-5)


def test_the_bias_correction_adds_squared_weights_times_deviations():
    x, positives, negatives = particles(4, 5, 3)
    options = switched(self_exclusion="independent", bias_correction=True)
    scale = distances_of(x, positives, negatives).mean()

    def corrected(targets):
        k = np.exp(-distances_of(x, targets) / scale / TEMPERATURE)
        w = k / k.sum(-1, keepdims=True)
        mu = w @ targets.astype(np.float64)
        deviations = targets[:, None].astype(np.float64) - mu[:, :, None]
        return mu + (w[..., None] ** 2 * deviations).sum(axis=2)

    expected = (corrected(positives) - corrected(negatives)) / (scale / 3**0.5)
    np.testing.assert_allclose(force_of(x, positives, negatives, options=options), expected, rtol=1e-4, atol=1e-5)


def test_the_bias_correction_takes_off_most_of_the_bias():
    """The mean force of many small batches, against that of one large one, at a frozen scale."""
    rng = np.random.default_rng(0)
    query = np.array([0.8, 0.0], np.float32)
    many = rng.normal(size=(4000, 6, 2)).astype(np.float32)
    far = np.full((4000, 1, 2), 1.0, np.float32)

    def mean_force(positives, correction):
        options = switched(self_exclusion="independent", distance_scale=1.0, bias_correction=correction)
        x = np.broadcast_to(query, (len(positives), 1, 2))
        force = force_of(x, positives, far[: len(positives)], options=options)
        return force.mean(axis=(0, 1))

    truth = mean_force(many.reshape(1, -1, 2), False)
    plain, corrected = (np.linalg.norm(mean_force(many, on) - truth) for on in (False, True))
    assert corrected < plain / 2


def test_the_affinity_floor_is_felt_by_all_targets():
    """With a floor above every affinity, all targets of a side pull alike."""
    x, positives, negatives = particles(4, 5, 3)
    means = (positives.mean(axis=1, keepdims=True) - negatives.mean(axis=1, keepdims=True)) + 0 * x
    for field in ("softmax", "mean_shift", "kernel_gradient"):
        options = switched(self_exclusion="independent", affinity_floor=1e4)
        force = force_of(x, positives, negatives, field=field, options=options)
        if field == "kernel_gradient":  # its coefficients are no shares: their sums differ from side to side
            means = 1e2 * (positives.sum(1, keepdims=True) - negatives.sum(1, keepdims=True) - 2 * x)
        ratio = force / means
        np.testing.assert_allclose(ratio, np.full_like(ratio, ratio.mean()), rtol=1e-3)


def test_without_a_floor_the_published_field_feels_near_targets_only():
    x, positives = particles(4, 5)
    expected = [drifting_reference(x, positives, temperatures=(0.05,))[4][0]]
    _, _, stats = loss_and_gradient(x, positives, field="softmax", temperatures=(0.05,))
    np.testing.assert_allclose(stats["neighbours_0.05"], expected[0], rtol=1e-4)
    _, _, bare = loss_and_gradient(
        x, positives, field="softmax", temperatures=(0.05,), options=switched(affinity_floor=0.0)
    )
    assert bare["neighbours_0.05"] < stats["neighbours_0.05"]


def test_the_published_floor_holds_a_collapse_and_without_it_particles_part():
    """Particles close together amid real ones all round: what moves them apart, beside what moves them all."""
    rng = np.random.default_rng(0)
    angles = np.linspace(0, 2 * np.pi, 32, endpoint=False)
    ring = np.stack([np.cos(angles), np.sin(angles)], axis=-1)[None].astype(np.float32)
    collapsed = (0.01 * rng.normal(size=(1, 32, 2)) + [0.1, 0]).astype(np.float32)

    def force(floor):
        options = switched(affinity_floor=floor)
        return force_of(collapsed, ring, field="softmax", temperatures=(0.1,), options=options)

    def parting(force):
        return np.abs(force - force.mean(axis=1, keepdims=True)).mean() / np.abs(force).mean()

    _, _, stats = loss_and_gradient(collapsed, ring, field="softmax", temperatures=(0.1,))
    np.testing.assert_allclose(stats["neighbours_0.1"], 32, rtol=1e-3)
    assert parting(force(None)) < 0.3 < parting(force(0.0))


def test_a_field_may_be_a_function():
    arrays = particles(4, 5)
    np.testing.assert_array_equal(force_of(*arrays, field=mean_shift), force_of(*arrays, field="mean_shift"))
    assert FIELDS["mean_shift"] is mean_shift


def test_guidance_weighs_unconditional_samples_as_other_particles():
    assert guidance_weight(1.0, 64, 16) == 0
    assert guidance_weight(3.0, 65, 16) * 16 == 2 * 64


def test_temperatures_are_annealed_exponentially_under_tracing():
    arrays = particles(4, 5)

    @quick_jit
    def loss_at(step):
        temperatures = annealed_temperatures((TEMPERATURE, 1.0), step, 0.1)
        return drifting_loss(*arrays, temperatures=temperatures, field="gaussian_score", options=RAW)

    loss, stats = loss_at(7)
    expected, _, _ = loss_and_gradient(
        *arrays, temperatures=(TEMPERATURE * math.exp(-0.7), math.exp(-0.7)), field="gaussian_score"
    )
    np.testing.assert_allclose(loss, expected, rtol=1e-4)
    assert {"force_0", "force_1", "neighbours_0", "neighbours_1"} < stats.keys()


@pytest.mark.parametrize(
    ("switches", "message"),
    [
        ({"self_exclusion": "maks"}, "self_exclusion must be one of mask, independent, not 'maks'"),
        ({"features": "median"}, "features must be one of mean, sum"),
        ({"distance_scale": "column"}, "distance_scale must be batch, row or a number"),
    ],
)
def test_switches_misspelt_are_refused(switches, message):
    with pytest.raises(ValueError, match=message):
        drifting_loss(*particles(4, 5), options=DriftingOptions(**switches))
