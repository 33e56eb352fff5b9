"""The 3D baseline's parts against Flax's own 3D convolutions."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from experiments.volume_unet import VolumeConvolution, VolumeUnet, doubled, halved, parameters
from tests.small_network import MR


def normal(*shape, seed=0):
    return jnp.asarray(np.random.default_rng(seed).normal(size=shape), jnp.float32)


def test_the_sum_of_slice_convolutions_is_a_volume_convolution():
    x, kernel, bias = normal(2, 5, 6, 7, 3), normal(3, 3, 3, 3, 4, seed=1), normal(4, seed=2)
    expected = nn.Conv(4, (3, 3, 3), precision="highest").apply({"params": {"kernel": kernel, "bias": bias}}, x)
    taps = jnp.moveaxis(kernel, 0, -2).reshape(3, 3, 3, 12)
    params = {"Conv_0": {"kernel": taps}, "bias": bias[None, None, None, None]}
    np.testing.assert_allclose(VolumeConvolution(4).apply({"params": params}, x), expected, rtol=1e-5, atol=1e-5)


def test_doubling_undoes_halving():
    x = normal(2, 4, 6, 8, 3)
    assert halved(x).shape == (2, 2, 3, 4, 24)
    np.testing.assert_array_equal(doubled(halved(x)), x)


def test_halving_keeps_the_eight_voxels_of_a_neighborhood_together():
    x = jnp.arange(4 * 4 * 4.0).reshape(1, 4, 4, 4, 1)
    np.testing.assert_array_equal(np.sort(halved(x)[0, 1, 0, 1]), np.sort(x[0, 2:, :2, 2:].ravel()))


def test_the_unet_makes_volumes_of_its_sources_and_sees_slices_on_both_sides():
    network = VolumeUnet((8, 8))
    params = parameters(network, MR, jax.random.key(0))
    sources, available, onehot = normal(1, 4, 8, 8, 4), jnp.ones((1, 4)), jnp.eye(4)[:1]
    apply = jax.jit(lambda sources: network.apply({"params": params}, sources, available, onehot, None))
    moved = jnp.abs(apply(sources.at[:, 1].add(1.0)) - apply(sources)).max(axis=(0, 2, 3))
    assert apply(sources).shape == (1, 4, 8, 8)
    assert (moved[:3] > 1e-4).all()
