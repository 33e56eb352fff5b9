"""The drifting loss: generated features move towards real ones and away from each other.

Deng, Li, Li, Du, He, "Generative Modeling via Drifting", arXiv 2602.04770.
"""

import dataclasses
from collections.abc import Sequence

import jax
import jax.numpy as jnp

from lift_jax.losses.fields import FIELDS, Field, TwoPassField
from lift_jax.losses.pairs import (
    SELF_DISTANCE,
    Blocks,
    Targets,
    block_size,
    first_query,
    gather,
    logsumexp_over_queries,
    map_queries,
    mean_over_devices,
    side_of,
)

TEMPERATURES = (0.02, 0.05, 0.2)
"""Of the published loss, in units of the distance scale."""

SMALLEST_SCALE = 1e-3
"""Least divisor of distances and of coordinates (the authors' code)."""

SMALLEST_FORCE = 1e-8
"""Least mean square that a force is normalised by (the authors' code)."""


@dataclasses.dataclass(frozen=True)
class DriftingOptions:
    """Switches that apply to any field; the defaults are the published loss.

    Attributes:
      self_exclusion: `mask`: generated particles repel each other, each masked from itself. `independent`: only the
        given negatives repel, which must then be another batch of generated samples.
      affinity_floor: least squared affinity, relative to a query's sum; None for each field's own.
      distance_scale: `batch`: distances are divided by their weighted mean over all pairs; `row`: by each query's own;
        a number: by that.
      bias_correction: takes off the leading bias of means weighted by few samples, `μ + Σ w̃² (y - μ)` (arXiv
        2604.27239). Exact to first order for fields that are differences of weighted means.
      normalise_force: divides each temperature's force by its root mean square before they are added.
      features: `mean` or `sum` of squares over features.
    """

    self_exclusion: str = "mask"
    affinity_floor: float | None = None
    distance_scale: str | float | jax.Array = "batch"
    bias_correction: bool = False
    normalise_force: bool = True
    features: str = "mean"


