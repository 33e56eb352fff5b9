"""LiFT-C's network: a slice translator with a z-mixer between its halves."""

import flax.linen as nn
import jax
import jax.numpy as jnp
from ml_collections import ConfigDict

from lift_jax.data.channels import Channels
from lift_jax.models.layers import norm_groups
from lift_jax.models.slice_translator import SliceTranslator
from lift_jax.models.z_mixer import MIXER_KINDS, ZMixer, pool_cells, source_statistics


class VolumeTranslator(nn.Module):
    """Slabs of slices to the target channel: `[B, D, H, W, S] -> [B, D, H, W]` (LiFT, arXiv 2605.19060).

    Parameters live under `translator` and `mixer`, so that stages can train or freeze either, and a mixer can be added
    to a translator that was trained alone.

    Attributes:
      translator: the 2D network.
      mixer_kind: a name in `SEQUENCE_LAYERS`, or `none`: no context from other slices.
      hidden: recurrent state of the mixer, each direction.
      grid: side of the grid of cells that a bottleneck is pooled to, each a sequence of its own.
      frequencies: Fourier frequencies of depth.
      window: slices that a convolution sees on each side.
    """

    translator: SliceTranslator
    mixer_kind: str = "gru"
    hidden: int = 256
    grid: int = 1
    frequencies: int = 6
    window: int = 8

    def setup(self):
        """Makes the mixer; raises ValueError if there is none of this kind."""
        if self.mixer_kind not in MIXER_KINDS:
            raise ValueError(f"mixer kind {self.mixer_kind!r} is none of {', '.join(MIXER_KINDS)}")
        self.mixer = None
        if self.mixer_kind != "none":
            features = self.translator.context_features
            self.mixer = ZMixer(self.hidden, features, self.frequencies, self.mixer_kind, self.window)

    def encode(self, sources, available):
        """Slices to features; see `SliceTranslator.encode`."""
        return self.translator.encode(sources, available)

    def pool(self, skips, bottleneck):
        """Input of the mixer from features of slices, `[N, g, g, F]` float32: source statistics, then means."""
        return jnp.concatenate([source_statistics(skips[0], self.grid), pool_cells(bottleneck, self.grid)], axis=-1)

    def mix(self, pooled, depth, available, target_onehot):
        """Context of every slice from all, or None without a mixer: `[B, D, g, g, F] -> [B, D, g, g, K]`.

        `depth` is `[B, D]`; `available [B, S]` and `target_onehot [B, T]` are the same for all slices of a volume.
        """
        condition = jnp.concatenate([available, target_onehot], axis=-1)
        return None if self.mixer is None else self.mixer(pooled, depth, condition)

    def decode(self, skips, bottleneck, available, target_onehot, context=None):
        """Features to slices `[N, H, W]`; see `SliceTranslator.decode`."""
        return self.translator.decode(skips, bottleneck, available, target_onehot, context)

    def __call__(self, sources, available, target_onehot, depth, *, use_mixer=True):
        """Translates a slab in one pass.

        Args:
          sources: `[B, D, H, W, S]` in [-1, 1].
          available: `[B, S]` bool; target_onehot: `[B, T]`.
          depth: `[B, D]` in [-1, 1], each slice's coordinate in its whole volume.
          use_mixer: False translates every slice by itself (the stage that trains the translator alone).
        """
        b, d = sources.shape[:2]

        def slices(x):
            return x.reshape(b * d, *x.shape[2:])

        given, target = (slices(jnp.repeat(x[:, None], d, axis=1)) for x in (available, target_onehot))
        skips, bottleneck = self.encode(slices(sources), given)
        context = None
        if use_mixer and self.mixer is not None:
            pooled = self.pool(skips, bottleneck)
            context = slices(self.mix(pooled.reshape(b, d, *pooled.shape[1:]), depth, available, target_onehot))
        prediction = self.decode(skips, bottleneck, given, target, context)
        return prediction.reshape(b, d, *prediction.shape[1:])


def volume_translator(model: ConfigDict, channels: Channels) -> VolumeTranslator:
    """The network of a configuration's `model` section; equal configurations give equal (hashable) networks."""
    translator, mixer = model.translator, model.mixer
    slice_translator = SliceTranslator(
        source_channels=len(channels.sources),
        target_channels=len(channels.targets),
        widths=tuple(translator.widths),
        blocks=translator.blocks,
        space_to_depth=translator.space_to_depth,
        groups=norm_groups(translator.widths),
        combine=channels.same_unit,
        products=translator.products,
        condition_features=translator.condition_features,
        remat=translator.remat,
        dtype=jnp.dtype(translator.dtype),
    )
    return VolumeTranslator(slice_translator, mixer.kind, mixer.hidden, mixer.grid, window=mixer.window)


def initial_parameters(network: VolumeTranslator, key: jax.Array) -> dict:
    """Random parameters, `{"translator": …, "mixer": …}` float32 (no `mixer` where the kind is none)."""
    side = network.translator.multiple
    sources, targets = network.translator.source_channels, network.translator.target_channels
    init = jax.jit(network.init)  # compiled, because running every operation by itself takes many times longer
    return init(
        key,
        jnp.zeros((1, 2, side, side, sources)),
        jnp.ones((1, sources)),
        jnp.ones((1, targets)),
        jnp.zeros((1, 2)),
    )["params"]
