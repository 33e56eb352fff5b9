"""The drifting loss: generated features move towards real ones and away from each other.

Deng, Li, Li, Du, He, "Generative Modeling via Drifting", arXiv 2602.04770.
"""

import dataclasses
from collections.abc import Hashable, Mapping, Sequence

import jax
import jax.numpy as jnp
import numpy as np

from lift_jax.losses.distances import (
    Blocks,
    Targets,
    collect_targets,
    logsumexp_over_queries,
    map_blocks,
    mean_over_devices,
    pairs_of,
    split_into_blocks,
)
from lift_jax.losses.fields import FIELDS, Field, Pairs, TwoPassField

TEMPERATURES = (0.02, 0.05, 0.2)
"""Of the published loss, in units of the distance scale."""

SMALLEST_SCALE = 1e-3
"""Least divisor of distances and of coordinates (the authors' code)."""

SMALLEST_FIELD = 1e-8
"""Least mean square that a field is normalized by (the authors' code)."""

SELF_DISTANCE = 100.0
"""Added to a particle's distance from itself, in units of the distance scale (the authors' code)."""

Statistics = dict[str, jax.Array]
"""Scalars without gradient, to log."""


def drifting_loss(
    generated: jax.Array,
    positives: jax.Array,
    negatives: jax.Array | None = None,
    *,
    negative_weights: jax.Array | None = None,
    temperatures: Sequence[float] = TEMPERATURES,
    field: str | Field = "softmax",
    axis_name: str | None = None,
) -> tuple[jax.Array, Statistics]:
    """The drifting loss of each location: `mean ‖x - stop_gradient(x + V(x))‖²`.

    V is the sum over temperatures of a drifting field, normalized to a mean square of one at each. Only `generated`
    gets a gradient, -2 V / (N C) in scaled coordinates. Everything is computed in float32.

    Args:
      generated: `[L, N, C]`, particles at each of L independent locations; float32 or bfloat16.
      positives: `[L, P, C]`, real features.
      negatives: `[L, Q, C]`, features that repel in addition to the generated particles.
      negative_weights: `[L, Q]` or broadcastable to it; default one each.
      temperatures: kernel widths in units of the distance scale.
      field: a name in `FIELDS`, or a function like those in it.
      axis_name: the mapped axis whose devices share the global batch. Each device holds an equal share of `generated`,
        `positives` and `negatives`. The mean over devices of losses and gradients is that of one device that holds
        everything.

    Returns:
      The loss of each location, float32 `[L]`, the mean over this device's particles; and statistics, the same on all
      devices: `distance_scale`, the divisor of distances; `particle_std`, the standard deviation across particles in
      the features' units, averaged over features and locations; and for each temperature τ `field_square_τ`, the mean
      square of the field before normalization, and `effective_neighbors_τ`, the effective number of real targets that
      attract a particle, (Σ a)² / Σ a² over its attractions.

    Raises:
      ValueError: if shapes disagree, the field is unknown, a temperature is not positive, or nothing repels.
    """
    _check(generated, positives, negatives, negative_weights, temperatures, axis_name)
    groups = Groups((len(generated),))
    arrays = (generated, positives, negatives, negative_weights)
    loss, stats = _grouped_loss(*arrays, groups, tuple(temperatures), field_named(field), axis_name)
    return loss, {name: value[0] for name, value in stats.items()}


