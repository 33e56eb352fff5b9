"""Slice encoder (of principal components) and slice decoder: linear model, convolutional correction, in-plane warp."""

import math

import flax.linen as nn
import jax
import jax.numpy as jnp

from lift_jax.models.slice_generator import from_logits


class SliceEncoder(nn.Module):
    """Codes of principal components `[N, P]` to mean and log variance of latents, `[N, K]` each."""

    latent: int
    hidden: int = 512

    @nn.compact
    def __call__(self, codes):
        """`codes [N, P]`."""
        x = nn.Dense(self.hidden)(codes)
        for _ in range(2):
            x = x + nn.Dense(self.hidden)(nn.silu(nn.Dense(self.hidden)(nn.LayerNorm()(x))))
        log_variance = nn.Dense(self.latent, kernel_init=nn.initializers.zeros)(nn.silu(x))
        log_variance = log_variance + jnp.linspace(-6.0, -2.0, self.latent)  # less noise on the leading components
        correction = nn.Dense(self.latent, kernel_init=nn.initializers.normal(0.01))(nn.silu(x))
        return codes[:, : self.latent] + correction, log_variance.clip(-12, 4)


class SliceDecoder(nn.Module):
    """Latents `[N, K]` to slices `[N, H, W]` around [-1, 1]: a perceptron, a linear basis of slices, a smooth warp.

    Dense layers are far cheaper on a CPU than convolutions, and see the whole slice; the warp moves outlines where a
    sum of slices would double them.
    """

    size: tuple[int, int]
    hidden: int = 512
    layers: int = 3
    grid: int = 8  # control points of the displacement along each side; 0: no warp
    reach: float = 4.0  # pixels

    @nn.compact
    def __call__(self, z):
        """`z [N, K]`."""
        x = nn.Dense(self.hidden)(z)
        for _ in range(self.layers):
            h = nn.silu(nn.Dense(self.hidden)(nn.LayerNorm()(x)))
            x = x + nn.Dense(self.hidden, kernel_init=nn.initializers.normal(0.01))(h)
        x = nn.silu(nn.LayerNorm()(x))
        logits = nn.Dense(math.prod(self.size), name="linear")(z)
        basis = nn.Dense(math.prod(self.size), use_bias=False, kernel_init=nn.initializers.normal(0.002), name="basis")
        logits = logits + basis(x)
        image = from_logits(logits).reshape(-1, *self.size)
        if not self.grid:
            return leaky_clip(image)
        points = nn.Dense(2 * self.grid**2, kernel_init=nn.initializers.normal(0.001), name="displacement")(x)
        points = self.reach * jnp.tanh(points / self.reach)
        field = jax.image.resize(points.reshape(-1, self.grid, self.grid, 2), (len(z), *self.size, 2), "linear")
        # Interpolation takes the finest detail away: it is added behind the warp.
        detail = nn.Dense(math.prod(self.size), kernel_init=nn.initializers.zeros, name="detail")(x)
        return leaky_clip(warp(image, field) + detail.reshape(image.shape))


def leaky_clip(x, slope=0.01):
    """Clips to [-1, 1] but for a slight slope: background may lie below black, where small changes do not show."""
    clipped = x.clip(-1, 1)
    return clipped + slope * (x - clipped)


def warp(images, field):
    """Images `[N, H, W]` sampled bilinearly at each pixel's place plus `field [N, H, W, 2]` pixels; edges repeat."""
    n, h, w = images.shape
    y = (jnp.arange(h)[None, :, None] + field[..., 0]).clip(0, h - 1)
    x = (jnp.arange(w)[None, None, :] + field[..., 1]).clip(0, w - 1)
    y0, x0 = jnp.floor(y).clip(0, h - 2), jnp.floor(x).clip(0, w - 2)
    fy, fx = y - y0, x - x0
    index = (y0 * w + x0).astype(jnp.int32).reshape(n, -1)
    flat = images.reshape(n, -1)

    def take(offset):
        return jnp.take_along_axis(flat, index + offset, axis=1).reshape(n, h, w)

    top = (1 - fx) * take(0) + fx * take(1)
    bottom = (1 - fx) * take(w) + fx * take(w + 1)
    return (1 - fy) * top + fy * bottom
