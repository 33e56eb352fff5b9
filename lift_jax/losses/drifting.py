"""The drifting loss: generated features move towards real ones and away from each other.

Deng, Li, Li, Du, He, "Generative Modeling via Drifting", arXiv 2602.04770.
"""

import numbers
from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp

from lift_jax.losses.drifting_options import PUBLISHED, DriftingOptions, check, field_named
from lift_jax.losses.fields import FIELDS
from lift_jax.losses.pairs import (
    SMALLEST_SCALE,
    Blocks,
    block_size,
    logsumexp_over_queries,
    map_queries,
    mean_distance,
    row_sums,
    side_of,
)
from lift_jax.losses.problems import Problems
from lift_jax.losses.sides import Field, Side, TwoPassField
from lift_jax.losses.targets import Targets, collect_targets, first_query, mean_over_devices, spread

__all__ = ["FIELDS", "TEMPERATURES", "DriftingOptions", "drifting_loss"]

TEMPERATURES = (0.02, 0.05, 0.2)
"""Of the published loss, in units of the distance scale."""

SMALLEST_FORCE = 1e-8
"""Least mean square that a force is normalised by (the authors' code)."""

SELF_DISTANCE = 100.0
"""Added to a particle's distance from itself, in units of the distance scale (the authors' code)."""


def drifting_loss(
    generated: jax.Array,
    positives: jax.Array,
    negatives: jax.Array | None = None,
    *,
    negative_weights: jax.Array | None = None,
    temperatures: Sequence[float] = TEMPERATURES,
    field: str | Field = "softmax",
    axis_name: str | None = None,
    options: DriftingOptions = PUBLISHED,
    problems: Sequence[int] | None = None,
) -> tuple[jax.Array, dict[str, jax.Array]]:
    """Mean squared drift of generated particles: `mean ‖x - stop_gradient(x + V(x))‖²`, one number a location.

    Only `generated` gets a gradient, and it is that of the formula with V constant: -2 V / (N C) in scaled coordinates.
    Computed in float32, a block of particles at a time where there are many (`pairs.BLOCK_DISTANCES`).

    Args:
      generated: `[L, N, C]`, particles at each of L independent locations; float32 or bfloat16.
      positives: `[L, P, C]`, real features.
      negatives: `[L, Q, C]`, repelling features beside the generated particles themselves.
      negative_weights: `[L, Q]` or broadcastable to it; one where not given.
      temperatures: kernel widths in units of the distance scale, all used and added up.
      field: a name in `FIELDS`, or a function like those in it.
      axis_name: the mapped axis whose devices share the global batch. Each device holds its own share of `generated`,
        `positives` and `negatives`, equally many, and drifts its own particles in the field of all: mean loss and mean
        gradient over devices are those of one device that holds everything. What is replicated counts once a device.
      options: see `DriftingOptions`.
      problems: how many consecutive locations make a problem of their own, for G of them that are computed side by
        side: distance scale and forces are those of each problem, and statistics are `[G]`. None: all L are one.

    Returns:
      The loss of each location, float32 `[L]`, the mean over this device's particles; and statistics, scalars without
      gradient, the same on all devices: `distance_scale`, the divisor of distances; `spread`, the standard deviation
      across particles in the features' own units, averaged over features and locations; for each temperature τ
      `force_τ`, the mean of squares of the force over particles, features and locations before normalisation, and
      `neighbours_τ`, the effective number of real targets a particle feels, (Σ a)² / Σ a² over its attractions,
      averaged over particles and locations.

    Raises:
      ValueError: if shapes disagree, a name is not known, a temperature is not positive, or nothing repels.
    """
    field = field_named(field)
    check(generated, positives, negatives, negative_weights, temperatures, options, axis_name)
    parts = Problems.of(problems, len(generated))
    x = generated.astype(jnp.float32)
    own = options.self_exclusion == "mask"
    centre, *targets = collect_targets(x, positives, negatives, negative_weights, own, axis_name)
    points = jax.lax.stop_gradient(x) - centre
    locations, queries, features = points.shape
    size = block_size(queries, locations * sum(part.points.shape[1] for part in targets))
    blocks = Blocks.of(points, first_query(queries, axis_name), size)

    if isinstance(options.distance_scale, str):
        scale = mean_distance(blocks, queries, targets, parts, axis_name)
    else:
        scale = jax.lax.stop_gradient(jnp.full(len(parts.sizes), options.distance_scale, jnp.float32))
    location_scale = parts.at_locations(scale)
    unit = jnp.maximum(location_scale / features**0.5, SMALLEST_SCALE)

    def sides(block):
        by_row = isinstance(options.distance_scale, str) and options.distance_scale == "row"
        return _scaled_sides(block, targets, None if by_row else location_scale, options.affinity_floor)

    drift, stats = 0.0, {"distance_scale": scale, "spread": spread(points, parts, axis_name)}
    for i, temperature in enumerate(temperatures):
        judge = _coefficients(field, temperature, blocks, sides, targets, options.bias_correction, axis_name)

        def of_block(block, judge=judge):
            attraction, repulsion = judge(block)
            return _net_force(attraction, repulsion, block.points, *targets) / unit, _effective_number(attraction)

        force, neighbours = map_queries(of_block, blocks, queries)
        square = mean_over_devices(parts.mean(force**2), axis_name)
        magnitude = parts.at_locations(jnp.sqrt(jnp.maximum(square, SMALLEST_FORCE)))
        drift += force / magnitude if options.normalise_force else force
        name = f"{temperature:g}" if isinstance(temperature, numbers.Real) else str(i)
        stats |= {f"force_{name}": square, f"neighbours_{name}": mean_over_devices(parts.mean(neighbours), axis_name)}

    # The difference of a number from itself: nought with a slope. Subtracting x + V from x would cost digits.
    position = x / unit
    residual = position - jax.lax.stop_gradient(position) - jax.lax.stop_gradient(drift)
    squares = (residual**2).mean(-1) if options.features == "mean" else (residual**2).sum(-1)
    if problems is None:
        stats = {name: value[0] for name, value in stats.items()}
    return squares.mean(-1), jax.lax.stop_gradient(stats)


