"""Layers along depth: what each slice of a sequence learns from the others, in both directions.

All take `[D, N, F]`, N sequences of any length D, and return `[D, N, 2 hidden]`.
"""

from collections.abc import Callable

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np


class BidirectionalGRU(nn.Module):
    """Gated recurrent units (Cho et al., arXiv 1406.1078) forwards and backwards: `[D, N, F] -> [D, N, 2 hidden]`.

    The same numbers as `flax.linen.Bidirectional` of two `RNN(GRUCell)`, but the input projections of all slices,
    gates and directions are one product before the scan, and one scan carries both directions.
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

        # Zeros made from the input: under shard_map they vary over devices as the input does, which the scan requires.
        start = jnp.zeros_like(inputs[0, ..., :hidden])
        _, outputs = jax.lax.scan(cell, start, inputs)
        return jnp.concatenate([outputs[:, 0], outputs[::-1, 1]], axis=-1)


def _stacked_orthogonal(key, shape, dtype=jnp.float32):
    """Orthogonal blocks for the three gates of both directions, `[2, hidden, 3 hidden]`."""
    directions, hidden, _ = shape
    blocks = [nn.initializers.orthogonal()(k, (hidden, hidden), dtype) for k in jax.random.split(key, 3 * directions)]
    return jnp.stack([jnp.concatenate(blocks[3 * d : 3 * d + 3], axis=-1) for d in range(directions)])


class BidirectionalMinGRU(nn.Module):
    """Minimal gated recurrent units both ways (Feng et al., arXiv 2410.01201): `[D, N, F] -> [D, N, 2 hidden]`.

    `h_t = (1 - z_t) h_{t-1} + z_t h̃_t`, where `z_t = σ(W x_t)` and `h̃_t = U x_t` do not look at the state: the
    recurrence is linear, and an associative scan takes log D steps in place of D.
    """

    hidden: int

    @nn.compact
    def __call__(self, x):
        """`x [D, N, F]`."""
        update, candidate = jnp.split(nn.Dense(4 * self.hidden, name="input")(x), 2, axis=-1)
        update = nn.sigmoid(update)

        def along(keep, add, reverse):
            def compose(earlier, later):
                return earlier[0] * later[0], earlier[1] * later[0] + later[1]

            return jax.lax.associative_scan(compose, (keep, add), reverse=reverse)[1]

        keep, add = 1 - update, update * candidate
        halves = zip(jnp.split(keep, 2, axis=-1), jnp.split(add, 2, axis=-1), (False, True), strict=True)
        return jnp.concatenate([along(*half) for half in halves], axis=-1)


class WindowedAttention(nn.Module):
    """Attention of each slice to those at most `window` away, itself among them: `[D, N, F] -> [D, N, 2 hidden]`.

    Where the other lies is told by a learnt number for each offset and head, added before the softmax (Raffel et al.,
    arXiv 1910.10683, one bucket an offset); nothing depends on the place in the window or the length of the sequence.
    All pairs are computed and the far ones masked, which costs little at some hundreds of slices.

    Attributes:
      hidden: half the output.
      window: slices seen on each side.
      heads: divides `2 hidden`.
    """

    hidden: int
    window: int = 8
    heads: int = 4

    @nn.compact
    def __call__(self, x):
        """`x [D, N, F]`; raises ValueError if the heads do not divide the output."""
        if 2 * self.hidden % self.heads:
            raise ValueError(f"{self.heads} heads do not divide 2 x {self.hidden} features")
        d, n, _ = x.shape
        size = 2 * self.hidden // self.heads
        inputs = nn.Dense(6 * self.hidden, name="input")(x).reshape(d, n, 3, self.heads, size)
        query, key, value = (inputs[:, :, i] for i in range(3))
        bias = self.param("offset_bias", nn.initializers.zeros, (self.heads, 2 * self.window + 1))
        offset = np.arange(d)[None] - np.arange(d)[:, None]
        place = np.clip(offset + self.window, 0, 2 * self.window)
        logits = jnp.einsum("inhs,jnhs->nhij", query, key) / size**0.5 + bias[None, :, place]
        weights = nn.softmax(jnp.where(np.abs(offset)[None, None] <= self.window, logits, -jnp.inf))
        return jnp.einsum("nhij,jnhs->inhs", weights, value).reshape(d, n, 2 * self.hidden)


class WindowedConvolution(nn.Module):
    """A convolution along depth, each feature by itself: `[D, N, F] -> [D, N, 2 hidden]`.

    With cells as fine as the bottleneck (`ZMixer`), the light 1-D convolution along z that video and volume models put
    between 2D layers (as Blattmann et al., arXiv 2304.08818). At both ends the last slice stands for those beyond it.

    Attributes:
      hidden: half the output.
      window: slices seen on each side.
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
    "gru": lambda hidden, window, heads, name: BidirectionalGRU(hidden, name=name),
    "min_gru": lambda hidden, window, heads, name: BidirectionalMinGRU(hidden, name=name),
    "attention": WindowedAttention,
    "convolution": lambda hidden, window, heads, name: WindowedConvolution(hidden, window, name=name),
}
"""Layers by name, made of `hidden`, `window`, `heads` and the `name` of their parameters."""
