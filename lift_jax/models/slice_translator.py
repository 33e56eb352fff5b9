"""The slice translator: a 2D residual U-Net from the available channels to the target channel."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import DTypeLike

from lift_jax.models.layers import (
    ConditionEmbedding,
    Modulation,
    ResidualBlock,
    depth_to_space,
    modulate,
    space_to_depth,
    split_modulation,
    upsample,
)

BACKGROUND = -1.0
"""Network intensity of air, and of a missing channel."""


class SliceTranslator(nn.Module):
    """A residual U-Net with modulated features, in two halves with room for a mixer between them.

    The available sources and the target channel scale and shift features at each resolution; a mixer's context adds to
    those scales and shifts in the decoder. `encode` does not depend on the target. Slices are `[N, H, W, S]` with sides
    that are multiples of `multiple`.

    Attributes:
      source_channels: S, number of sources.
      target_channels: T, number of targets.
      widths: features at each resolution, finest first; each next one has half the side.
      blocks: residual blocks per resolution, in the encoder and in the decoder.
      space_to_depth: space-to-depth factor in front of the finest resolution (1, 2 or 4).
      groups: groups of every GroupNorm; divides all widths.
      combine: predict a weight of each source at every voxel, which keeps their detail; False where the target has
        another unit, as CT has: predict the intensity itself.
      products: predict a weight of each product of two sources too: a nonlinear map of each voxel's intensities.
      condition_features: size of the embedded conditions.
      remat: recompute blocks in the backward pass instead of storing their insides.
      dtype: of activations; parameters are float32.
    """

    source_channels: int = 4
    target_channels: int = 4
    widths: tuple[int, ...] = (64, 128, 256, 512)
    blocks: int = 2
    space_to_depth: int = 1
    groups: int = 8
    combine: bool = True
    products: bool = False
    condition_features: int = 128
    remat: bool = False
    dtype: DTypeLike = jnp.float32

    @property
    def multiple(self) -> int:
        """What both sides of a slice must be a multiple of."""
        return self.space_to_depth * 2 ** (len(self.widths) - 1)

    @property
    def modulated(self) -> tuple[int, ...]:
        """Sizes of the modulated features of the decoder: bottleneck, merged skips, last features, outputs."""
        return (self.widths[-1], *(2 * width for width in self.widths[-2::-1]), self.widths[0], self.outputs)

    @property
    def outputs(self) -> int:
        """Outputs of every voxel: an offset and, with `combine`, a weight of each term."""
        sources = self.source_channels
        terms = sources * (sources + 3) // 2 if self.products else sources
        return terms + 1 if self.combine else 1

    @property
    def context_features(self) -> int:
        """Size of a context vector: a scale and a shift for every modulated feature."""
        return 2 * sum(self.modulated)

    def setup(self):
        """Makes the layers, named by their half."""
        block = nn.remat(ResidualBlock) if self.remat else ResidualBlock

        def level(width):
            return [block(width, self.groups, self.dtype) for _ in range(self.blocks)]

        self.encoder_condition = ConditionEmbedding(self.condition_features)
        self.encoder_modulation = Modulation(self.widths)
        self.decoder_condition = ConditionEmbedding(self.condition_features)
        self.decoder_modulation = Modulation(self.modulated)
        self.input_conv = nn.Conv(self.widths[0], (3, 3), dtype=self.dtype)
        self.encoder = [level(width) for width in self.widths]
        self.down = [nn.Conv(width, (2, 2), strides=2, dtype=self.dtype) for width in self.widths[1:]]
        self.bottleneck = level(self.widths[-1])
        self.up = [nn.Conv(width, (1, 1), dtype=self.dtype) for width in self.widths[-2::-1]]
        self.decoder = [level(width) for width in self.widths[-2::-1]]
        self.head = nn.Conv(self.outputs * self.space_to_depth**2, (3, 3), dtype=jnp.float32)

    def encode(self, sources, available):
        """Slices to features.

        Args:
          sources: `[N, H, W, S]` in [-1, 1]; what it holds of channels that are not available has no effect.
          available: `[N, S]` bool or 0/1.

        Returns:
          `(skips, bottleneck)`: the sources with background at 0, then features before each downsampling, finest
          first; and `[N, h, w, widths[-1]]`.
        """
        sources = jnp.where(available[:, None, None] > 0, sources, BACKGROUND)
        film = self.encoder_modulation(self.encoder_condition(_join(available)))
        x = self.input_conv(space_to_depth(sources.astype(self.dtype), self.space_to_depth))
        skips = [sources - BACKGROUND]
        for i, (blocks, scale_shift) in enumerate(zip(self.encoder, split_modulation(film, self.widths), strict=True)):
            if i:
                skips.append(x)
                x = self.down[i - 1](x)
            x = modulate(x, *scale_shift)
            for block in blocks:
                x = block(x)
        return skips, x

    def decode(self, skips, bottleneck, available, target_onehot, context=None):
        """Features to the target channel, `[N, H, W]` float32 in network intensities (not clamped).

        Args:
          skips, bottleneck: what `encode` returned.
          available: `[N, S]` as in `encode`.
          target_onehot: `[N, T]`.
          context: `[N, g, g, context_features]` from the mixer, or None for no mixer.
        """
        film = self.decoder_modulation(self.decoder_condition(_join(available, target_onehot)))
        if context is not None:
            film = film + context
        scale_shifts = iter(split_modulation(film, self.modulated))
        x = modulate(bottleneck, *next(scale_shifts))
        for block in self.bottleneck:
            x = block(x)
        for i, blocks in enumerate(self.decoder):
            x = jnp.concatenate([upsample(self.up[i](x)), skips[-1 - i]], axis=-1)
            x = modulate(x, *next(scale_shifts))
            for block in blocks:
                x = block(x)
        x = nn.silu(modulate(x, *next(scale_shifts)).astype(jnp.float32))
        # A scale of a source's weights undoes a gain; a shift moves the levels of the whole slice.
        output = modulate(depth_to_space(self.head(x), self.space_to_depth), *next(scale_shifts))
        offset = output[..., -1] + BACKGROUND
        if not self.combine:
            return offset
        terms = with_products(skips[0]) if self.products else skips[0]
        return (output[..., :-1] * terms).sum(axis=-1) + offset

    def __call__(self, sources, available, target_onehot, context=None):
        """`encode` and `decode` in one: `[N, H, W, S] -> [N, H, W]`."""
        skips, bottleneck = self.encode(sources, available)
        return self.decode(skips, bottleneck, available, target_onehot, context)


def with_products(shown: jax.Array) -> jax.Array:
    """Sources in [0, 2], and half the products of all pairs: `[…, S]` to `[…, S (S + 3)/2]`."""
    first, second = np.triu_indices(shown.shape[-1])
    return jnp.concatenate([shown, shown[..., first] * shown[..., second] / 2], axis=-1)


def _join(*conditions) -> jax.Array:
    return jnp.concatenate([c.astype(jnp.float32) for c in conditions], axis=-1)