def _scaled_sides(
    block: Blocks, targets: Sequence[Targets], scale: jax.Array | None, floor: float | None
) -> list[Side]:
    """Both sides as a block of queries sees them, distances in units of `scale`; of each query's own mean if None."""
    sides = [side_of(block.points, block.rows, part) for part in targets]
    if scale is None:
        weight = sum(side.weights.sum(-1) for side in sides)
        scale = jnp.maximum(row_sums(*sides) / weight, SMALLEST_SCALE)[:, :, None]
    return [
        side._replace(distances=side.distances / scale + SELF_DISTANCE * side.itself, floor=floor) for side in sides
    ]


def _coefficients(field, temperature, blocks, sides, targets, bias_correction, axis_name) -> Callable:
    """A function of a block: attraction and repulsion of its queries. What needs all queries has been gone through."""
    columns = [None, None]
    if isinstance(field, TwoPassField):
        for i, part in enumerate(targets):

            def over_queries(logits, i=i):
                return logsumexp_over_queries(lambda block: logits(sides(block)[i]), blocks, axis_name)

            columns[i] = field.columns(over_queries, part.weights, temperature)

    def judge(block):
        filled = (side._replace(columns=column) for side, column in zip(sides(block), columns, strict=True))
        coefficients = field(*filled, temperature)
        return map(_bias_corrected, coefficients) if bias_correction else coefficients

    return judge


def _net_force(attraction, repulsion, points, real, repelling):
    """`Σ a (y⁺ - x) - Σ r (y⁻ - x)`, in the features' own units."""
    pull = jnp.einsum("lnm,lmc->lnc", attraction, real.points, precision="highest")
    push = jnp.einsum("lnm,lmc->lnc", repulsion, repelling.points, precision="highest")
    balance = attraction.sum(-1, keepdims=True) - repulsion.sum(-1, keepdims=True)
    return pull - push - balance * points


def _bias_corrected(coefficients):
    """`c_j (1 + w̃_j - Σ w̃²)` for `w̃ = c / Σc`, which makes `μ + Σ w̃² (y - μ)` of the mean μ."""
    share = coefficients / jnp.maximum(coefficients.sum(-1, keepdims=True), jnp.finfo(jnp.float32).tiny)
    return coefficients * (1 + share - (share**2).sum(-1, keepdims=True))


def _effective_number(coefficients):
    """`(Σ c)² / Σ c²` of each query, `[L, N]`; nought where it feels nothing."""
    share = coefficients / jnp.maximum(coefficients.max(-1, keepdims=True), jnp.finfo(jnp.float32).tiny)
    return share.sum(-1) ** 2 / jnp.maximum((share**2).sum(-1), 0.5)
