"""Distances between queries and targets, a block of queries at a time, on one device or as one of many."""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.nn import logsumexp

from lift_jax.losses.problems import Problems
from lift_jax.losses.sides import Side
from lift_jax.losses.targets import Targets, mean_over_devices

BLOCK_DISTANCES = 2**24
"""Most distances held at a time (64 MiB in float32): where `L N (N + Q + P)` is more, queries are taken in blocks."""

SMALLEST_SQUARE = 1e-8
"""Least squared distance (the authors' code of arXiv 2602.04770)."""

SMALLEST_SCALE = 1e-3
"""Least divisor of distances and of coordinates (ibid.)."""


def side_of(points: jax.Array, rows: jax.Array, targets: Targets) -> Side:
    """Unscaled distances of queries `[L, N, C]`, numbered `rows` `[N]`, from targets.

    By ‖x‖² + ‖t‖² - 2 x·t, which is accurate only for coordinates centred on their mean.
    """
    square = (points**2).sum(-1)[:, :, None] + (targets.points**2).sum(-1)[:, None, :]
    square = square - 2 * jnp.einsum("lnc,lmc->lnm", points, targets.points, precision="highest")
    itself = rows[None, :, None] == targets.rows[None, None, :]
    # Rounding would leave a particle at some distance from itself.
    square = jnp.maximum(jnp.where(itself, 0, square), SMALLEST_SQUARE)
    return Side(jnp.sqrt(square), targets.weights, itself)


def block_size(queries: int, distances_per_query: int) -> int:
    """Queries in a block: all of them if their distances fit into `BLOCK_DISTANCES`, else equal shares that do."""
    most = max(1, BLOCK_DISTANCES // distances_per_query)
    return queries if queries <= most else -(-queries // -(-queries // most))


class Blocks(NamedTuple):
    """Queries of this device in equal blocks, the last one padded.

    Attributes:
      points: `[K, L, B, C]`.
      rows: `[K, B]`, numbers of the queries among those of all devices.
      valid: `[K, B]`, false in the padding.
    """

    points: jax.Array
    rows: jax.Array
    valid: jax.Array

    @classmethod
    def of(cls, points: jax.Array, first: jax.Array | int, size: int) -> "Blocks":
        """Blocks of `size` queries, of `[L, N, C]`; the first query has the number `first`."""
        locations, queries, features = points.shape
        count = -(-queries // size)
        padded = jnp.pad(points, ((0, 0), (0, count * size - queries), (0, 0)))
        index = jnp.arange(count * size).reshape(count, size)
        points = jnp.moveaxis(padded.reshape(locations, count, size, features), 1, 0)
        return cls(points, index + first, index < queries)


def map_queries(function: Callable, blocks: Blocks, queries: int):
    """Whatever `function(block)` returns for the queries of a block (axis 1 of its arrays), for all of this device."""
    if len(blocks.rows) == 1:
        return function(jax.tree.map(lambda x: x[0], blocks))

    def joined(x):
        x = jnp.moveaxis(x, 0, 1)
        return x.reshape(x.shape[0], -1, *x.shape[3:])[:, :queries]

    return jax.tree.map(joined, jax.lax.map(function, blocks))


def logsumexp_over_queries(logits: Callable, blocks: Blocks, axis_name: str | None) -> jax.Array:
    """log Σ exp `logits(block)`, `[L, B, M]`, over the queries of all blocks and devices: `[L, 1, M]`."""

    def of_block(block):
        values = jnp.where(block.valid[None, :, None], logits(block), -jnp.inf)
        return logsumexp(values, axis=1, keepdims=True)

    total = of_block(jax.tree.map(lambda x: x[0], blocks))
    if len(blocks.rows) > 1:
        rest = jax.tree.map(lambda x: x[1:], blocks)
        total, _ = jax.lax.scan(lambda total, block: (jnp.logaddexp(total, of_block(block)), None), total, rest)
    if axis_name is None:
        return total
    return logsumexp(jax.lax.all_gather(total, axis_name), axis=0)


def mean_distance(
    blocks: Blocks, queries: int, targets: Sequence[Targets], problems: Problems, axis_name: str | None
) -> jax.Array:
    """The weighted mean distance of queries from targets, over a problem and all devices; at least 1e-3: `[G]`."""

    def of_block(block):
        return row_sums(*(side_of(block.points, block.rows, part) for part in targets))

    total = mean_over_devices(problems.mean(map_queries(of_block, blocks, queries)), axis_name)
    weight = mean_over_devices(sum(problems.mean(part.weights.sum(-1)) for part in targets), axis_name)
    return jnp.maximum(total / weight, SMALLEST_SCALE)


def row_sums(*sides: Side) -> jax.Array:
    """Weighted sums of each query's distances, `[L, N]`."""
    return sum((side.distances * side.weights).sum(-1) for side in sides)
