"""Time of the drifting loss with its gradient, fields and all, against the published algorithm written in one piece.

    XLA_FLAGS=--xla_cpu_multi_thread_eigen=false taskset -c 0 python -m benchmarks.drifting_cost

Both take turns in one process, so that whatever else the machine does slows both alike. Printed is the median of
the rounds' ratios; the library is to be within 1.2 times the plain one, for all that can be switched in it.
"""

import statistics
import time

import jax
import jax.numpy as jnp
import numpy as np
from absl import app, flags

from lift_jax.evaluation.cost import hardware
from lift_jax.losses.drifting import TEMPERATURES, drifting_loss

PARTICLES = flags.DEFINE_integer("particles", 64, "generated particles N", 2)
POSITIVES = flags.DEFINE_integer("positives", 128, "real particles P", 1)
FEATURES = flags.DEFINE_integer("features", 512, "features C", 1)
LOCATIONS = flags.DEFINE_integer("locations", 256, "locations L", 1)
ROUNDS = flags.DEFINE_integer("rounds", 7, "timed runs of each", 1)


def plain_drifting_loss(x: jax.Array, positives: jax.Array) -> jax.Array:
    """The published loss of `x [L, N, C]`, real features `[L, P, C]`: no switch, no statistic, no block, a scalar."""
    queries, features = x.shape[1:]
    points = jax.lax.stop_gradient(x)
    targets = jnp.concatenate([points, positives], axis=1)
    center = targets.mean(axis=1, keepdims=True)
    points, targets = points - center, targets - center
    square = (points**2).sum(-1)[:, :, None] + (targets**2).sum(-1)[:, None, :]
    square = square - 2 * jnp.einsum("lnc,lmc->lnm", points, targets, precision="highest")
    itself = jnp.eye(queries, targets.shape[1])
    distances = jnp.sqrt(jnp.maximum(square * (1 - itself), 1e-8))
    scale = jnp.maximum(distances.mean(), 1e-3)
    unit = jnp.maximum(scale / features**0.5, 1e-3)
    distances = distances / scale + 100 * itself
    drift = 0.0
    for temperature in TEMPERATURES:
        logits = -distances / temperature
        affinity = jnp.sqrt(jnp.maximum(jax.nn.softmax(logits, 2) * jax.nn.softmax(logits, 1), 1e-6))
        repulsion, attraction = affinity[:, :, :queries], affinity[:, :, queries:]
        pull, push = attraction * repulsion.sum(-1, keepdims=True), repulsion * attraction.sum(-1, keepdims=True)
        coefficients = jnp.concatenate([-push, pull], axis=2)
        field_value = jnp.einsum("lnm,lmc->lnc", coefficients, targets, precision="highest")
        field_value = (field_value - coefficients.sum(-1, keepdims=True) * points) / unit
        drift += field_value / jnp.sqrt(jnp.maximum((field_value**2).mean(), 1e-8))
    position = x / unit
    return ((position - jax.lax.stop_gradient(position + drift)) ** 2).mean()


def main(argv: list[str]) -> None:
    """Prints times and their ratio."""
    del argv
    rng = np.random.default_rng(0)
    sizes = (PARTICLES.value, POSITIVES.value)
    x, positives = (rng.normal(size=(LOCATIONS.value, size, FEATURES.value)).astype(np.float32) for size in sizes)
    steps = {
        "library": jax.jit(jax.value_and_grad(lambda x, y: drifting_loss(x, y)[0].mean())),
        "plain": jax.jit(jax.value_and_grad(plain_drifting_loss)),
    }
    x, positives = jax.device_put((x, positives))
    results = {name: jax.block_until_ready(step(x, positives)) for name, step in steps.items()}
    (value, gradient), (plain_value, plain_gradient) = results["library"], results["plain"]
    error = float(jnp.abs(gradient - plain_gradient).max() / jnp.abs(plain_gradient).max())
    times = {name: [] for name in steps}
    for _ in range(ROUNDS.value):
        for name, step in steps.items():
            start = time.perf_counter()
            jax.block_until_ready(step(x, positives))
            times[name].append(time.perf_counter() - start)
    ratios = [library / plain for library, plain in zip(times["library"], times["plain"], strict=True)]
    print(f"{hardware()}; L={LOCATIONS.value}, N={sizes[0]}, P={sizes[1]}, C={FEATURES.value}; {ROUNDS.value} rounds")
    print(f"loss {float(value):.5f} and {float(plain_value):.5f}, gradients {error:.1e} of the largest apart")
    for name, seconds in times.items():
        print(f"{name:8} {statistics.median(seconds) * 1e3:8.1f} ms (median), {min(seconds) * 1e3:.1f} ms (least)")
    print(f"ratio    {statistics.median(ratios):8.3f} (median of rounds), {min(ratios):.3f} to {max(ratios):.3f}")


if __name__ == "__main__":
    app.run(main)
