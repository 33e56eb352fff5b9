"""What a drifting field is given of its targets, and what it gives back."""

import dataclasses
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp


class Side(NamedTuple):
    """The targets of one kind, real or generated, as a block of queries sees them.

    Attributes:
      distances: `[L, N, M]`, divided by the distance scale; 100 more where the target is the query itself.
      weights: `[L, 1, M]`, of the targets.
      itself: `[1, N, M]`, true where the target is the query itself; always false among real targets.
      floor: least squared affinity, or None for the field's own.
      columns: `[L, 1, M]`, what a `TwoPassField` knows of each target from all queries; None for other fields.
    """

    distances: jax.Array
    weights: jax.Array
    itself: jax.Array
    floor: float | None = None
    columns: jax.Array | None = None


Coefficients = tuple[jax.Array, jax.Array]
"""Attraction `[L, N, P]` by each real target, and repulsion `[L, N, Q]` by each generated one."""

Field = Callable[[Side, Side, float], Coefficients]
"""`(real, generated, temperature) -> (attraction, repulsion)`."""

OverQueries = Callable[[Callable[[Side], jax.Array]], jax.Array]
"""`over_queries(logits)`: log Σ exp logits(side) over the queries of all blocks and devices, `[L, 1, M]`."""


@dataclasses.dataclass(frozen=True)
class TwoPassField:
    """A field that needs something of each target from all queries before it can judge any one of them.

    Attributes:
      coefficients: the field; finds `columns` filled in.
      columns: `(over_queries, weights, temperature) -> [L, 1, M]`, for each side alone.
    """

    coefficients: Field
    columns: Callable[[OverQueries, jax.Array, float], jax.Array]

    def __call__(self, real: Side, generated: Side, temperature: float) -> Coefficients:
        """The coefficients."""
        return self.coefficients(real, generated, temperature)


def affinities(log_affinity: jax.Array, side: Side, floor: float = 0.0) -> jax.Array:
    """`max(affinity, √floor) w`, `[L, N, M]`; the side's floor, where it has one, overrides the field's."""
    floor = floor if side.floor is None else side.floor
    if floor > 0:
        log_affinity = jnp.maximum(log_affinity, jnp.log(floor) / 2)
    return jnp.exp(log_affinity) * side.weights


def log_weights(side: Side) -> jax.Array:
    """Logarithms of the targets' weights, `[L, 1, M]`; of nought, that of the least number."""
    return jnp.log(jnp.maximum(side.weights, jnp.finfo(jnp.float32).tiny))


def total_weight(side: Side) -> jax.Array:
    """Sum of the targets' weights, the query itself left out, `[L, N, 1]`."""
    total = (side.weights * ~side.itself).sum(-1, keepdims=True)
    return jnp.maximum(total, jnp.finfo(jnp.float32).tiny)
