"""The slice generator: one latent to one axial slice, in a single evaluation."""

import math

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.typing import DTypeLike

from lift_jax.models.layers import (
    ConditionEmbedding,
    Modulation,
    ResidualBlock,
    convolve,
    depth_to_space,
    modulate,
    space_to_depth,
    split_modulation,
    upsample_smoothly,
)

REACH = 0.9
"""The largest intensity is `tanh` of a finite logit, so that black and white keep a gradient."""


def from_logits(logits: jax.Array) -> jax.Array:
    """`tanh(logits) / REACH`, images around [-1, 1]."""
    return jnp.tanh(logits) / REACH


def to_logits(images, xp=jnp):
    """The inverse of `from_logits` on [-1, 1], of the same shape; `xp` is `jax.numpy` or `numpy`."""
    return xp.arctanh(REACH * images)


class SliceGenerator(nn.Module):
    """Latents to slices, `[N, K] -> [N, H, W, 1]` around [-1, 1]: a linear model of slices, and a correction.

    The linear model can begin as principal components (`models.pca`). The correction is a convolutional network from
    coarse to fine: the latent makes the coarsest features, and scales and shifts features at every resolution; the
    finest also see the linear model's slice. Upsampling is bilinear, because repeated pixels would show as squares.

    Attributes:
      size: rows and columns (H, W) of a slice, multiples of `multiple`.
      slice_latent_dim: size of a latent, standard normal.
      widths: features at each resolution, coarsest first; each next one has twice the side.
      blocks: residual blocks per resolution.
      depth_to_space: factor behind the finest resolution (1, 2 or 4).
      groups: groups of every GroupNorm; divides all widths.
      dtype: of activations; parameters are float32.
    """

    size: tuple[int, int]
    slice_latent_dim: int = 64
    widths: tuple[int, ...] = (512, 256, 128, 64)
    blocks: int = 2
    depth_to_space: int = 2
    groups: int = 8
    dtype: DTypeLike = jnp.float32

    @property
    def multiple(self) -> int:
        """What both sides of a slice must be a multiple of."""
        return self.depth_to_space * 2 ** (len(self.widths) - 1)

    @nn.compact
    def __call__(self, latents):
        """`latents [N, K]` float32."""
        height, width = (side // self.multiple for side in self.size)
        linear = nn.Dense(math.prod(self.size), kernel_init=nn.initializers.zeros, name="linear")(latents)
        linear = space_to_depth(linear.reshape(-1, *self.size, 1), self.depth_to_space)
        embedding = ConditionEmbedding(2 * self.slice_latent_dim)(latents)
        film = Modulation((*self.widths, self.widths[-1]))(embedding)
        *scale_shifts, last = split_modulation(film, (*self.widths, self.widths[-1]))
        x = nn.Dense(height * width * self.widths[0], dtype=self.dtype)(latents)
        x = x.reshape(-1, height, width, self.widths[0])
        for level, (features, scale_shift) in enumerate(zip(self.widths, scale_shifts, strict=True)):
            if level:
                x = upsample_smoothly(nn.Conv(features, (1, 1), dtype=self.dtype)(x))
            if level == len(self.widths) - 1:
                x = x + nn.Conv(features, (3, 3), dtype=self.dtype, conv_general_dilated=convolve)(linear)
            x = modulate(x, *scale_shift)
            for _ in range(self.blocks):
                x = ResidualBlock(features, self.groups, self.dtype)(x)
        x = nn.silu(modulate(nn.GroupNorm(self.groups, dtype=jnp.float32)(x), *last))
        last_convolution = nn.Conv(
            self.depth_to_space**2, (3, 3), dtype=jnp.float32, conv_general_dilated=convolve, name="correction"
        )
        x = last_convolution(x)
        return from_logits(depth_to_space(linear + x, self.depth_to_space))
