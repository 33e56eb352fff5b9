"""ImageNet's VGG16, which scores and never trains, for gray images in [-1, 1]."""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from lift_jax.models.encoders.weights import read_safetensors

SHIFT, SCALE = np.array([-0.030, -0.088, -0.188]), np.array([0.458, 0.448, 0.450])
"""Of LPIPS: ImageNet's mean and deviation for images in [-1, 1]."""


def load(path: str) -> list[tuple[jax.Array, jax.Array]]:
    """Kernels and biases in order; the first takes one gray channel in [-1, 1], normalisation folded in."""
    tensors = {k: np.asarray(v, np.float64) for k, v in read_safetensors(path).items()}
    layers = [(tensors[f"conv{i}.kernel"], tensors[f"conv{i}.bias"]) for i in range(len(tensors) // 2)]
    kernel, bias = layers[0]
    bias = bias - (kernel * (SHIFT / SCALE)[None, None, :, None]).sum((0, 1, 2))
    layers[0] = ((kernel / SCALE[None, None, :, None]).sum(2, keepdims=True), bias)
    return [(jnp.asarray(k, jnp.float32), jnp.asarray(b, jnp.float32)) for k, b in layers]


def convolve(x, kernel, bias, padding=0):
    pads = ((padding, padding), (padding, padding))
    return jax.lax.conv_general_dilated(x, kernel, (1, 1), pads, dimension_numbers=("NHWC", "HWIO", "NHWC")) + bias


def pool(x, side, stride):
    return jax.lax.reduce_window(x, -jnp.inf, jax.lax.max, (1, side, side, 1), (1, stride, stride, 1), "VALID")


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