def drifting_losses(
    particles: Mapping[Hashable, tuple[jax.Array, jax.Array]],
    *,
    temperatures: Sequence[float] = TEMPERATURES,
    field: str | Field = "softmax",
    axis_name: str | None = None,
) -> tuple[dict[Hashable, jax.Array], dict[Hashable, Statistics]]:
    """`drifting_loss` of many feature tensors; those that differ only in L are computed as one, which compiles faster.

    Args:
      particles: name to generated `[L, N, C]` and real `[L, P, C]` particles.
      temperatures, field, axis_name: see `drifting_loss`.

    Returns:
      By name, the mean loss over locations, a scalar, and the statistics.
    """
    shapes: dict[tuple, list[Hashable]] = {}
    for name, (generated, real) in particles.items():
        _check(generated, real, None, None, temperatures, axis_name)
        shapes.setdefault((generated.shape[1:], real.shape[1:], generated.dtype), []).append(name)
    losses, stats = {}, {}
    for names in shapes.values():
        generated, real = (jnp.concatenate(arrays) for arrays in zip(*map(particles.get, names), strict=True))
        groups = Groups(tuple(len(particles[name][0]) for name in names))
        loss, statistics = _grouped_loss(
            generated, real, None, None, groups, tuple(temperatures), field_named(field), axis_name
        )
        for i, (name, own) in enumerate(zip(names, jnp.split(loss, np.cumsum(groups.sizes)[:-1]), strict=True)):
            losses[name] = own.mean()
            stats[name] = {key: value[i] for key, value in statistics.items()}
    return losses, stats


def mean_statistics(stats: Sequence[Statistics]) -> Statistics:
    """The mean of each statistic over feature tensors."""
    return {key: sum((each[key] for each in stats), start=jnp.zeros(())) / len(stats) for key in stats[0]}


def field_named(field: str | Field) -> Field:
    """A field by its name in `FIELDS`; a function is returned as it is."""
    if callable(field):
        return field
    if field not in FIELDS:
        raise ValueError(f"no drifting field {field!r}; there are {', '.join(FIELDS)}")
    return FIELDS[field]


@dataclasses.dataclass(frozen=True)
class Groups:
    """Consecutive locations that share a distance scale and normalization, as those of one feature tensor do.

    Attributes:
      sizes: locations of each of the G groups; L in all.
    """

    sizes: tuple[int, ...]

    def mean(self, x: jax.Array) -> jax.Array:
        """The mean over each group's locations and all further axes, `[L, ...]` to `[G]`."""
        if len(self.sizes) == 1:
            return x.mean()[None]
        rows = x.reshape(len(x), -1).mean(1)
        # A product, not a sum by segments: accelerators add up those in any order.
        share = np.repeat(np.eye(len(self.sizes), dtype=np.float32), self.sizes, axis=1)
        return jnp.dot(share / np.asarray(self.sizes, np.float32)[:, None], rows, precision="highest")

    def at_locations(self, values: jax.Array) -> jax.Array:
        """One value a group to one a location, `[G]` to `[L, 1, 1]`."""
        return values[np.repeat(np.arange(len(self.sizes)), self.sizes)][:, None, None]


def _grouped_loss(generated, positives, negatives, negative_weights, groups, temperatures, field, axis_name):
    """The loss of each location `[L]` and statistics of each group `[G]`."""
    x = generated.astype(jnp.float32)
    center, *targets = collect_targets(x, positives, negatives, negative_weights, axis_name)
    points = jax.lax.stop_gradient(x) - center
    queries, features = points.shape[1:]
    blocks = split_into_blocks(points, sum(part.points.shape[1] for part in targets), axis_name)
    scale = _distance_scale(blocks, queries, targets, groups, axis_name)
    location_scale = groups.at_locations(scale)
    unit = jnp.maximum(location_scale / features**0.5, SMALLEST_SCALE)

    def scaled_pairs(block: Blocks) -> list[Pairs]:
        both = (pairs_of(block.points, block.rows, part) for part in targets)
        return [p._replace(distances=p.distances / location_scale + SELF_DISTANCE * p.is_self) for p in both]

    field_sum = jnp.zeros(())
    stats = {"distance_scale": scale, "particle_std": _particle_std(points, groups, axis_name)}
    for temperature in temperatures:
        columns = _columns(field, temperature, blocks, scaled_pairs, targets, axis_name)

        def of_block(block, temperature=temperature, columns=columns):
            pairs = (p._replace(columns=c) for p, c in zip(scaled_pairs(block), columns, strict=True))
            attraction, repulsion = field(*pairs, temperature)
            return _field_values(attraction, repulsion, block.points, *targets) / unit, _effective_number(attraction)

        values, neighbors = map_blocks(of_block, blocks, queries)
        square = mean_over_devices(groups.mean(values**2), axis_name)
        field_sum += values / groups.at_locations(jnp.sqrt(jnp.maximum(square, SMALLEST_FIELD)))
        stats[f"field_square_{temperature:g}"] = square
        stats[f"effective_neighbors_{temperature:g}"] = mean_over_devices(groups.mean(neighbors), axis_name)

    # The difference of a number from itself: zero with a slope. Subtracting x + V from x would cost digits.
    position = x / unit
    residual = position - jax.lax.stop_gradient(position) - jax.lax.stop_gradient(field_sum)
    return (residual**2).mean(-1).mean(-1), jax.lax.stop_gradient(stats)


