"""Layers shared by all 2D networks: rearrangements, modulation, the residual block, convolution, depth features."""

import math
from collections.abc import Sequence

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax import lax
from jax.typing import DTypeLike


def space_to_depth(x: jax.Array, factor: int) -> jax.Array:
    """Folds `factor x factor` neighborhoods into channels: `[N, H, W, C] -> [N, H/f, W/f, C f²]`."""
    n, h, w, c = x.shape
    x = x.reshape(n, h // factor, factor, w // factor, factor, c)
    return x.transpose(0, 1, 3, 2, 4, 5).reshape(n, h // factor, w // factor, factor * factor * c)


def depth_to_space(x: jax.Array, factor: int) -> jax.Array:
    """The inverse of `space_to_depth`: `[N, H, W, C f²] -> [N, H f, W f, C]`."""
    n, h, w, c = x.shape
    x = x.reshape(n, h, w, factor, factor, c // factor**2)
    return x.transpose(0, 1, 3, 2, 4, 5).reshape(n, h * factor, w * factor, c // factor**2)


def upsample(x: jax.Array) -> jax.Array:
    """Doubles both sides by repetition: `[N, H, W, C] -> [N, 2H, 2W, C]`."""
    return x.repeat(2, axis=1).repeat(2, axis=2)


def upsample_smoothly(x: jax.Array) -> jax.Array:
    """Doubles both sides bilinearly: `[N, H, W, C] -> [N, 2H, 2W, C]`."""
    n, h, w, c = x.shape
    return jax.image.resize(x, (n, 2 * h, 2 * w, c), "linear")


def modulate(x: jax.Array, scale: jax.Array, shift: jax.Array) -> jax.Array:
    """Feature-wise scale and shift, `x (1 + scale) + shift` (Perez et al., arXiv 1709.07871); zeros change nothing.

    `x` is `[N, H, W, C]`; `scale` and `shift` are `[N, g, g, C]`, stretched bilinearly over the image where g > 1.
    """
    if scale.shape[1] > 1:
        n, h, w, c = x.shape
        scale = jax.image.resize(scale, (n, h, w, c), "linear")
        shift = jax.image.resize(shift, (n, h, w, c), "linear")
    return x * (1 + scale.astype(x.dtype)) + shift.astype(x.dtype)


class ConditionEmbedding(nn.Module):
    """Two dense layers from a condition of each image, `[N, K]`, to an embedding, `[N, E]`."""

    features: int
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, condition):
        """`condition [N, K]`."""
        hidden = nn.silu(nn.Dense(self.features, dtype=self.dtype)(condition))
        return nn.silu(nn.Dense(self.features, dtype=self.dtype)(hidden))


class Modulation(nn.Module):
    """Scales and shifts for features of given sizes, from a condition: `[N, E] -> [N, 1, 1, 2 sum(sizes)]`.

    Small at the start, not zero, so that the condition has an effect from the first step.
    """

    sizes: tuple[int, ...]

    @nn.compact
    def __call__(self, embedding):
        """`embedding [N, E]`."""
        init = nn.initializers.variance_scaling(0.1, "fan_in", "truncated_normal")
        return nn.Dense(2 * sum(self.sizes), kernel_init=init)(embedding)[:, None, None]


def split_modulation(film: jax.Array, sizes: tuple[int, ...]) -> list[tuple[jax.Array, jax.Array]]:
    """`[N, g, g, 2 sum(sizes)]` to a pair of scale and shift, `[N, g, g, size]`, for each of the sizes."""
    ends = np.cumsum([2 * size for size in sizes])[:-1]
    halves = (jnp.split(piece, 2, axis=-1) for piece in jnp.split(film, ends, axis=-1))
    return [(scale, shift) for scale, shift in halves]


def norm_groups(widths: Sequence[int]) -> int:
    """Groups of a network's GroupNorms: 8, or as many as divide all widths into groups of two features or more."""
    return math.gcd(8, *(width // 2 if width % 2 == 0 else 1 for width in widths))


class ResidualBlock(nn.Module):
    """Norm, SiLU, convolve, twice, with a skip: `[N, H, W, C] -> [N, H, W, features]`.

    The skip is never normalized, so that absolute intensities reach the output.
    """

    features: int
    groups: int
    dtype: DTypeLike = jnp.float32

    @nn.compact
    def __call__(self, x):
        """`x [N, H, W, C]`."""
        h = nn.silu(nn.GroupNorm(self.groups, dtype=self.dtype)(x))
        h = nn.Conv(self.features, (3, 3), dtype=self.dtype, conv_general_dilated=convolve)(h)
        h = nn.silu(nn.GroupNorm(self.groups, dtype=self.dtype)(h))
        h = nn.Conv(self.features, (3, 3), dtype=self.dtype, conv_general_dilated=convolve)(h)
        if x.shape[-1] != self.features:
            x = nn.Conv(self.features, (1, 1), dtype=self.dtype)(x)
        return x + h


DIMENSIONS = ("NHWC", "HWIO", "NHWC")


def convolve(images, kernel, window_strides, padding, *, precision=None, **settings):
    """`lax.conv_general_dilated` of images with a gradient that is fast inside loops, for `flax.linen.Conv`.

    Convolutions that keep the size of an image, by kernels of odd sides, get a gradient of their own, with the same
    numbers; others are unchanged. The gradient by the image is a convolution with the kernel flipped and its features
    swapped. Inside a loop XLA's CPU compiler leaves the flip to the convolution, which then takes twenty times as long:
    here the flipped kernel is an array of its own.

    Args:
      images: `[N, H, W, C]`.
      kernel: `[h, w, C, C']`.
      window_strides, padding, precision, settings: as Linen gives them.
    """
    if not _keeps_size(images, kernel, window_strides, padding, settings):
        return lax.conv_general_dilated(images, kernel, window_strides, padding, precision=precision, **settings)
    return _same(*_of_all_devices(images, kernel), precision)


def _keeps_size(images, kernel, strides, padding, settings) -> bool:
    plain = {"lhs_dilation": 1, "rhs_dilation": 1, "feature_group_count": 1}
    return (
        images.ndim == 4
        and padding == "SAME"
        and all(side % 2 for side in kernel.shape[:2])
        and all(stride == 1 for stride in strides)
        and all(number == value for name, value in plain.items() for number in _numbers(settings.get(name, value)))
    )


def _numbers(setting) -> tuple:
    return (setting,) if isinstance(setting, int) else tuple(setting)


def _of_all_devices(images, kernel):
    """Both, varying over the same mapped axes, so that gradients are summed over devices."""
    return images + jnp.zeros_like(kernel[0, 0, 0, 0]), kernel + jnp.zeros_like(images[0, 0, 0, 0])


def _convolution(images, kernel, precision):
    return lax.conv_general_dilated(images, kernel, (1, 1), "SAME", dimension_numbers=DIMENSIONS, precision=precision)


def _same_forward(images, kernel, precision):
    return _convolution(images, kernel, precision), (images, kernel)


def _same_backward(precision, saved, gradient):
    images, kernel = saved
    flipped = lax.optimization_barrier(jnp.flip(kernel, (0, 1)).swapaxes(2, 3))
    _, by_kernel = jax.vjp(lambda kernel: _convolution(images, kernel, precision), kernel)
    return _convolution(gradient, flipped, precision), *by_kernel(gradient)


_same = jax.custom_vjp(_convolution, nondiff_argnums=(2,))
_same.defvjp(_same_forward, _same_backward)


def resolved_frequencies(slices: int) -> int:
    """How many Fourier frequencies so many slices resolve: the fastest turns by π/2 from slice to slice."""
    return max(1, math.floor(math.log2(slices)))


def fourier_features(depth: jax.Array, frequencies: int) -> jax.Array:
    """Fourier features γ(d) of depths (Tancik et al., arXiv 2006.10739): `[...] -> [..., 2 frequencies]`.

    Sines and cosines of `π 2^(k-1) d`, k = 0, 1, …; the slowest makes half a turn over the whole volume.
    """
    angles = jnp.multiply.outer(depth, np.pi / 2 * 2.0 ** np.arange(frequencies, dtype=np.float32))
    return jnp.concatenate([jnp.sin(angles), jnp.cos(angles)], axis=-1)
