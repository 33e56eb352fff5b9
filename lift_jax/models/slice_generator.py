"""The slice generator: one code to one axial slice, in a single evaluation."""

import flax.linen as nn
import jax
import jax.numpy as jnp

from lift_jax.models.blocks import (
    ConditionEmbedding,
    Modulation,
    ResidualBlock,
    depth_to_space,
    modulate,
    split_modulation,
    upsample_smoothly,
)


class SliceGenerator(nn.Module):
    """Codes to slices, `[N, K] -> [N, H, W, 1]` in [-1, 1]: a grid of features, doubled and refined, coarsest first.

    The code makes the coarsest grid, and scales and shifts features at the entrance of every resolution. Doubling is
    bilinear: repeated pixels pass through the residual blocks to the slice, as squares.

    Attributes:
      size: rows and columns (H, W) of a slice, multiples of `multiple`.
      code: numbers in a code, standard normal.
      widths: features at each resolution, coarsest first; each next one has twice the side.
      blocks: residual blocks per resolution.
      head: depth-to-space factor behind the finest resolution (1, 2 or 4).
      groups: groups of every GroupNorm; divides all widths.
      remat: recompute blocks in the backward pass instead of storing their insides.
      dtype: of activations; parameters are float32.
    """

    size: tuple[int, int]
    code: int = 64
    widths: tuple[int, ...] = (512, 256, 128, 64)
    blocks: int = 2
    head: int = 2
    groups: int = 8
    remat: bool = False
    dtype: jnp.dtype = jnp.float32

    @property
    def multiple(self) -> int:
        """What both sides of a slice must be a multiple of."""
        return self.head * 2 ** (len(self.widths) - 1)

    @nn.compact
    def __call__(self, codes, leak: float = 0.0):
        """`codes [N, K]` float32; `leak` is the least slope of the last nonlinearity, see `leaky_tanh`."""
        block = nn.remat(ResidualBlock) if self.remat else ResidualBlock
        height, width = (side // self.multiple for side in self.size)
        codes = nn.Dense(self.code, kernel_init=_identity, name="codes")(codes)
        embedding = ConditionEmbedding(2 * self.code)(codes)
        film = Modulation((*self.widths, self.widths[-1]))(embedding)
        *scale_shifts, last = split_modulation(film, (*self.widths, self.widths[-1]))
        x = nn.Dense(height * width * self.widths[0], dtype=self.dtype)(codes)
        x = x.reshape(-1, height, width, self.widths[0])
        for level, (features, scale_shift) in enumerate(zip(self.widths, scale_shifts, strict=True)):
            if level:
                x = upsample_smoothly(nn.Conv(features, (1, 1), dtype=self.dtype)(x))
            x = modulate(x, *scale_shift)
            for _ in range(self.blocks):
                x = block(features, self.groups, self.dtype)(x)
        x = nn.silu(modulate(nn.GroupNorm(self.groups, dtype=jnp.float32)(x), *last))
        x = nn.Conv(self.head**2, (3, 3), dtype=jnp.float32)(x)
        return leaky_tanh(depth_to_space(x, self.head), leak)


def leaky_tanh(x: jax.Array, leak: float) -> jax.Array:
    """tanh, whose slope is taken for `leak` in the backward pass where it is less: what is saturated can be moved."""
    y = jnp.tanh(x)
    if leak == 0:
        return y
    slope = jax.lax.stop_gradient(jnp.maximum(1 - y**2, leak))
    return jax.lax.stop_gradient(y) + slope * (x - jax.lax.stop_gradient(x))


def _identity(key: jax.Array, shape: tuple[int, int], dtype=jnp.float32) -> jax.Array:
    del key
    return jnp.eye(*shape, dtype=dtype)
