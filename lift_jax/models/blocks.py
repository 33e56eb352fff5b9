"""The pieces every 2D network here is made of: rearrangements, modulation, the residual block."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from lift_jax.models.convolution import convolve


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
    """Two dense layers from what is known of an image, `[N, K]`, to what modulates its features, `[N, E]`."""

    features: int
    dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(self, condition):
        """`condition [N, K]`."""
        hidden = nn.silu(nn.Dense(self.features, dtype=self.dtype)(condition))
        return nn.silu(nn.Dense(self.features, dtype=self.dtype)(hidden))


class Modulation(nn.Module):
    """Scales and shifts for features of given sizes, from a condition: `[N, E] -> [N, 1, 1, 2 sum(sizes)]`.

    Small at the start, not zero: a condition should steer the network from the first step.
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
    return [tuple(jnp.split(piece, 2, axis=-1)) for piece in jnp.split(film, ends, axis=-1)]


class ResidualBlock(nn.Module):
    """Norm, SiLU, convolve, twice, beside a skip: `[N, H, W, C] -> [N, H, W, features]`.

    The skip is never normalized, so that absolute intensities, which slice gains change, survive to the output.
    """

    features: int
    groups: int
    dtype: jnp.dtype = jnp.float32

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
