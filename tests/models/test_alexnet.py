"""AlexNet's folded layers against the published ones on an enlarged slice, in plain float64 NumPy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from plain_resnet import conv

from configs.phantom_unconditional import get_config
from lift_jax.models.encoders.alexnet import AlexNet, alexnet_parameters
from lift_jax.models.generation_networks import generation_networks, initial_generation_parameters
from scripts.convert_alexnet import SCALE, SHIFT, fold_first


def enlarged(images):
    """`[N, H, W]` doubled bilinearly, centers of pixels kept, edges repeated."""
    for axis in (1, 2):
        padded = np.pad(images, [(0, 0)] + [(1, 1) if a == axis else (0, 0) for a in (1, 2)], mode="edge")
        before, here, after = (np.take(padded, np.arange(images.shape[axis]) + i, axis) for i in range(3))
        images = np.stack([0.25 * before + 0.75 * here, 0.75 * here + 0.25 * after], axis + 1)
        shape = list(before.shape)
        shape[axis] *= 2
        images = images.reshape(shape)
    return images


def published_first(images, kernel, bias):
    """The first layer on slices `[N, H, W]` in [-1, 1] with black around them, enlarged: `[N, F, H/2, W/2]`."""
    around = enlarged(np.pad(images, ((0, 0), (4, 4), (4, 4)), constant_values=-1.0))[:, 3:-3, 3:-3]
    colors = (around[:, None] - SHIFT.reshape(1, 3, 1, 1)) / SCALE.reshape(1, 3, 1, 1)
    return np.maximum(conv(colors, kernel.transpose(3, 2, 0, 1), stride=4) + bias[:, None, None], 0)


def test_the_folded_layers_equal_the_published_ones_on_the_enlarged_slice():
    random = np.random.default_rng(0)
    kernel, bias = random.normal(size=(11, 11, 3, 64)) / 20, random.normal(size=64)
    second = {"kernel": random.normal(size=(5, 5, 64, 192)) / 40, "bias": random.normal(size=192)}
    images = random.uniform(-1, 1, (2, 16, 22))
    first = published_first(images, kernel, bias)
    pooled = np.stack([first[:, :, i : i + 6 : 2, j : j + 9 : 2] for i in range(3) for j in range(3)]).max(0)
    expected = conv(pooled, second["kernel"].transpose(3, 2, 0, 1), padding=2) + second["bias"][:, None, None]
    expected = np.maximum(expected, 0)
    params = {"conv0": dict(zip(("kernel", "bias"), fold_first(kernel, bias), strict=True)), "conv1": second}
    maps = AlexNet().apply({"params": jax.tree.map(jnp.float32, params)}, jnp.float32(images)[..., None])
    assert [m.shape for m in maps] == [(2, 8, 11, 64), (2, 3, 5, 192)]
    for got, want in zip(maps, (first, expected), strict=True):
        np.testing.assert_allclose(got.transpose(0, 3, 1, 2), want, atol=1e-4 * np.abs(want).max())


def test_the_weights_in_the_package_fit_the_network():
    shapes = jax.eval_shape(AlexNet().init, jax.random.key(0), jnp.zeros((1, 8, 8, 1)))["params"]
    assert jax.tree.map(lambda x: x.shape, alexnet_parameters()) == jax.tree.map(lambda x: x.shape, shapes)


def test_a_black_slice_is_the_same_everywhere_and_an_edge_is_not():
    black = np.full((1, 32, 32, 1), -1, np.float32)
    half = black.copy()
    half[:, :, 16:] = 1
    first, edge = (AlexNet().apply({"params": alexnet_parameters()}, x)[0] for x in (black, half))
    np.testing.assert_allclose(first, np.broadcast_to(first[:, :1, :1], first.shape), atol=1e-4)
    assert np.abs(edge[:, 8, 7:9]).max() > 3 * np.abs(edge[:, 8, :4]).max()


def test_features_of_generated_slices_have_a_gradient_by_their_codes():
    config = get_config("tiny")
    config.model.encoder.kind = "alexnet"
    networks = generation_networks(config, (8, 32, 32))
    params = initial_generation_parameters(networks, config) | {"encoder": alexnet_parameters()}
    codes = jax.random.normal(jax.random.key(0), (2, config.model.generator.slice_latent_dim))

    def first(codes):
        features = networks.encode(params, networks.generate(params, codes)[..., None])
        return sum((x**2).mean() for name, x in features.items() if name.startswith("map"))

    gradient = jax.jit(jax.grad(first))(codes)
    assert np.isfinite(gradient).all()
    assert np.abs(gradient).max() > 0


@pytest.mark.parametrize("shape", [(1, 17, 16, 1), (1, 6, 16, 1), (1, 16, 16, 3)])
def test_sides_that_are_odd_or_too_short_are_refused(shape):
    with pytest.raises(ValueError, match=r"sides of 8 or more|gray images"):
        AlexNet().init(jax.random.key(0), jnp.zeros(shape))
