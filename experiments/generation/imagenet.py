"""Maps of ImageNet's AlexNet (to train with) and VGG16 (to score with), for grey images in [-1, 1]."""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from lift_jax.models.blocks import space_to_depth
from lift_jax.models.safetensors import read_safetensors

SHIFT, SCALE = np.array([-0.030, -0.088, -0.188]), np.array([0.458, 0.448, 0.450])
"""Of LPIPS: ImageNet's mean and deviation for images in [-1, 1]."""


def load(path: str) -> list[tuple[jax.Array, jax.Array]]:
    """Kernels and biases in order; the first takes one grey channel in [-1, 1], normalisation folded in."""
    tensors = {k: np.asarray(v, np.float64) for k, v in read_safetensors(path).items()}
    layers = [(tensors[f"conv{i}.kernel"], tensors[f"conv{i}.bias"]) for i in range(len(tensors) // 2)]
    kernel, bias = layers[0]
    bias = bias - (kernel * (SHIFT / SCALE)[None, None, :, None]).sum((0, 1, 2))
    layers[0] = ((kernel / SCALE[None, None, :, None]).sum(2, keepdims=True), bias)
    return [(jnp.asarray(k, jnp.float32), jnp.asarray(b, jnp.float32)) for k, b in layers]


def convolve(x, kernel, bias, stride=1, padding=0):
    pads = ((padding, padding), (padding, padding))
    return (
        jax.lax.conv_general_dilated(x, kernel, (stride, stride), pads, dimension_numbers=("NHWC", "HWIO", "NHWC"))
        + bias
    )


def pool(x, side, stride):
    return jax.lax.reduce_window(x, -jnp.inf, jax.lax.max, (1, side, side, 1), (1, stride, stride, 1), "VALID")


def merged_alexnet(layers):
    """AlexNet's layers for images that are not enlarged: bilinear doubling and the first convolution made one.

    The first kernel, 11 x 11 by steps of 4 on the doubled image, is one of 7 x 7 by steps of 2 on the image; padded to
    8 x 8 it is one of 4 x 4 without steps on the image folded 2 x 2, whose gradient a CPU computes far faster.
    """
    (kernel, bias), *rest = layers
    double = np.zeros((11, 8), np.float32)  # enlarged pixel 4o - 5 + i is made of pixels 2o - 4 + j
    for i in range(11):
        place, odd = divmod(i - 5, 2)
        double[i, place + 4] += 0.75
        double[i, place + 4 + (1 if odd else -1)] += 0.25
    merged = jnp.einsum("ia,jb,ijco->abco", double, double, kernel)
    folded = merged.reshape(4, 2, 4, 2, 1, -1).transpose(0, 2, 1, 3, 4, 5).reshape(4, 4, 4, -1)
    return [(folded, bias), *rest]


def max_pool(x):
    """Greatest of 3 x 3 by steps of 2, as maxima of slices: their gradient is fast on a CPU."""
    h, w = ((side - 3) // 2 * 2 + 1 for side in x.shape[1:3])
    rows = functools.reduce(jnp.maximum, (x[:, i : i + h : 2] for i in range(3)))
    return functools.reduce(jnp.maximum, (rows[:, :, i : i + w : 2] for i in range(3)))


def alexnet(layers, images):
    """Images `[N, H, W, 1]` in [-1, 1], H and W even, to the maps of `merged_alexnet` after their ReLU.

    Images count as enlarged twice; black is taken to lie around them.
    """
    n, h, w, _ = images.shape
    x = jnp.pad(images, ((0, 0), (4, 2), (4, 2), (0, 0)), constant_values=-1.0)
    x = space_to_depth(x, 2)
    maps = [jax.nn.relu(convolve(x, *layers[0]))]
    maps.append(jax.nn.relu(convolve(max_pool(maps[-1]), *layers[1], padding=2)))
    if len(layers) > 2:
        maps.append(jax.nn.relu(convolve(max_pool(maps[-1]), *layers[2], padding=1)))
    return maps


def slow_alexnet(layers, images):
    """What `alexnet` computes, as published."""
    n, h, w, _ = images.shape
    x = jnp.pad(images, ((0, 0), (4, 4), (4, 4), (0, 0)), constant_values=-1.0)
    x = jax.image.resize(x, (n, 2 * h + 16, 2 * w + 16, 1), "linear")[:, 3:-3, 3:-3]
    maps = [jax.nn.relu(convolve(x, *layers[0], stride=4))]
    maps.append(jax.nn.relu(convolve(pool(maps[-1], 3, 2), *layers[1], padding=2)))
    maps.append(jax.nn.relu(convolve(pool(maps[-1], 3, 2), *layers[2], padding=1)))
    return maps


def vgg16(layers, images):
    """Images `[N, H, W, 1]` in [-1, 1] to the mean over the slice of the second and third block's maps, `[N, 384]`."""
    x = jnp.pad(images, ((0, 0), (1, 1), (1, 1), (0, 0)), constant_values=-1.0)
    outputs = []
    for i, (kernel, bias) in enumerate(layers[:7]):
        if i in (2, 4):
            x = pool(x, 2, 2)
        x = jax.nn.relu(convolve(x, kernel, bias, padding=1 if i else 0))
        if i in (3, 6):
            outputs.append(x.mean((1, 2)))
    return jnp.concatenate(outputs, -1)


@functools.cache
def scorer(path):
    layers = load(path)
    return jax.jit(functools.partial(vgg16, layers))
