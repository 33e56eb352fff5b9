"""Time of the z-mixer's bidirectional GRU against Flax's own, on one volume's worth of slices.

    python -m benchmarks.z_mixer_speed

Both take turns in one process, so that whatever else the machine does slows both alike; medians of all rounds.
"""

import statistics
import time

import flax.linen as nn
import jax
import jax.numpy as jnp
from absl import app, flags

from lift_jax.evaluation.cost import hardware
from lift_jax.models.z_mixer import BidirectionalGRU

SLICES = flags.DEFINE_integer("slices", 155, "length of the sequences", 1)
FEATURES = flags.DEFINE_integer("features", 512, "features of a slice", 1)
HIDDEN = flags.DEFINE_integer("hidden", 256, "recurrent state, each direction", 1)
BATCH = flags.DEFINE_integer("batch", 1, "sequences", 1)
ROUNDS = flags.DEFINE_integer("rounds", 30, "timed runs of each", 1)


def forward_and_backward(layer: nn.Module, x: jax.Array):
    """The layer alone, and its gradients by parameters and input, as compiled functions of no arguments."""
    params = layer.init(jax.random.key(0), x)
    forward = jax.jit(layer.apply)
    backward = jax.jit(jax.grad(lambda params, x: (layer.apply(params, x) ** 2).sum(), argnums=(0, 1)))
    return lambda: forward(params, x), lambda: backward(params, x)


def median_milliseconds(functions, rounds: int) -> list[float]:
    """Medians over rounds in which each function runs once, after one round that compiles."""
    times = [[] for _ in functions]
    for _ in range(rounds + 1):
        for function, measured in zip(functions, times, strict=True):
            start = time.perf_counter()
            jax.block_until_ready(function())
            measured.append(1000 * (time.perf_counter() - start))
    return [statistics.median(measured[1:]) for measured in times]


def main(_):
    """Prints the table."""
    x = jax.random.normal(jax.random.key(1), (SLICES.value, BATCH.value, FEATURES.value), jnp.float32)
    hidden = HIDDEN.value
    ours = forward_and_backward(BidirectionalGRU(hidden), x)
    flax = forward_and_backward(
        nn.Bidirectional(nn.RNN(nn.GRUCell(hidden)), nn.RNN(nn.GRUCell(hidden)), time_major=True), x
    )
    print(f"{SLICES.value} slices of {FEATURES.value} features, hidden {hidden}, batch {BATCH.value}; {hardware()}")
    print(f"{'ms, median':<20} {'ours':>8} {'flax':>8} {'ratio':>6}")
    for name, pair in zip(("forward", "forward + backward"), zip(ours, flax, strict=True), strict=True):
        own, other = median_milliseconds(pair, ROUNDS.value)
        print(f"{name:<20} {own:8.1f} {other:8.1f} {other / own:6.1f}", flush=True)


if __name__ == "__main__":
    app.run(main)
