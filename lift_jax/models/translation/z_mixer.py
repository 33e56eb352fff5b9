"""The z-mixer: what a slice learns from all the others, by a layer along depth."""

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from lift_jax.models.depth_encoding import fourier_features
from lift_jax.models.translation.sequences import SEQUENCE_LAYERS

MIXER_KINDS = (*SEQUENCE_LAYERS, "none")


def pool_cells(features: jax.Array, grid: int) -> jax.Array:
    """Means over a `grid x grid` division of the image: `[N, h, w, F] -> [N, g, g, F]`.

    Where g does not divide a side, cells share the rows at their borders by overlap, as an exact area mean does.
    """

    def areas(side: int) -> np.ndarray:
        edges = np.linspace(0, side, grid + 1)
        left, right = edges[:-1, None], edges[1:, None]
        pixels = np.arange(side)
        overlap = np.clip(np.minimum(right, pixels + 1) - np.maximum(left, pixels), 0, None)
        return np.asarray(overlap * grid / side, np.float32)

    _, h, w, _ = features.shape
    features = features.astype(jnp.float32)
    return jnp.einsum("gh,nhwf,kw->ngkf", areas(h), features, areas(w))


def source_statistics(shown: jax.Array, grid: int) -> jax.Array:
    """What tells of a slice's gains and of its scan: `[N, H, W, C] -> [N, g, g, S]` float32, S = 2 C + C (C + 1)/2 + 1.

    Over the brain in each cell, which is where any source is above zero: each source's mean, the means' logarithms,
    roots of all variances and covariances with their signs, and last the share of the cell that is brain.

    Args:
      shown: the sources, 0 in air and where a channel is not there.
      grid: side of the grid of cells.
    """
    brain = (shown > 0).any(axis=-1, keepdims=True).astype(jnp.float32)
    share = pool_cells(brain, grid)
    size = jnp.maximum(share, 1e-6)
    mean = pool_cells(shown, grid) / size
    i, j = np.triu_indices(shown.shape[-1])
    covariance = pool_cells(shown[..., i] * shown[..., j], grid) / size - mean[..., i] * mean[..., j]
    root = jnp.sign(covariance) * (jnp.sqrt(jnp.abs(covariance) + 0.01) - 0.1)  # of moderate slope at zero
    return jnp.concatenate([mean, jnp.log(mean + 0.05), 3 * root, share], axis=-1)


def neighbor_residuals(pooled: jax.Array) -> jax.Array:
    """By how much each slice differs from the mean of its neighbors, `[B, D, …]`, in tenths.

    The gain of a slice shows here at once, without the volume's own level, which a recurrence would have to subtract.
    At both ends the slice itself stands for the neighbor that is missing.
    """
    extended = jnp.concatenate([pooled[:, :1], pooled, pooled[:, -1:]], axis=1)
    return 10 * (pooled - (extended[:, :-2] + extended[:, 2:]) / 2)


class ZMixer(nn.Module):
    """What is pooled of all slices to the context of each: `[B, D, g, g, F] -> [B, D, g, g, features]`.

    A slice's residuals from its neighbors are appended, Fourier features of depth, and what is known of the volume
    (which sources are given, which channel is the target). A layer of `SEQUENCE_LAYERS` runs along D, each of the g x g
    cells a sequence of its own with shared weights, and two dense layers make the context. The last starts at zero, so
    that an untrained mixer leaves the translator exactly as it was. Always float32: the layer is light, and long.

    Attributes:
      hidden: size of the recurrent state of one direction.
      features: size of the context, scales and shifts of the decoder's features.
      frequencies: Fourier frequencies of the depth.
      kind: a name in `SEQUENCE_LAYERS`.
      window: slices that a convolution sees on each side.
    """

    hidden: int
    features: int
    frequencies: int = 6
    kind: str = "gru"
    window: int = 8

    @nn.compact
    def __call__(self, pooled, depth, condition):
        """`pooled [B, D, g, g, F]`, `depth [B, D]` in [-1, 1], `condition [B, K]`."""
        b, d, g = pooled.shape[:3]
        pooled = pooled.astype(jnp.float32)
        place = fourier_features(depth, self.frequencies)
        known = jnp.broadcast_to(condition[:, None].astype(jnp.float32), (b, d, condition.shape[-1]))
        conditions = jnp.concatenate([place, known], axis=-1)[:, :, None, None]
        conditions = jnp.broadcast_to(conditions, (b, d, g, g, conditions.shape[-1]))
        sequence = jnp.concatenate([pooled, neighbor_residuals(pooled), conditions], axis=-1)
        sequence = sequence.transpose(1, 0, 2, 3, 4).reshape(d, b * g * g, -1)
        layer = SEQUENCE_LAYERS[self.kind](self.hidden, window=self.window, name=self.kind)
        states = layer(sequence)
        # Beside the states, the slice itself: a gain is how it differs from its neighbors.
        states = nn.silu(nn.Dense(self.hidden, name="merge")(jnp.concatenate([states, sequence], axis=-1)))
        context = nn.Dense(self.features, name="context", kernel_init=nn.initializers.zeros)(states)
        return context.reshape(d, b, g, g, self.features).transpose(1, 0, 2, 3, 4)
