"""The pieces every 2D network here is made of: rearrangements, modulation, the residual block."""

import flax.linen as nn
import jax
import jax.numpy as jnp


def space_to_depth(x: jax.Array, factor: int) -> jax.Array:
    """Folds `factor x factor` neighbourhoods into channels: `[N, H, W, C] -> [N, H/f, W/f, C f²]`."""
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
    """Two dense layers from what is known of an image, `[N, K]`, to the vector that modulates its blocks, `[N, E]`."""

    features: int
    dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(self, condition):
        """`condition [N, K]`."""
        hidden = nn.silu(nn.Dense(self.features, dtype=self.dtype)(condition))
        return nn.silu(nn.Dense(self.features, dtype=self.dtype)(hidden))


class ResidualBlock(nn.Module):
    """Norm, modulate, SiLU, convolve, twice, beside a skip: `[N, H, W, C] -> [N, H, W, features]`.

    The skip is never normalised, so that absolute intensities, which slice gains change, survive to the output.
    """

    features: int
    groups: int
    dtype: jnp.dtype = jnp.float32

    @nn.compact
    def __call__(self, x, condition):
        """`x [N, H, W, C]`, `condition [N, E]`."""
        h = nn.GroupNorm(self.groups, dtype=self.dtype)(x)
        # Zero at the start: a block begins unconditional, and learns what to make of its condition.
        film = nn.Dense(2 * x.shape[-1], dtype=self.dtype, kernel_init=nn.initializers.zeros)(condition)
        scale, shift = jnp.split(film[:, None, None], 2, axis=-1)
        h = nn.Conv(self.features, (3, 3), dtype=self.dtype)(nn.silu(modulate(h, scale, shift)))
        h = nn.GroupNorm(self.groups, dtype=self.dtype)(h)
        h = nn.Conv(self.features, (3, 3), dtype=self.dtype)(nn.silu(h))
        if x.shape[-1] != self.features:
            x = nn.Conv(self.features, (1, 1), dtype=self.dtype)(x)
        return x + h
