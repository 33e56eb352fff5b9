"""The z-mixer around its layer along depth, and pooling against exact areas."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lift_jax.models.z_mixer import (
    ZMixer,
    neighbor_residuals,
    pool_cells,
    source_statistics,
)

HIDDEN, SLICES, FEATURES = 6, 9, 5


def random_mixer(grid=2, batch=2):
    """A mixer with arbitrary weights, and its inputs."""
    rng = np.random.default_rng(0)
    pooled = rng.normal(size=(batch, SLICES, grid, grid, FEATURES)).astype(np.float32)
    depth = np.tile(np.linspace(-1, 1, SLICES, dtype=np.float32), (batch, 1))
    condition = rng.normal(size=(batch, 3)).astype(np.float32)
    mixer = ZMixer(HIDDEN, 7, 3)
    shapes = jax.eval_shape(mixer.init, jax.random.key(0), pooled, depth, condition)
    params = jax.tree.map(lambda leaf: jnp.asarray(rng.normal(scale=0.4, size=leaf.shape), jnp.float32), shapes)
    return mixer, params, pooled, depth, condition


def test_an_untrained_mixer_gives_exactly_zero():
    mixer, _, pooled, *conditions = random_mixer()
    context, _ = jax.jit(mixer.init_with_output)(jax.random.key(0), 100 * pooled, *conditions)
    assert context.shape == (2, SLICES, 2, 2, 7)
    np.testing.assert_array_equal(context, 0)


def test_an_untrained_mixer_can_learn():
    mixer, params, *inputs = random_mixer()
    params["params"]["context"] = jax.tree.map(jnp.zeros_like, params["params"]["context"])
    gradient = jax.jit(jax.grad(lambda params: mixer.apply(params, *inputs).sum()))(params)["params"]
    assert (np.abs(gradient["context"]["kernel"]) > 0).any()


def test_cells_and_slabs_are_sequences_of_their_own():
    mixer, params, pooled, depth, condition = random_mixer()
    apply = jax.jit(mixer.apply)
    together = apply(params, pooled, depth, condition)
    for b, i, j in np.ndindex(2, 2, 2):
        alone = apply(params, pooled[b : b + 1, :, i : i + 1, j : j + 1], depth[b : b + 1], condition[b : b + 1])
        np.testing.assert_allclose(together[b, :, i, j], alone[0, :, 0, 0], rtol=1e-5, atol=1e-5)


def test_the_context_depends_on_where_the_slices_lie_and_on_what_is_known_of_the_volume():
    mixer, params, pooled, depth, condition = random_mixer()
    context = mixer.apply(params, pooled, depth, condition)
    assert np.abs(context - mixer.apply(params, pooled, 0.5 * depth, condition)).max() > 1e-3
    assert np.abs(context - mixer.apply(params, pooled, depth, 0.5 * condition)).max() > 1e-3


def test_departures_show_the_gain_of_one_slice_and_no_level():
    level = np.random.default_rng(0).normal(size=(2, 1, 1, 1, 3)).astype(np.float32)
    drift = np.linspace(0, 0.1, SLICES, dtype=np.float32)[:, None, None, None]
    np.testing.assert_allclose(neighbor_residuals(level + drift)[:, 1:-1], 0, atol=1e-5)
    gained = np.zeros((1, SLICES, 1, 1, 1), np.float32)
    gained[0, 4] = 0.08
    np.testing.assert_allclose(neighbor_residuals(gained)[0, 3:6, 0, 0, 0], [-0.4, 0.8, -0.4], rtol=1e-5)


def test_statistics_are_those_of_the_brain():
    rng = np.random.default_rng(0)
    shown = rng.uniform(0.1, 2, (1, 8, 8, 2)).astype(np.float32)
    air = rng.random((8, 8)) < 0.4
    shown[0, air] = 0
    means, log_means, roots, share = np.split(source_statistics(shown, 1)[0, 0, 0], [2, 4, 7])
    inside = shown[0, ~air].astype(np.float64)
    covariance = np.cov(inside.T, bias=True)[np.triu_indices(2)]
    np.testing.assert_allclose(share, (~air).mean(), rtol=1e-6)
    np.testing.assert_allclose(means, inside.mean(axis=0), rtol=1e-5)
    np.testing.assert_allclose(log_means, np.log(inside.mean(axis=0)), atol=0.06)
    softened = np.sqrt(np.abs(covariance) + 0.01) - 0.1
    np.testing.assert_allclose(roots, 3 * np.sign(covariance) * softened, rtol=1e-4)
    gained = source_statistics(1.1 * shown, 1)[0, 0, 0, 2:4]
    np.testing.assert_allclose(gained - log_means, np.log(1.1), rtol=0.1)


def test_air_alone_has_finite_statistics_and_gradients():
    value, gradient = jax.value_and_grad(lambda x: source_statistics(x, 1).sum())(jnp.zeros((1, 4, 4, 2)))
    assert np.isfinite(value) and np.isfinite(gradient).all()


def test_the_mixer_computes_in_float32_whatever_it_is_given():
    mixer, params, pooled, *conditions = random_mixer()
    rounded = jnp.asarray(pooled, jnp.bfloat16)
    context = mixer.apply(params, rounded, *conditions)
    assert context.dtype == jnp.float32
    np.testing.assert_array_equal(context, mixer.apply(params, rounded.astype(jnp.float32), *conditions))


def images(height, width):
    return np.random.default_rng(0).normal(size=(2, height, width, 3)).astype(np.float32)


def pool_reference(image, grid):
    """Area means of `[h, w, F]` by refining every pixel g x g times, so that cells hold whole pixels; float64."""
    h, w, f = image.shape
    fine = np.kron(image.astype(np.float64), np.ones((grid, grid, 1)))
    return fine.reshape(grid, h, grid, w, f).mean(axis=(1, 3))


def test_one_cell_is_the_mean_of_the_image():
    features = images(5, 7)
    np.testing.assert_allclose(pool_cells(features, 1)[:, 0, 0], features.mean(axis=(1, 2)), rtol=1e-5, atol=1e-6)


def test_cells_are_block_means_where_the_grid_divides_the_sides():
    features = images(6, 9)
    expected = features.reshape(2, 3, 2, 3, 3, 3).mean(axis=(2, 4))
    np.testing.assert_allclose(pool_cells(features, 3), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize(("height", "width", "grid"), [(5, 7, 2), (7, 5, 3), (4, 11, 3), (3, 2, 4)])
def test_cells_are_area_means_where_it_does_not(height, width, grid):
    features = images(height, width)
    expected = np.stack([pool_reference(image, grid) for image in features])
    np.testing.assert_allclose(pool_cells(features, grid), expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("grid", [1, 2, 3, 4])
def test_pooling_preserves_constants_and_is_float32(grid):
    pooled = pool_cells(jnp.full((1, 7, 10, 2), 1.5, jnp.bfloat16), grid)
    assert pooled.dtype == jnp.float32
    np.testing.assert_allclose(pooled, np.full((1, grid, grid, 2), 1.5), rtol=1e-6)
