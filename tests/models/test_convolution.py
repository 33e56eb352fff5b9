import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax import lax
from jax.sharding import PartitionSpec as P

from lift_jax.models.layers import DIMENSIONS, convolve


def arrays(*shapes):
    generator = np.random.default_rng(0)
    return [generator.normal(size=shape).astype(np.float32) for shape in shapes]


def plainly(images, kernel):
    """Same-size convolution in float64, a pixel of the kernel at a time."""
    h, w = kernel.shape[:2]
    padded = np.pad(images.astype(np.float64), [(0, 0), (h // 2, h // 2), (w // 2, w // 2), (0, 0)])
    height, width = images.shape[1:3]
    return sum(padded[:, i : i + height, j : j + width] @ kernel[i, j] for i in range(h) for j in range(w))


def total(images, kernel, weights):
    result = convolve(images, kernel, (1, 1), "SAME", dimension_numbers=DIMENSIONS, precision="highest")
    return jnp.sum(result * weights)


@pytest.mark.parametrize("sides", [(3, 3), (1, 1), (5, 3)])
def test_value_and_gradients_are_those_of_a_plain_sum(sides):
    images, kernel, weights = arrays((2, 7, 6, 3), (*sides, 3, 4), (2, 7, 6, 4))
    value, (by_images, by_kernel) = jax.value_and_grad(total, (0, 1))(images, kernel, weights)
    np.testing.assert_allclose(value, (plainly(images, kernel) * weights).sum(), rtol=1e-4)
    turned = kernel[::-1, ::-1].swapaxes(2, 3)
    np.testing.assert_allclose(by_images, plainly(weights, turned), rtol=1e-4, atol=1e-4)
    direction = np.random.default_rng(1).normal(size=kernel.shape)
    slope = (plainly(images, direction) * weights).sum()
    np.testing.assert_allclose((np.asarray(by_kernel) * direction).sum(), slope, rtol=1e-4)


def test_gradients_over_devices_are_those_of_one():
    images, kernel, weights = arrays((8, 4, 4, 2), (3, 3, 2, 2), (8, 4, 4, 2))
    mesh = jax.make_mesh((jax.device_count(),), ("data",))

    def loss(kernel, images, weights):
        return lax.psum(total(images, kernel, weights), "data")

    specs = {"in_specs": (P(), P("data"), P("data")), "out_specs": (P(), P("data"))}
    shared = jax.jit(jax.shard_map(jax.grad(loss, (0, 1)), mesh=mesh, **specs))
    by_kernel, by_images = shared(
        kernel, *(jax.device_put(x, jax.NamedSharding(mesh, P("data"))) for x in (images, weights))
    )
    alone = jax.grad(total, (0, 1))(images, kernel, weights)
    np.testing.assert_allclose(by_images, alone[0], rtol=1e-5, atol=1e-5)
    np.testing.assert_allclose(by_kernel, alone[1], rtol=1e-5, atol=1e-4)


def test_in_a_loop_the_turned_kernel_is_an_array_of_its_own():
    # A convolution that is left to swap the kernel's features runs without a fast path on CPUs.
    images, kernel = arrays((4, 8, 8, 2), (3, 3, 2, 3))
    network = nn.Conv(3, (3, 3), use_bias=False, conv_general_dilated=convolve)

    def gradient(images, kernel):
        each = jax.grad(lambda x: jnp.sum(network.apply({"params": {"kernel": kernel}}, x) ** 2))
        return lax.map(each, images.reshape(2, 2, 8, 8, 2))

    compiled = jax.jit(gradient).lower(images, kernel).compile().as_text()
    labels = [line.split("dim_labels=")[1][:14] for line in compiled.splitlines() if " convolution(" in line]
    assert len(labels) >= 2 and all(label == "b01f_01io->b01" for label in labels), labels


@pytest.mark.parametrize(
    "settings", [{"strides": 2}, {"padding": "VALID"}, {"kernel_dilation": 2}, {"kernel_size": (2, 2)}]
)
def test_other_convolutions_are_as_they_were(settings):
    images, *_ = arrays((2, 8, 8, 4))
    kind = functools.partial(nn.Conv, 4, **{"kernel_size": (3, 3)} | settings)
    params = kind().init(jax.random.key(0), images)
    expected, found = (
        jax.grad(lambda p, network: jnp.sum(network.apply(p, images) ** 2))(params, network)
        for network in (kind(), kind(conv_general_dilated=convolve))
    )
    jax.tree.map(np.testing.assert_array_equal, expected, found)
