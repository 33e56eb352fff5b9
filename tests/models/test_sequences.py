"""Layers along depth against plain float64 recurrences and Flax's own recurrent layers."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lift_jax.models.z_mixer import SEQUENCE_LAYERS, BidirectionalGRU, WindowedConvolution

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


def random_layer(layer, slices=SLICES, seed=0):
    """Arbitrary parameters of a layer, and sequences `[D, N, F]`."""
    rng = np.random.default_rng(seed)
    x = jnp.asarray(rng.normal(size=(slices, SEQUENCES, FEATURES)), jnp.float32)
    shapes = jax.eval_shape(layer.init, jax.random.key(0), x)
    return jax.tree.map(lambda leaf: jnp.asarray(rng.normal(scale=0.5, size=leaf.shape), jnp.float32), shapes), x


def dense(params, x):
    """The input projection in float64."""
    layer = params["params"]["input"]
    return np.asarray(x, np.float64) @ np.asarray(layer["kernel"], np.float64) + np.asarray(layer["bias"], np.float64)


@pytest.mark.parametrize(("slices", "window"), [(1, 2), (9, 1), (9, 20)])
def test_convolution_equals_plain_float64_over_each_slices_neighbors(slices, window):
    layer = WindowedConvolution(HIDDEN, window=window)
    params, x = random_layer(layer, slices)
    projected = dense(params, x)
    projected = projected / (1 + np.exp(-projected))
    kernel = np.asarray(params["params"]["kernel"], np.float64)
    expected = np.zeros((slices, SEQUENCES, 2 * HIDDEN))
    for i in range(slices):
        for offset in range(-window, window + 1):
            expected[i] += kernel[offset + window] * projected[min(max(i + offset, 0), slices - 1)]
    np.testing.assert_allclose(jax.jit(layer.apply)(params, x), expected, rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("kind", SEQUENCE_LAYERS)
def test_layers_of_every_kind_have_one_shape_and_finite_gradients_at_any_depth(kind):
    layer = SEQUENCE_LAYERS[kind](HIDDEN, window=3, name=None)
    params, _ = random_layer(layer)
    for slices in (1, 5):
        _, x = random_layer(layer, slices)
        output, gradient = jax.jit(jax.value_and_grad(lambda x: (layer.apply(params, x) ** 2).sum()))(x)
        assert layer.apply(params, x).shape == (slices, SEQUENCES, 2 * HIDDEN)
        assert np.isfinite(output) and np.isfinite(gradient).all() and np.abs(gradient).max() > 0
