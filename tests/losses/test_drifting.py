"""The published drifting loss against plain float64 loops; its symmetries; one device or many; what it refuses."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from conftest import DEVICES
from jax.sharding import PartitionSpec as P

from lift_jax.losses import distances, drifting_loss
from lift_jax.losses.drifting import drifting_losses
from tests.drifting_reference import drifting_reference
from tests.quick_compile import quick_jit

TEMPERATURES = (0.05, 0.2)  # two show how values add up; the published three take longer to compile


def particles(*counts, locations=3, features=4, seed=0):
    """Normal float32 arrays `[L, count, C]`, shifted more and more from one to the next; None for a count of None."""
    rng = np.random.default_rng(seed)
    return [
        None if n is None else (rng.normal(size=(locations, n, features)) + 0.5 * k).astype(np.float32)
        for k, n in enumerate(counts)
    ]


def loss_and_gradient(*arrays, temperatures=TEMPERATURES, **options):
    """Loss `[L]`, gradient of its sum by the generated particles, statistics."""

    def total(*arrays, negative_weights=None, **options):
        loss, stats = drifting_loss(*arrays, negative_weights=negative_weights, **options)
        return loss.sum(), (loss, stats)

    options = {"temperatures": temperatures, **options}
    static = tuple(name for name in options if name != "negative_weights")
    gradient, (loss, stats) = quick_jit(jax.grad(total, has_aux=True), static_argnames=static)(*arrays, **options)
    return loss, gradient, stats


def assert_close(actual, expected, rtol=1e-5):
    """Equal up to `rtol` of the largest."""
    expected = np.asarray(expected)
    np.testing.assert_allclose(actual, expected, rtol=rtol, atol=rtol * np.abs(expected).max())


def random_weights(shape):
    return np.random.default_rng(9).uniform(0.2, 3, size=shape).astype(np.float32)


@pytest.mark.parametrize(
    ("n", "p", "q", "weights", "temperatures"),
    [
        (5, 6, None, None, (0.02, 0.05, 0.2)),
        (5, 6, 3, None, (0.02, 0.05, 0.2)),
        (5, 6, 3, random_weights((3, 3)), (0.02, 0.05, 0.2)),
        (5, 6, 3, random_weights((3,)), (0.05,)),
        (4, 3, 2, 0.0, (1.0, 0.3)),
        (1, 6, 3, None, (0.02, 0.2)),
        (5, 1, None, None, (0.05, 0.2)),
        (1, 1, 1, None, (0.2,)),
    ],
)
def test_value_gradient_and_statistics_equal_plain_float64(n, p, q, weights, temperatures):
    x, positives, negatives = particles(n, p, q)
    loss, gradient, stats = loss_and_gradient(
        x, positives, negatives, negative_weights=weights, temperatures=temperatures
    )
    expected = drifting_reference(x, positives, negatives, weights, temperatures)
    assert_close(loss, expected[0], 2e-5)
    assert_close(gradient, expected[1], 2e-5)
    np.testing.assert_allclose(stats["distance_scale"], expected[2], rtol=1e-6)
    for temperature, field_value, neighbors in zip(temperatures, *expected[3:], strict=True):
        np.testing.assert_allclose(stats[f"field_square_{temperature:g}"], field_value, rtol=1e-4)
        np.testing.assert_allclose(stats[f"effective_neighbors_{temperature:g}"], neighbors, rtol=1e-4)


def test_spread_is_the_mean_standard_deviation_across_particles():
    x, positives = particles(5, 6)
    _, stats = quick_jit(drifting_loss)(x, positives)
    np.testing.assert_allclose(stats["particle_std"], x.astype(np.float64).std(axis=1).mean(), rtol=1e-6)


def test_only_generated_particles_get_a_gradient():
    arrays = particles(4, 5, 3)
    gradients = quick_jit(jax.grad(lambda *a: drifting_loss(*a)[0].sum(), argnums=(0, 1, 2)))(*arrays)
    assert np.abs(gradients[0]).max() > 0
    assert not np.any(gradients[1]) and not np.any(gradients[2])


def test_bfloat16_particles_are_computed_in_float32():
    x, positives, negatives = (a.astype(jnp.bfloat16) for a in particles(5, 6, 3))
    loss, gradient, _ = loss_and_gradient(x, positives, negatives)
    expected, expected_gradient, _ = loss_and_gradient(*(a.astype(jnp.float32) for a in (x, positives, negatives)))
    assert loss.dtype == jnp.float32 and gradient.dtype == jnp.bfloat16
    assert_close(loss, expected)
    assert_close(gradient.astype(jnp.float32), expected_gradient, 2**-8)


def test_particles_far_from_the_origin_are_as_exact_as_near_it():
    near = [np.round(a * 64) / 64 for a in particles(5, 6, 3)]
    far = [(a + 4096).astype(np.float32) for a in near]
    loss, gradient, _ = loss_and_gradient(*far)
    expected = drifting_reference(*near, temperatures=TEMPERATURES)
    assert_close(loss, expected[0], 2e-5)
    assert_close(gradient, expected[1], 2e-5)


@pytest.mark.parametrize("limit", [1, 160])
def test_blocks_of_particles_change_nothing(monkeypatch, limit):
    x, positives, negatives = particles(11, 6, 3)
    weights = random_weights((3, 3))
    whole = loss_and_gradient(x, positives, negatives, negative_weights=weights)
    monkeypatch.setattr(distances, "BLOCK_DISTANCES", limit)
    assert distances.block_size(11, 3 * 20) == {1: 1, 160: 2}[limit]
    blocks = loss_and_gradient(x, positives, negatives, negative_weights=weights)
    for actual, expected in zip(jax.tree.leaves(blocks), jax.tree.leaves(whole), strict=True):
        assert_close(actual, expected)


def test_memory_of_blocks_does_not_grow_with_particles(monkeypatch):
    def temporary_bytes(n):
        shapes = [jax.ShapeDtypeStruct((1, m, 2), np.float32) for m in (n, 64)]
        compiled = quick_jit(lambda x, y: drifting_loss(x, y, temperatures=(0.1,))[0]).lower(*shapes).compile()
        return compiled.memory_analysis().temp_size_in_bytes

    monkeypatch.setattr(distances, "BLOCK_DISTANCES", 2**16)
    assert temporary_bytes(4096) < 8 * 2**20 < 4096 * 4096 * 4 / 4


def test_blocks_are_as_even_as_they_can_be():
    assert distances.block_size(100, distances.BLOCK_DISTANCES // 100) == 100
    assert distances.block_size(100, distances.BLOCK_DISTANCES // 99) == 50
    assert distances.block_size(100, 2 * distances.BLOCK_DISTANCES) == 1


# Symmetries.


def drift_of(*arrays, **options):
    """The direction in which descent moves the particles."""
    return -np.asarray(loss_and_gradient(*arrays, **options)[1])


def test_a_lone_real_particle_attracts_and_a_lone_generated_one_repels():
    origin = np.zeros((1, 1, 2), np.float32)
    right, left = np.array([[[1.0, 0]]], np.float32), np.array([[[-1.0, 0]]], np.float32)
    assert drift_of(origin, right, left)[0, 0, 0] > 0
    assert drift_of(origin, left, right)[0, 0, 0] < 0
    # Two near each other, in a ring of real ones that pull them to all sides alike, part.
    pair = np.array([[[0.1, 0], [-0.1, 0]]], np.float32)
    ring = np.array([[[0, 1.0], [0, -1.0], [1.0, 0], [-1.0, 0]]], np.float32)
    outwards = drift_of(pair, ring, temperatures=(0.2,))[0]
    assert outwards[0, 0] > 0 > outwards[1, 0]


def test_moving_everything_moves_nothing_relative():
    arrays = particles(5, 6, 3)
    shift = np.array([3.0, -2, 1, 5], np.float32)
    loss, gradient, _ = loss_and_gradient(*arrays)
    moved_loss, moved_gradient, _ = loss_and_gradient(*(a + shift for a in arrays))
    assert_close(moved_loss, loss, 3e-5)
    assert_close(moved_gradient, gradient, 3e-5)


def test_turning_everything_turns_the_drift():
    arrays = particles(5, 6, 3)
    rotation = np.linalg.qr(np.random.default_rng(3).normal(size=(4, 4)))[0].astype(np.float32)
    loss, gradient, _ = loss_and_gradient(*arrays)
    turned_loss, turned_gradient, _ = loss_and_gradient(*(a @ rotation for a in arrays))
    assert_close(turned_loss, loss, 3e-5)
    assert_close(turned_gradient, gradient @ rotation, 3e-5)


def test_the_unit_of_features_does_not_matter():
    arrays = particles(5, 6, 3)
    loss, _, _ = loss_and_gradient(*arrays)
    assert_close(loss_and_gradient(*(64 * a for a in arrays))[0], loss)


# One device or many.


def generator_and_batches(negatives=True):
    """A linear generator `[z, C]`, noise `[L, N, z]`, and real and repelling features that divide over the devices."""
    noise, positives, extra = particles(2 * DEVICES, DEVICES, DEVICES, locations=2)
    weights = random_weights((2, DEVICES))
    matrix = np.random.default_rng(4).normal(size=(4, 4)).astype(np.float32)
    return matrix, (noise, positives) + ((extra, weights) if negatives else ())


def generator_step(matrix, noise, positives, negatives=None, weights=None, axis_name=None):
    """Loss per location, gradient by the generator and statistics, averaged over devices as the training step does."""

    def total(matrix):
        value, stats = drifting_loss(
            noise @ matrix,
            positives,
            negatives,
            negative_weights=weights,
            temperatures=TEMPERATURES,
            axis_name=axis_name,
        )
        return value.mean(), (value, stats)

    gradient, (value, stats) = jax.grad(total, has_aux=True)(matrix)
    results = (value, gradient, stats)
    return results if axis_name is None else jax.lax.pmean(results, axis_name)


def by_shard_map(step, matrix, arrays):
    mesh = jax.make_mesh((DEVICES,), ("data",))

    def varying(matrix, *arrays):
        return step(jax.lax.pcast(matrix, "data", to="varying"), *arrays)

    in_specs = (P(), *(P(None, "data") for _ in arrays))
    mapped = quick_jit(jax.shard_map(varying, mesh=mesh, in_specs=in_specs, out_specs=P()))
    shard = jax.sharding.NamedSharding(mesh, P(None, "data"))
    replicated = jax.device_put(matrix, jax.sharding.NamedSharding(mesh, P()))
    return mapped(replicated, *(jax.device_put(a, shard) for a in arrays))


def shares(array):
    """`[L, D n, …]` as `[D, L, n, …]`."""
    return np.stack(np.split(array, DEVICES, axis=1))


def by_pmap(step, matrix, arrays):
    def varying(matrix, *arrays):
        return step(jax.lax.pcast(matrix, "data", to="varying"), *arrays)

    mapped = jax.pmap(varying, axis_name="data", in_axes=(None, *(0 for _ in arrays)), out_axes=None)
    return mapped(matrix, *map(shares, arrays))


def by_vmap(step, matrix, arrays):
    mapped = jax.vmap(step, axis_name="data", in_axes=(None, *(0 for _ in arrays)), out_axes=None)
    return quick_jit(mapped)(matrix, *map(shares, arrays))


@pytest.mark.parametrize("mapping", [by_shard_map, by_pmap, by_vmap])
@pytest.mark.parametrize("negatives", [True, False])
def test_eight_devices_equal_one_that_holds_everything(mapping, negatives):
    matrix, arrays = generator_and_batches(negatives)
    expected = quick_jit(generator_step)(matrix, *arrays)
    actual = mapping(functools.partial(generator_step, axis_name="data"), matrix, arrays)
    for a, b in zip(jax.tree.leaves(actual), jax.tree.leaves(expected), strict=True):
        assert_close(np.asarray(a), b)


def test_eight_devices_in_blocks_equal_one(monkeypatch):
    matrix, arrays = generator_and_batches()
    expected = quick_jit(generator_step)(matrix, *arrays)
    monkeypatch.setattr(distances, "BLOCK_DISTANCES", 1)
    actual = by_shard_map(functools.partial(generator_step, axis_name="data"), matrix, arrays)
    for a, b in zip(jax.tree.leaves(actual), jax.tree.leaves(expected), strict=True):
        assert_close(np.asarray(a), b)


def test_one_particle_a_device_has_the_others_to_repel_it():
    x, positives = particles(DEVICES, DEVICES)
    loss = functools.partial(drifting_loss, temperatures=TEMPERATURES)
    expected, _ = quick_jit(loss)(x, positives)
    mapped = jax.vmap(functools.partial(loss, axis_name="data"), axis_name="data")
    actual, _ = quick_jit(mapped)(shares(x), shares(positives))
    assert_close(actual.mean(axis=0), expected)


# What is refused.


@pytest.mark.parametrize(
    ("arrays", "options", "message"),
    [
        ((1, 6), {}, "at least 2 generated particles in all, or negatives"),
        ((4, 6), {"field": "sofmax"}, "no drifting field 'sofmax'; there are softmax"),
        ((4, 6), {"temperatures": (0.1, 0.0)}, "positive"),
        ((4, 6), {"temperatures": (np.float32(-1),)}, "positive"),
        ((4, 6), {"temperatures": ()}, "at least one"),
        ((4, 6), {"negative_weights": np.ones(4)}, "without negatives"),
        ((4, 0), {}, r"at least one of everything, not generated \(3, 4, 4\), positives \(3, 0, 4\)"),
    ],
)
def test_what_cannot_be_meant_is_refused(arrays, options, message):
    with pytest.raises(ValueError, match=message):
        drifting_loss(*particles(*arrays), **options)


@pytest.mark.parametrize("wrong", [np.zeros((3, 6, 5)), np.zeros((2, 6, 4)), np.zeros((6, 4))])
def test_shapes_that_disagree_are_refused(wrong):
    (x,) = particles(4)
    with pytest.raises(ValueError, match=r"same L and C, not generated \(3, 4, 4\), positives"):
        drifting_loss(x, wrong)
    with pytest.raises(ValueError, match="negatives"):
        drifting_loss(x, x, wrong)


def test_losses_of_many_feature_tensors_are_those_of_each_alone():
    """Distance scale, normalization and statistics are each tensor's own, whichever are computed in one piece."""
    tensors = {}
    for name, locations, features, factor in (("a", 2, 4, 1), ("b", 1, 4, 3), ("c", 3, 4, 0.2), ("d", 2, 3, 1)):
        x, positives = particles(5, 6, locations=locations, features=features, seed=locations)
        tensors[name] = x, positives * np.float32(factor)

    def total(generated):
        together = {name: (x, tensors[name][1]) for name, x in generated.items()}
        losses, stats = drifting_losses(together, temperatures=TEMPERATURES)
        return sum(losses.values()), (losses, stats)

    generated = {name: x for name, (x, _) in tensors.items()}
    gradients, (losses, stats) = quick_jit(jax.grad(total, has_aux=True))(generated)
    for name, arrays in tensors.items():
        loss, gradient, own = loss_and_gradient(*arrays)
        assert_close(losses[name], loss.mean())
        assert_close(gradients[name], gradient / len(loss))
        for key, value in own.items():
            np.testing.assert_allclose(stats[name][key], value, rtol=1e-5)
