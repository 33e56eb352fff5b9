"""Log-ratio of kernel densities: what several drifting fields descend, as a loss of its own."""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
from jax.nn import logsumexp

from lift_jax.losses.kernels import SHARP_LAPLACE, Kernel
from lift_jax.losses.pairs import Blocks, block_size, map_queries, mean_distance, side_of
from lift_jax.losses.problems import Problems
from lift_jax.losses.targets import collect_targets, first_query, spread


def log_kde_loss(
    generated: jax.Array,
    positives: jax.Array,
    *,
    temperatures: Sequence[float],
    kernel: Kernel = SHARP_LAPLACE,
    axis_name: str | None = None,
    problems: Sequence[int] | None = None,
) -> tuple[jax.Array, dict[str, jax.Array]]:
    """`mean(log q(x) - log p(x))` of kernel densities q and p, one number a location (arXiv 2604.06333).

    The centres of both are constants, and a particle is left out of its own q: the gradient runs through x alone, and
    is -V / (N C) in scaled coordinates, V the field `kernel_gradient` (with this kernel, `sharp_laplace`). Known
    failure: its value says little of the distance left, as both densities are estimates from few samples.

    Args:
      generated: `[L, N, C]`, at least two particles in all; float32 or bfloat16.
      positives: `[L, P, C]`, real features.
      temperatures: kernel widths in units of the mean distance of all pairs; the losses are averaged.
      kernel: of both densities.
      axis_name: the mapped axis whose devices share the global batch, as in `drifting_loss`; problems: likewise.

    Returns:
      The loss of each location, float32 `[L]`, the mean over this device's particles; and statistics,
      `distance_scale` and `spread`, as in `drifting_loss`.

    Raises:
      ValueError: if there is one particle in all.
    """
    x = generated.astype(jnp.float32)
    centre, real, repelling = collect_targets(x, positives, None, None, True, axis_name)
    if repelling.points.shape[1] < 2:
        raise ValueError("log_kde_loss needs at least 2 generated particles in all: one has no density but its own")
    points = x - centre
    queries, parts = points.shape[1], Problems.of(problems, len(points))
    size = block_size(queries, len(points) * (real.points.shape[1] + repelling.points.shape[1]))
    blocks = Blocks.of(points, first_query(queries, axis_name), size)
    scale = mean_distance(jax.lax.stop_gradient(blocks), queries, (real, repelling), parts, axis_name)
    location_scale = parts.at_locations(scale)

    @jax.checkpoint
    def of_block(block):
        log_p, log_q = (
            _log_densities(side_of(block.points, block.rows, part), location_scale, temperatures, kernel)
            for part in (real, repelling)
        )
        return log_q - log_p

    loss = map_queries(of_block, blocks, queries).mean(-1)
    stats = {"distance_scale": scale, "spread": spread(points, parts, axis_name)}
    if problems is None:
        stats = {name: value[0] for name, value in stats.items()}
    return loss, jax.lax.stop_gradient(stats)


def _log_densities(side, scale, temperatures, kernel):
    """log of the mean kernel over targets other than the query, averaged over temperatures: `[L, N]`."""
    log_count = jnp.log((~side.itself).sum(-1))
    total = 0.0
    for temperature in temperatures:
        log_kernel = jnp.where(side.itself, -jnp.inf, kernel.log_value(side.distances / scale, temperature))
        total += logsumexp(log_kernel, axis=-1) - log_count
    return total / len(temperatures)
