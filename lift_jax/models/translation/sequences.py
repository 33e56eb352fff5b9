"""Layers along depth: what each slice of a sequence learns from the others, in both directions.

All take `[D, N, F]`, N sequences of any length D, and return `[D, N, 2 hidden]`.
"""

from collections.abc import Callable

import flax.linen as nn
import jax
import jax.numpy as jnp


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
    "gru": lambda hidden, window, name: BidirectionalGRU(hidden, name=name),
    "convolution": WindowedConvolution,
}
"""Layers by name, made of `hidden`, `window` and the `name` of their parameters. A new kind is one line here."""