def drifting_loss(
    generated: jax.Array,
    positives: jax.Array,
    negatives: jax.Array | None = None,
    *,
    negative_weights: jax.Array | None = None,
    temperatures: Sequence[float] = TEMPERATURES,
    field: str | Field = "softmax",
    axis_name: str | None = None,
    options: DriftingOptions = DriftingOptions(),
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
    field = _field_named(field)
    _check(generated, positives, negatives, negative_weights, temperatures, options, axis_name)
    x = generated.astype(jnp.float32)
    centre, real, repelling = _targets(x, positives, negatives, negative_weights, options, axis_name)
    points = jax.lax.stop_gradient(x) - centre
    size = block_size(points.shape[1], len(x) * (real.points.shape[1] + repelling.points.shape[1]))
    blocks = Blocks.of(points, first_query(points.shape[1], axis_name), size)

    scale = _distance_scale(blocks, points, real, repelling, options, axis_name)
    unit = jnp.maximum(scale / x.shape[2] ** 0.5, SMALLEST_SCALE)
    drift, stats = 0.0, {"distance_scale": scale, "spread": _spread(points, axis_name)}
    for i, temperature in enumerate(temperatures):
        force, neighbours = _force(
            field, temperature, blocks, points, (real, repelling), scale, unit, options, axis_name
        )
        square = mean_over_devices((force**2).mean(), axis_name)
        drift += force / jnp.sqrt(jnp.maximum(square, SMALLEST_FORCE)) if options.normalise_force else force
        name = _temperature_name(temperature, i)
        stats |= {f"force_{name}": square, f"neighbours_{name}": mean_over_devices(neighbours.mean(), axis_name)}

    # The difference of a number from itself: nought with a slope. Subtracting x + V from x would cost digits.
    position = x / unit
    residual = position - jax.lax.stop_gradient(position) - jax.lax.stop_gradient(drift)
    squares = (residual**2).mean(-1) if options.features == "mean" else (residual**2).sum(-1)
    return squares.mean(-1), jax.lax.stop_gradient(stats)


def guidance_weight(alpha: float, particles: int, negatives: int) -> float:
    """Weight of each of Q unconditional real samples given as negatives, for guidance of strength α ≥ 1.

    `(α - 1)(N - 1) / Q`: together they weigh α - 1 times as much as the N - 1 other particles (arXiv 2602.04770).
    """
    return (alpha - 1) * (particles - 1) / negatives


def annealed_temperatures(temperatures: Sequence[float], step: jax.Array | int, rate: float) -> tuple:
    """Each temperature times `exp(-rate · step)` (arXiv 2603.07514); `step` may be traced."""
    return tuple(temperature * jnp.exp(-rate * step) for temperature in temperatures)


def _targets(x, positives, negatives, negative_weights, options, axis_name):
    """The targets' mean `[L, 1, C]`, and real and repelling targets of all devices, centred on it."""
    points, weights = [], []
    if options.self_exclusion == "mask":
        points.append(gather(x, axis_name))
        weights.append(jnp.ones_like(points[0][:, None, :, 0]))
    itself = sum(part.shape[1] for part in points)
    if negatives is not None:
        given = 1.0 if negative_weights is None else negative_weights
        given = jnp.broadcast_to(jnp.asarray(given, jnp.float32), negatives.shape[:2])
        points.append(gather(negatives.astype(jnp.float32), axis_name))
        weights.append(gather(given[:, None], axis_name, axis=2))
    points, weights = jnp.concatenate(points, axis=1), jnp.concatenate(weights, axis=2)
    real = gather(positives.astype(jnp.float32), axis_name)
    centre = jnp.concatenate([points, real], axis=1).mean(axis=1, keepdims=True)
    number = jnp.arange(points.shape[1])
    repelling = Targets(points - centre, weights, jnp.where(number < itself, number, -1))
    return centre, Targets(real - centre, jnp.ones_like(real[:, None, :, 0]), jnp.full(real.shape[1], -1)), repelling


def _distance_scale(blocks, points, real, repelling, options, axis_name):
    """The mean distance of all pairs of all devices, weighted; or the given number."""
    if not isinstance(options.distance_scale, str):
        return jnp.asarray(options.distance_scale, jnp.float32)

    def of_block(block):
        return _row_sums(*(side_of(block.points, block.rows, targets) for targets in (real, repelling)))

    total = mean_over_devices(map_queries(of_block, blocks, points.shape[1]).mean(), axis_name)
    weight = mean_over_devices(real.weights.sum(-1).mean() + repelling.weights.sum(-1).mean(), axis_name)
    return jnp.maximum(total / weight, SMALLEST_SCALE)


def _row_sums(*sides):
    """Weighted sums of each query's distances, `[L, N]`."""
    return sum((side.distances * side.weights).sum(-1) for side in sides)


def _scaled_sides(block, targets, scale, options):
    """Both sides as a block of queries sees them, in units of the distance scale, a particle's own self far away."""
    sides = [side_of(block.points, block.rows, part) for part in targets]
    if isinstance(options.distance_scale, str) and options.distance_scale == "row":
        weight = sum(side.weights.sum(-1) for side in sides)
        scale = jnp.maximum(_row_sums(*sides) / weight, SMALLEST_SCALE)[:, :, None]
    return [
        side._replace(distances=side.distances / scale + SELF_DISTANCE * side.itself, floor=options.affinity_floor)
        for side in sides
    ]


def _force(field, temperature, blocks, points, targets, scale, unit, options, axis_name):
    """Force on this device's particles in scaled coordinates, `[L, N, C]`, and their effective neighbours, `[L, N]`."""
    columns = [None, None]
    if isinstance(field, TwoPassField):
        for i, part in enumerate(targets):

            def over_queries(logits, i=i):
                def of_block(block):
                    return logits(_scaled_sides(block, targets, scale, options)[i])

                return logsumexp_over_queries(of_block, blocks, axis_name)

            columns[i] = field.columns(over_queries, part.weights, temperature)

    def of_block(block):
        sides = _scaled_sides(block, targets, scale, options)
        sides = [side._replace(columns=column) for side, column in zip(sides, columns, strict=True)]
        attraction, repulsion = field(*sides, temperature)
        if options.bias_correction:
            attraction, repulsion = _bias_corrected(attraction), _bias_corrected(repulsion)
        return _net_force(attraction, repulsion, block, targets) / unit, _effective_number(attraction)

    return map_queries(of_block, blocks, points.shape[1])


def _net_force(attraction, repulsion, block, targets):
    real, repelling = targets
    pull = jnp.einsum("lnm,lmc->lnc", attraction, real.points, precision="highest")
    push = jnp.einsum("lnm,lmc->lnc", repulsion, repelling.points, precision="highest")
    balance = attraction.sum(-1, keepdims=True) - repulsion.sum(-1, keepdims=True)
    return pull - push - balance * block.points


def _bias_corrected(coefficients):
    """`c_j (1 + w̃_j - Σ w̃²)` for `w̃ = c / Σc`, which makes `μ + Σ w̃² (y - μ)` of the mean μ."""
    share = coefficients / jnp.maximum(coefficients.sum(-1, keepdims=True), jnp.finfo(jnp.float32).tiny)
    return coefficients * (1 + share - (share**2).sum(-1, keepdims=True))


def _effective_number(coefficients):
    """`(Σ c)² / Σ c²` of each query, `[L, N]`; nought where it feels nothing."""
    share = coefficients / jnp.maximum(coefficients.max(-1, keepdims=True), jnp.finfo(jnp.float32).tiny)
    return share.sum(-1) ** 2 / jnp.maximum((share**2).sum(-1), 0.5)


def _spread(points, axis_name):
    """Standard deviation across the particles of all devices, averaged over features and locations."""
    mean = mean_over_devices(points.mean(axis=1, keepdims=True), axis_name)
    return jnp.sqrt(mean_over_devices(((points - mean) ** 2).mean(axis=1), axis_name)).mean()


def _temperature_name(temperature, index):
    return f"{temperature:g}" if isinstance(temperature, int | float) else str(index)


def _field_named(field):
    if callable(field):
        return field
    if field not in FIELDS:
        raise ValueError(f"no drifting field {field!r}; there are {', '.join(FIELDS)}")
    return FIELDS[field]


def _check(generated, positives, negatives, negative_weights, temperatures, options, axis_name):
    """Refuses what cannot be meant."""
    named = {"generated": generated, "positives": positives}
    if negatives is not None:
        named["negatives"] = negatives
    shapes = ", ".join(f"{name} {array.shape}" for name, array in named.items())
    locations_and_features = {(array.shape[0], array.shape[-1]) for array in named.values() if array.ndim == 3}
    if any(array.ndim != 3 for array in named.values()) or len(locations_and_features) > 1:
        raise ValueError(f"drifting_loss needs [L, particles, C] with the same L and C, not {shapes}")
    if any(0 in array.shape for array in named.values()):
        raise ValueError(f"drifting_loss needs at least one of everything, not {shapes}")
    if negative_weights is not None and negatives is None:
        raise ValueError("drifting_loss was given negative_weights without negatives")
    if len(temperatures) == 0 or any(isinstance(t, int | float) and t <= 0 for t in temperatures):
        raise ValueError(f"temperatures must be positive numbers, at least one, not {tuple(temperatures)}")
    for name, known in (("self_exclusion", ("mask", "independent")), ("features", ("mean", "sum"))):
        if getattr(options, name) not in known:
            raise ValueError(f"{name} must be one of {', '.join(known)}, not {getattr(options, name)!r}")
    if isinstance(options.distance_scale, str) and options.distance_scale not in ("batch", "row"):
        raise ValueError(f"distance_scale must be batch, row or a number, not {options.distance_scale!r}")
    particles = generated.shape[1] * (1 if axis_name is None else jax.lax.axis_size(axis_name))
    if options.self_exclusion == "independent" and negatives is None:
        raise ValueError("self_exclusion 'independent' needs negatives: another batch of generated samples")
    if negatives is None and particles < 2:
        raise ValueError(
            "drifting_loss needs at least 2 generated particles in all, or negatives: one has none to repel it"
        )
