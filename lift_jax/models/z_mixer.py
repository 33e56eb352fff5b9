"""The z-mixer: context of each slice from all slices of a volume, by a layer along depth.

Layers along depth take `[D, N, F]`, N sequences of any length D, and return `[D, N, 2 hidden]`.
"""

from collections.abc import Callable

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from lift_jax.models.layers import fourier_features


class BidirectionalGRU(nn.Module):
    """Gated recurrent units (Cho et al., arXiv 1406.1078) forwards and backwards: `[D, N, F] -> [D, N, 2 hidden]`.

    The same numbers as `flax.linen.Bidirectional` of two `RNN(GRUCell)`, five times as fast: the input projections of
    all slices, gates and directions are one product before the scan, and one scan carries both directions.
    """

    hidden: int

    @nn.compact
    def __call__(self, x):
        """`x [D, N, F]`."""
        hidden = self.hidden
        inputs = nn.Dense(6 * hidden, name="input")(x)
        recurrent = self.param("recurrent", _stacked_orthogonal, (2, hidden, 3 * hidden))
        bias = self.param("candidate_bias", nn.initializers.zeros, (2, 1, hidden))
        forwards, backwards = jnp.split(inputs, 2, axis=-1)
        inputs = jnp.stack([forwards, backwards[::-1]], axis=1)  # [D, 2, N, 3 hidden]

        def cell(h, projected):
            reset_x, update_x, candidate_x = jnp.split(projected, 3, axis=-1)
            reset_h, update_h, candidate_h = jnp.split(jnp.einsum("snh,shk->snk", h, recurrent), 3, axis=-1)
            reset = nn.sigmoid(reset_x + reset_h)
            update = nn.sigmoid(update_x + update_h)
            candidate = jnp.tanh(candidate_x + reset * (candidate_h + bias))
            h = (1 - update) * candidate + update * h
            return h, h

        # Zeros like the input, which under shard_map varies over devices: the scan requires the same of both.
        start = jnp.zeros_like(inputs[0, ..., :hidden])
        _, outputs = jax.lax.scan(cell, start, inputs)
        return jnp.concatenate([outputs[:, 0], outputs[::-1, 1]], axis=-1)


def _stacked_orthogonal(key, shape, dtype=jnp.float32):
    """Orthogonal blocks for the three gates of both directions, `[2, hidden, 3 hidden]`."""
    directions, hidden, _ = shape
    blocks = [nn.initializers.orthogonal()(k, (hidden, hidden), dtype) for k in jax.random.split(key, 3 * directions)]
    return jnp.stack([jnp.concatenate(blocks[3 * d : 3 * d + 3], axis=-1) for d in range(directions)])


class WindowedConvolution(nn.Module):
    """A depthwise convolution along depth (as Blattmann et al., arXiv 2304.08818): `[D, N, F] -> [D, N, 2 hidden]`.

    It sees `window` slices on each side; both ends are padded with the last slice.
    """

    hidden: int
    window: int = 8

    @nn.compact
    def __call__(self, x):
        """`x [D, N, F]`."""
        x = nn.silu(nn.Dense(2 * self.hidden, name="input")(x))
        taps = 2 * self.window + 1
        kernel = self.param("kernel", nn.initializers.normal(taps**-0.5), (taps, 2 * self.hidden))
        extended = jnp.pad(x, ((self.window, self.window), (0, 0), (0, 0)), mode="edge")
        return sum(extended[tap : tap + len(x)] * kernel[tap][None, None] for tap in range(taps))


SEQUENCE_LAYERS: dict[str, Callable[..., nn.Module]] = {
    "gru": lambda hidden, window, name: BidirectionalGRU(hidden, name=name),
    "convolution": WindowedConvolution,
}
"""Layers by name, made from `hidden`, `window` and the `name` of their parameters. A new kind is one line here."""


MIXER_KINDS = (*SEQUENCE_LAYERS, "none")


def pool_cells(features: jax.Array, grid: int) -> jax.Array:
    """Means over a `grid x grid` division of the image: `[N, h, w, F] -> [N, g, g, F]`.

    Where g does not divide a side, cells share the pixels at their borders in proportion to the overlap.
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


def source_statistics(sources: jax.Array, grid: int) -> jax.Array:
    """Intensity statistics of slices: `[N, H, W, C] -> [N, g, g, S]` float32, S = 2 C + C (C + 1)/2 + 1.

    Over the foreground of each cell, where any source is above zero: the mean of each source, the logarithms of the
    means, signed roots of all variances and covariances, and the part of the cell that is foreground.

    Args:
      sources: 0 in air and in missing channels.
      grid: side of the grid of cells.
    """
    inside = (sources > 0).any(axis=-1, keepdims=True).astype(jnp.float32)
    share = pool_cells(inside, grid)
    size = jnp.maximum(share, 1e-6)
    mean = pool_cells(sources, grid) / size
    i, j = np.triu_indices(sources.shape[-1])
    covariance = pool_cells(sources[..., i] * sources[..., j], grid) / size - mean[..., i] * mean[..., j]
    root = jnp.sign(covariance) * (jnp.sqrt(jnp.abs(covariance) + 0.01) - 0.1)  # of moderate slope at zero
    return jnp.concatenate([mean, jnp.log(mean + 0.05), 3 * root, share], axis=-1)


def neighbor_residuals(pooled: jax.Array) -> jax.Array:
    """Ten times the difference of each slice from the mean of its neighbors, `[B, D, …]`.

    It shows the gain of a slice without the level of the volume. At both ends the slice replaces the missing neighbor.
    """
    extended = jnp.concatenate([pooled[:, :1], pooled, pooled[:, -1:]], axis=1)
    return 10 * (pooled - (extended[:, :-2] + extended[:, 2:]) / 2)


class ZMixer(nn.Module):
    """Pooled features of all slices to the context of each: `[B, D, g, g, F] -> [B, D, g, g, features]`.

    Appended are the slices' residuals from their neighbors, Fourier features of depth, and the condition of the volume
    (available sources, target channel). A layer of `SEQUENCE_LAYERS` runs along D over each of the g x g cells, with
    shared weights, and two dense layers make the context. The last starts at zero: an untrained mixer changes nothing.
    Always float32.

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
        position = fourier_features(depth, self.frequencies)
        condition = jnp.broadcast_to(condition[:, None].astype(jnp.float32), (b, d, condition.shape[-1]))
        condition = jnp.concatenate([position, condition], axis=-1)[:, :, None, None]
        condition = jnp.broadcast_to(condition, (b, d, g, g, condition.shape[-1]))
        sequence = jnp.concatenate([pooled, neighbor_residuals(pooled), condition], axis=-1)
        sequence = sequence.transpose(1, 0, 2, 3, 4).reshape(d, b * g * g, -1)
        layer = SEQUENCE_LAYERS[self.kind](self.hidden, window=self.window, name=self.kind)
        states = layer(sequence)
        states = nn.silu(nn.Dense(self.hidden, name="merge")(jnp.concatenate([states, sequence], axis=-1)))
        context = nn.Dense(self.features, name="context", kernel_init=nn.initializers.zeros)(states)
        return context.reshape(d, b, g, g, self.features).transpose(1, 0, 2, 3, 4)
