"""Every drifting field: its formula, its zero, its sign, its symmetries; whatever the distances."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lift_jax.losses import FIELDS, drifting_loss
from lift_jax.losses.fields import LAPLACE, SHARP_LAPLACE, kernel_gradient, mean_shift, sinkhorn
from tests.drifting_reference import drifting_reference
from tests.field_values import NEAR, C, N, P, Q, assert_close, evaluate, field_of, particles
from tests.fields_reference import field_reference
from tests.quick_compile import quick_jit


@pytest.fixture(params=list(FIELDS))
def field(request):
    return request.param


@pytest.mark.parametrize("name", [name for name in FIELDS if not name.startswith("softmax")])
def test_a_field_equals_its_formula_in_plain_float64(name):
    x, positives, negatives = particles(N, P, Q, locations=1)
    # Two locations alike but for the order of queries and real ones, so that one distance scale is right for both.
    arrays = [np.concatenate(a) for a in ((x, x[:, ::-1]), (positives, positives[:, ::-1]), (negatives, negatives))]
    weights = np.random.default_rng(5).uniform(0.2, 3, size=(1, Q)).astype(np.float32).repeat(2, axis=0)
    actual, scale = evaluate(*arrays, weights, field=name, temperature=NEAR)
    expected, expected_scale = field_reference(name, *(a[0] for a in arrays), weights[0], NEAR)
    np.testing.assert_allclose(scale, expected_scale, rtol=1e-6)
    assert_close(actual[0], expected, 1e-4)
    assert_close(actual[1, ::-1], expected, 1e-4)


def test_a_field_falls_to_zero_as_samples_of_one_distribution_grow(field):
    """Mean squares fall as 1/n, to be compared with the value where the distributions differ by half a deviation."""

    def relative_value(n, shift):
        x, positives, negatives = particles(n, n, n, locations=4, features=2, seed=n)
        weights = np.ones(negatives.shape[:2], np.float32)
        value, _ = evaluate(x, positives + np.float32(shift), negatives, weights, field=field, temperature=1.0)
        return np.mean(np.asarray(value) ** 2)

    few, many = (relative_value(n, 0) / relative_value(n, 0.5) for n in (24, 384))
    assert many < 0.1
    assert 16 / 3 < few / many < 16 * 3


def test_a_lone_real_particle_attracts_and_a_lone_generated_one_repels(field):
    origin = np.zeros((2, N, C), np.float32)
    right = np.zeros((2, P, C), np.float32)
    right[..., 0] = 1
    left = -right[:, :Q]
    pulled = field_of(field, origin, right, left)
    assert (pulled[..., 0] > 0).all()
    assert (field_of(field, origin, -right, -left)[..., 0] < 0).all()
    np.testing.assert_allclose(pulled[..., 1:], 0, atol=1e-6)
    # The generated ones alone: real ones on both sides alike, repulsion from one.
    both_sides = np.concatenate([right[:, :3], left[:, :2]], axis=1)
    both_sides[:, 2] = 0
    assert (field_of(field, origin, both_sides, left)[..., 0] > 0).all()


def test_a_field_moves_and_turns_with_its_particles(field):
    arrays = particles(N, P, Q)
    value = field_of(field, *arrays)
    shift = np.array([3.0, -2, 5], np.float32)
    rotation = np.linalg.qr(np.random.default_rng(3).normal(size=(C, C)))[0].astype(np.float32)
    assert_close(field_of(field, *(a + shift for a in arrays)), value, 1e-4)
    assert_close(field_of(field, *(a @ rotation for a in arrays)), value @ rotation, 1e-4)
    assert_close(field_of(field, *(32 * a for a in arrays)), value, 1e-4)


def test_a_field_knows_no_order(field):
    x, positives, negatives = particles(N, P, Q)
    value = field_of(field, x, positives, negatives)
    turned = field_of(field, x[:, ::-1], positives[:, ::-1], negatives[:, ::-1])
    assert_close(turned[:, ::-1], value, 1e-4)


@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e6])
def test_a_field_is_finite_whatever_the_distances(field, scale):
    x, positives, negatives = (scale * a for a in particles(N, P, Q))
    weights = np.zeros((2, Q), np.float32)
    coincident = np.zeros_like(x)
    outlier = x.copy()
    outlier[:, 0] += 1000 * np.float32(scale)
    for case in (
        (x, positives, negatives),
        (x, positives, negatives, weights),
        (x, x[:, :P], x[:, :Q]),
        (coincident, coincident[:, :P], coincident[:, :Q]),
        (coincident, positives, negatives),
        (outlier, positives, negatives),
    ):
        assert np.isfinite(field_of(field, *case)).all()


def test_a_field_takes_one_particle_low_temperatures_and_bfloat16(field):
    x, positives, negatives = (a.astype(jnp.bfloat16) for a in particles(1, P, Q))
    cold = functools.partial(drifting_loss, field=field, temperatures=(0.02,))
    loss, stats = quick_jit(cold)(x, positives, negatives)
    assert loss.dtype == jnp.float32
    assert np.isfinite(jax.tree.leaves((loss, stats))[0]).all()
    assert all(np.isfinite(value) for value in stats.values())


def test_the_registry_names_what_it_holds():
    arrays = particles(N, P, Q)
    for name, same in [
        ("sharp_laplace", functools.partial(kernel_gradient, kernel=SHARP_LAPLACE)),
        ("kernel_gradient", functools.partial(kernel_gradient, kernel=LAPLACE)),
        ("sinkhorn", sinkhorn(20)),
    ]:
        np.testing.assert_array_equal(field_of(name, *arrays), field_of(same, *arrays))


def test_fields_are_normalized_each_by_its_own_root_mean_square_and_added():
    x, positives, _ = particles(N, P, Q)

    def gradient(temperatures):
        total = lambda x: drifting_loss(x, positives, temperatures=temperatures, field="mean_shift")[0].sum()  # noqa: E731
        return np.asarray(quick_jit(jax.grad(total))(x))

    assert_close(gradient((0.3, 0.8)), gradient((0.3,)) + gradient((0.8,)), 1e-4)


def test_without_its_floor_the_published_field_is_the_same_formula():
    x, positives, negatives = particles(N, P, Q)
    temperatures, names = (0.05, NEAR), ("field_square_0.05", "field_square_0.7")
    loss, stats = drifting_loss(x, positives, negatives, temperatures=temperatures, field="softmax_no_floor")
    expected, _, _, values, _ = drifting_reference(x, positives, negatives, temperatures=temperatures, floor=0.0)
    np.testing.assert_allclose(loss, expected, rtol=1e-4)
    np.testing.assert_allclose([stats[name] for name in names], values, rtol=1e-4)


def test_the_published_floor_holds_a_collapse_and_without_it_particles_part():
    """Particles close together amid real ones all round: what moves them apart, beside what moves them all."""
    rng = np.random.default_rng(0)
    angles = np.linspace(0, 2 * np.pi, 32, endpoint=False)
    ring = np.stack([np.cos(angles), np.sin(angles)], axis=-1)[None].astype(np.float32)
    collapsed = (0.01 * rng.normal(size=(1, 32, 2)) + [0.1, 0]).astype(np.float32)

    def gradient_and_stats(field):
        def total(x):
            loss, stats = drifting_loss(x, ring, temperatures=(0.1,), field=field)
            return loss.sum(), stats

        return quick_jit(jax.grad(total, has_aux=True))(collapsed)

    def parting(value):
        return np.abs(value - value.mean(axis=1, keepdims=True)).mean() / np.abs(value).mean()

    held, stats = gradient_and_stats("softmax")
    free, free_stats = gradient_and_stats("softmax_no_floor")
    np.testing.assert_allclose(stats["effective_neighbors_0.1"], 32, rtol=1e-3)
    assert free_stats["effective_neighbors_0.1"] < 31
    assert parting(held) < 0.3 < parting(free)


def test_a_field_may_be_a_function():
    arrays = particles(N, P, Q)
    np.testing.assert_array_equal(field_of(mean_shift, *arrays), field_of("mean_shift", *arrays))