def _distance_scale(
    blocks: Blocks, queries: int, targets: Sequence[Targets], groups: Groups, axis_name: str | None
) -> jax.Array:
    """The weighted mean distance of queries from targets, over a group and all devices; at least 1e-3: `[G]`."""

    def weighted_sums(block):
        both = [pairs_of(block.points, block.rows, part) for part in targets]
        return sum((pairs.distances * pairs.weights).sum(-1) for pairs in both)

    total = mean_over_devices(groups.mean(map_blocks(weighted_sums, blocks, queries)), axis_name)
    weight = mean_over_devices(
        sum((groups.mean(part.weights.sum(-1)) for part in targets), start=jnp.zeros(())), axis_name
    )
    return jnp.maximum(total / weight, SMALLEST_SCALE)


def _particle_std(points: jax.Array, groups: Groups, axis_name: str | None) -> jax.Array:
    """Standard deviation across the particles of all devices, averaged over features and locations: `[G]`."""
    mean = mean_over_devices(points.mean(axis=1, keepdims=True), axis_name)
    return groups.mean(jnp.sqrt(mean_over_devices(((points - mean) ** 2).mean(axis=1), axis_name)))


def _columns(field, temperature, blocks, scaled_pairs, targets, axis_name) -> list[jax.Array | None]:
    """`Pairs.columns` of real and of repelling targets for a `TwoPassField`; None for other fields."""
    if not isinstance(field, TwoPassField):
        return [None, None]

    def columns(i):
        def over_queries(logits):
            return logsumexp_over_queries(lambda block: logits(scaled_pairs(block)[i]), blocks, axis_name)

        return field.columns(over_queries, targets[i].weights, temperature)

    return [columns(0), columns(1)]


def _field_values(attraction, repulsion, points, real, repelling):
    """`Σ a (y⁺ - x) - Σ r (y⁻ - x)`, in the features' units."""
    pull = jnp.einsum("lnm,lmc->lnc", attraction, real.points, precision="highest")
    push = jnp.einsum("lnm,lmc->lnc", repulsion, repelling.points, precision="highest")
    balance = attraction.sum(-1, keepdims=True) - repulsion.sum(-1, keepdims=True)
    return pull - push - balance * points


def _effective_number(coefficients):
    """`(Σ c)² / Σ c²` of each query, `[L, N]`; zero where all coefficients are."""
    share = coefficients / jnp.maximum(coefficients.max(-1, keepdims=True), jnp.finfo(jnp.float32).tiny)
    return share.sum(-1) ** 2 / jnp.maximum((share**2).sum(-1), 0.5)


def _check(generated, positives, negatives, negative_weights, temperatures, axis_name) -> None:
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
    if len(temperatures) == 0 or any(temperature <= 0 for temperature in temperatures):
        raise ValueError(f"temperatures must be positive numbers, at least one, not {tuple(temperatures)}")
    particles = generated.shape[1] * (1 if axis_name is None else jax.lax.axis_size(axis_name))
    if negatives is None and particles < 2:
        raise ValueError(
            "drifting_loss needs at least 2 generated particles in all, or negatives: one has none to repel it"
        )
