"""Drifting fields: how strongly each target pulls or pushes each query.

A field is a function `(real, generated, temperature) -> (attraction, repulsion)`. A query is a generated particle `x`;
its targets are real particles `y⁺` and generated ones `y⁻`, each kind described by a `Side`. The coefficients that come
back are not negative, `[L, N, P]` and `[L, N, Q]`, and the field's force on a query is

    F(x) = Σ_j attraction_j (y⁺_j - x) - Σ_j repulsion_j (y⁻_j - x).

Distances are root mean square differences over features in units of the distance scale, so that a temperature means the
same whatever the features.
"""

import dataclasses
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.nn import logsumexp

SOFTMAX_FLOOR = 1e-6
"""Least product of the two softmaxes, before its root is taken (the authors' code of arXiv 2602.04770)."""


class Side(NamedTuple):
    """The targets of one kind, as a block of queries sees them.

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
Field = Callable[[Side, Side, float], Coefficients]
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


def product_coefficients(real: jax.Array, generated: jax.Array) -> Coefficients:
    """Affinities of each side, `[L, N, P]` and `[L, N, Q]`, times the sum of the other: no force where either is nought."""
    return real * generated.sum(-1, keepdims=True), generated * real.sum(-1, keepdims=True)


def softmax(real: Side, generated: Side, temperature: float) -> Coefficients:
    """The published field: `A = sqrt(softmax_j(-d/τ) softmax_i(-d/τ)) w` over targets j and queries i, product weights.

    Deng et al., "Generative Modeling via Drifting", arXiv 2602.04770. Known failure: below the floor all targets pull
    alike, so that particles far from everything feel little but the difference of the two means.
    """
    rows = jnp.logaddexp(_row_logsumexp(real, temperature), _row_logsumexp(generated, temperature))

    def affinities(side):
        floor = SOFTMAX_FLOOR if side.floor is None else side.floor
        log_product = -2 * side.distances / temperature - rows - side.columns
        return jnp.exp(jnp.maximum(log_product, jnp.log(floor)) / 2) * side.weights

    return product_coefficients(affinities(real), affinities(generated))


def softmax_columns(over_queries: OverQueries, weights: jax.Array, temperature: float) -> jax.Array:
    """The log of the denominators of the softmax over queries, `[L, 1, M]`."""
    return over_queries(lambda side: -side.distances / temperature)


def _row_logsumexp(side, temperature):
    return logsumexp(-side.distances / temperature, axis=-1, keepdims=True)


FIELDS: dict[str, Field] = {
    "softmax": TwoPassField(softmax, softmax_columns),
}
"""Fields by name."""
