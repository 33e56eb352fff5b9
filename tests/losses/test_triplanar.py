"""Trajectories: positions, slices, particles, banks, and the tri-planar loss on one device and on eight."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.sharding import PartitionSpec as P

from lift_jax.losses import drifting_loss
from lift_jax.losses.triplanar import (
    PARTICLES,
    PLANES,
    depth_positions,
    draw_real,
    encode_trajectories,
    make_particles,
    plane_slices,
    triplanar_drifting_loss,
)

CHOSEN = ("axial", "coronal")


def trajectories(count, seed, locations=2, positions=3, features=4):
    """Random trajectories of two feature tensors in each plane."""
    rng = np.random.default_rng(seed)
    return {
        plane: {
            name: rng.normal(seed, 1, (count, positions, locations * size, features)).astype(np.float32)
            for name, size in (("coarse", 1), ("fine", 2))
        }
        for plane in PLANES
    }


@pytest.mark.parametrize(("count", "depth"), [(1, 5), (4, 4), (5, 32), (12, 155)])
def test_positions_are_one_of_each_equal_part_in_order(count, depth):
    drawn = np.stack([depth_positions(jax.random.key(seed), count, depth) for seed in range(50)])
    parts = np.arange(count) * depth / count
    assert (drawn >= np.floor(parts)).all() and (drawn < parts + depth / count).all()
    assert (np.diff(drawn, axis=1) >= 0).all()
    assert drawn.min() == 0 and drawn.max() == depth - 1


@pytest.mark.parametrize("plane", PLANES)
def test_slices_lie_across_the_planes_normal(plane):
    volumes = np.random.default_rng(0).normal(size=(2, 5, 6, 7)).astype(np.float32)
    slices = plane_slices(volumes, plane, jnp.array([1, 4]))
    for i, position in enumerate((1, 4)):
        expected = {
            "axial": volumes[:, position],
            "coronal": volumes[:, :, position],
            "sagittal": volumes[:, :, :, position],
        }[plane]
        np.testing.assert_array_equal(slices[:, i], expected)


def test_encoded_trajectories_hold_each_slices_features():
    volumes = np.random.default_rng(0).normal(size=(2, 5, 6, 7)).astype(np.float32)
    positions = {"coronal": jnp.array([0, 3, 5])}
    encoded = encode_trajectories(volumes, positions, lambda x: {"mean": x.mean((1, 2), keepdims=True)[:, :, 0]})
    assert encoded["coronal"]["mean"].shape == (2, 3, 1, 1)
    np.testing.assert_allclose(encoded["coronal"]["mean"][1, 2, 0, 0], volumes[1, :, 5].mean(), rtol=1e-5)


def test_real_trajectories_are_the_drawn_volumes_at_the_positions():
    bank = {"axial": {"x": np.random.default_rng(0).normal(size=(6, 8, 2, 3)).astype(np.float32)}}
    drawn = draw_real(bank, {"axial": jnp.array([1, 7])}, jnp.array([5, 0, 2]))["axial"]["x"]
    assert drawn.shape == (3, 2, 2, 3)
    np.testing.assert_array_equal(drawn[2, 1], bank["axial"]["x"][2, 7])


def test_particles_of_each_kind():
    x = np.random.default_rng(0).normal(size=(5, 3, 2, 4)).astype(np.float32)
    (slices,) = make_particles(x, "slice").values()
    assert slices.shape == (3 * 2, 5, 4)
    np.testing.assert_array_equal(slices[2 * 2 + 1, 4], x[4, 2, 1])
    segment = make_particles(x, "segment")
    np.testing.assert_array_equal(segment["slice"], slices)
    np.testing.assert_array_equal(segment["step"][1 * 2 + 1, 4], x[4, 2, 1] - x[4, 1, 1])
    (volume,) = make_particles(x, "volume").values()
    np.testing.assert_array_equal(volume[1, 4], np.concatenate([x[4, 0, 1], x[4, 1, 1], x[4, 2, 1]]))
    (unordered,) = make_particles(x, "unordered").values()
    assert {tuple(row) for row in unordered[1].tolist()} == {tuple(row) for row in x[:, :, 1].reshape(-1, 4).tolist()}
    pair = make_particles(x, "unordered_segment")
    np.testing.assert_array_equal(pair["slice"], unordered)
    steps = (x[:, 1:] - x[:, :-1])[:, :, 1].reshape(-1, 4)
    assert {tuple(row) for row in pair["step"][1].tolist()} == {tuple(row) for row in steps.tolist()}
    with pytest.raises(ValueError, match="slice, segment, volume, unordered, unordered_segment"):
        make_particles(x, "slices")


@pytest.mark.parametrize("kind", PARTICLES)
def test_depth_matters_to_all_particles_but_the_unordered(kind):
    """Generated volumes that are real ones upside down."""
    real = trajectories(6, seed=0)
    reversed_depth = jax.tree.map(lambda x: x[:, ::-1], real)
    stats = jax.jit(lambda generated: triplanar_drifting_loss(generated, real, planes=CHOSEN, particles=kind)[1])
    same, other = (float(stats(generated)["axial_field_square_0.2"]) for generated in (real, reversed_depth))
    assert (abs(other - same) < 1e-4 * same) == (kind == "unordered")


def test_the_loss_is_the_sum_over_the_chosen_planes_of_every_tensors_own():
    generated, real = trajectories(4, seed=0), trajectories(6, seed=1)
    loss, stats = jax.jit(lambda: triplanar_drifting_loss(generated, real, planes=CHOSEN))()
    drift = jax.jit(lambda x, y: drifting_loss(x, y)[0].mean())
    expected = 0.0
    for plane in CHOSEN:
        for name in generated[plane]:
            ours, theirs = (make_particles(jnp.asarray(x[plane][name]), "segment") for x in (generated, real))
            expected += sum(drift(ours[part], theirs[part]) for part in ours)
    np.testing.assert_allclose(loss, expected, rtol=1e-5)
    assert not any(name.startswith("sagittal") for name in stats)


@pytest.mark.parametrize("kind", PARTICLES)
def test_eight_devices_give_the_loss_and_gradient_of_one(kind):
    generated, real = trajectories(8, seed=0), trajectories(16, seed=1)

    def loss(generated, real, axis_name=None):
        return triplanar_drifting_loss(generated, real, planes=CHOSEN, particles=kind, axis_name=axis_name)[0]

    expected, expected_gradient = jax.jit(jax.value_and_grad(loss))(generated, real)

    def shared(generated, real):
        value, gradient = jax.value_and_grad(loss)(generated, real, "data")
        return jax.lax.pmean(value, "data"), jax.tree.map(lambda g: g / jax.lax.axis_size("data"), gradient)

    mesh = jax.make_mesh((8,), ("data",), axis_types=(jax.sharding.AxisType.Auto,))
    mapped = jax.shard_map(shared, mesh=mesh, in_specs=(P("data"), P("data")), out_specs=(P(), P("data")))
    value, gradient = jax.jit(mapped)(generated, real)
    np.testing.assert_allclose(value, expected, rtol=1e-5)
    for plane in ("axial", "coronal"):
        for name in generated[plane]:
            scale = np.abs(expected_gradient[plane][name]).max()
            np.testing.assert_allclose(gradient[plane][name] / scale, expected_gradient[plane][name] / scale, atol=1e-5)
