"""The generator's last nonlinearity, whose slope does not vanish on the mapper's way back."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lift_jax.models.slice_generator import SliceGenerator, leaky_tanh

X = np.linspace(-12, 12, 25).astype(np.float32)


@pytest.mark.parametrize("leak", [0.0, 0.1, 1.0])
def test_the_value_is_tanh_and_the_slope_at_least_the_leak(leak):
    value, pull_back = jax.vjp(lambda x: leaky_tanh(x, leak), X)
    np.testing.assert_array_equal(value, jnp.tanh(X))
    slope = 1 - np.tanh(X.astype(np.float64)) ** 2
    np.testing.assert_allclose(pull_back(jnp.ones_like(X))[0], np.maximum(slope, leak), rtol=1e-4, atol=1e-6)


def test_a_black_slice_moves_its_code_only_by_the_leak():
    """A generator whose last bias is far below makes black slices of all codes: with tanh alone, nothing is felt."""
    network = SliceGenerator((8, 8), code=4, widths=(8, 8), blocks=1, head=1, groups=4)
    codes = jax.random.normal(jax.random.key(0), (2, 4))
    params = network.init(jax.random.key(1), codes)
    last = max((name for name in params["params"] if name.startswith("Conv_")), key=lambda name: int(name[5:]))
    params["params"][last]["bias"] -= 20.0

    def pull(leak):
        return jax.grad(lambda codes: network.apply(params, codes, leak).sum())(codes)

    np.testing.assert_array_equal(network.apply(params, codes, 0.1), network.apply(params, codes))
    np.testing.assert_array_equal(pull(0.0), 0)
    assert np.abs(pull(0.1)).max() > 1e-3
