"""The z-mixer against Flax's own recurrent layers, and pooling against exact areas."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lift_jax.models.z_mixer import (
    BidirectionalGRU,
    ZMixer,
    departures,
    pool_cells,
    source_statistics,
)

HIDDEN, SLICES, SEQUENCES, FEATURES = 6, 9, 3, 5
GATES = "rzn"  # reset, update, candidate: the order in which our stacked weights hold them


def random_gru(seed=0):
    """Arbitrary weights of a BidirectionalGRU, and sequences `[D, N, F]`."""
    rng = np.random.default_rng(seed)

    def draw(*shape):
        return jnp.asarray(rng.normal(scale=0.5, size=shape), jnp.float32)

    params = {
        "input": {"kernel": draw(FEATURES, 6 * HIDDEN), "bias": draw(6 * HIDDEN)},
        "recurrent": draw(2, HIDDEN, 3 * HIDDEN),
        "candidate_bias": draw(2, 1, HIDDEN),
    }
    return params, draw(SLICES, SEQUENCES, FEATURES)


def flax_cell(params, direction):
    """The same weights under the names of flax.linen.GRUCell."""
    kernels = jnp.split(params["input"]["kernel"], 6, axis=-1)[3 * direction :]
    biases = jnp.split(params["input"]["bias"], 6)[3 * direction :]
    recurrent = jnp.split(params["recurrent"][direction], 3, axis=-1)
    cell = {f"i{gate}": {"kernel": kernels[i], "bias": biases[i]} for i, gate in enumerate(GATES)}
    cell |= {f"h{gate}": {"kernel": recurrent[i]} for i, gate in enumerate(GATES)}
    cell["hn"]["bias"] = params["candidate_bias"][direction, 0]
    return cell


def flax_gru(params, x):
    """`flax.linen.Bidirectional` of two `RNN(GRUCell)`, on `[D, N, F]`."""
    layer = nn.Bidirectional(nn.RNN(nn.GRUCell(HIDDEN)), nn.RNN(nn.GRUCell(HIDDEN)), time_major=True)
    copied = {"forward_rnn": {"cell": flax_cell(params, 0)}, "backward_rnn": {"cell": flax_cell(params, 1)}}
    return layer.apply({"params": copied}, x)


def our_gru(params, x):
    return BidirectionalGRU(HIDDEN).apply({"params": params}, x)


def assert_trees_close(actual, expected, **tolerance):
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, **tolerance), actual, expected)


def test_our_gru_equals_flax_forward_and_in_every_gradient():
    params, x = random_gru()
    weights = jnp.asarray(np.random.default_rng(1).normal(size=(SLICES, SEQUENCES, 2 * HIDDEN)), jnp.float32)

    def with_gradients(layer):
        def weighted(params, x):
            output = layer(params, x)
            return jnp.vdot(weights, output), output

        (_, output), gradients = jax.jit(jax.value_and_grad(weighted, argnums=(0, 1), has_aux=True))(params, x)
        return output, gradients

    assert_trees_close(with_gradients(our_gru), with_gradients(flax_gru), rtol=1e-5, atol=1e-5)


def test_our_gru_has_the_parameters_it_says_and_orthogonal_recurrences():
    params = jax.jit(BidirectionalGRU(HIDDEN).init)(jax.random.key(0), jnp.zeros((2, 1, FEATURES)))["params"]
    expected, _ = random_gru()
    assert jax.tree.map(jnp.shape, params) == jax.tree.map(jnp.shape, expected)
    for direction in params["recurrent"]:
        for gate in jnp.split(direction, 3, axis=-1):
            np.testing.assert_allclose(gate.T @ gate, np.eye(HIDDEN), atol=1e-5)


def test_reversing_the_depth_and_swapping_the_directions_reverses_the_output():
    params, x = random_gru()

    def swap_halves(array, axis):
        return jnp.roll(array, array.shape[axis] // 2, axis)

    swapped = {
        "input": jax.tree.map(lambda leaf: swap_halves(leaf, -1), params["input"]),
        "recurrent": params["recurrent"][::-1],
        "candidate_bias": params["candidate_bias"][::-1],
    }
    expected = swap_halves(our_gru(params, x)[::-1], -1)
    np.testing.assert_allclose(our_gru(swapped, x[::-1]), expected, rtol=1e-5, atol=1e-6)


def test_every_output_of_our_gru_depends_on_every_input():
    params, x = random_gru()
    jacobian = jax.jit(jax.jacobian(lambda x: our_gru(params, x[:, None])[:, 0]))(x[:, 0])
    assert (np.abs(jacobian).max(axis=(1, 3)) > 1e-6).all()


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
    mixer, _, pooled, *facts = random_mixer()
    context, _ = jax.jit(mixer.init_with_output)(jax.random.key(0), 100 * pooled, *facts)
    assert context.shape == (2, SLICES, 2, 2, 7)
    np.testing.assert_array_equal(context, 0)


def test_an_untrained_mixer_can_learn():
    mixer, params, *inputs = random_mixer()
    params["params"]["context"] = jax.tree.map(jnp.zeros_like, params["params"]["context"])
    gradient = jax.jit(jax.grad(lambda params: mixer.apply(params, *inputs).sum()))(params)["params"]
    assert (np.abs(gradient["context"]["kernel"]) > 0).any()


def test_cells_and_windows_are_sequences_of_their_own():
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
    np.testing.assert_allclose(departures(level + drift)[:, 1:-1], 0, atol=1e-5)
    gained = np.zeros((1, SLICES, 1, 1, 1), np.float32)
    gained[0, 4] = 0.08
    np.testing.assert_allclose(departures(gained)[0, 3:6, 0, 0, 0], [-0.4, 0.8, -0.4], rtol=1e-5)


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
    mixer, params, pooled, *facts = random_mixer()
    rounded = jnp.asarray(pooled, jnp.bfloat16)
    context = mixer.apply(params, rounded, *facts)
    assert context.dtype == jnp.float32
    np.testing.assert_array_equal(context, mixer.apply(params, rounded.astype(jnp.float32), *facts))


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
