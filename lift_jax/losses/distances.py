"""Pairwise distances for drifting losses: queries against targets, in blocks of queries, over all devices.

Queries are the generated particles of this device. Targets are the real and the generated particles of all devices.
"""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.nn import logsumexp

from lift_jax.losses.fields import Pairs

BLOCK_DISTANCES = 2**24
"""Most distances in memory (64 MiB in float32). Where `L N (N + Q + P)` is more, queries are taken in blocks."""

SMALLEST_SQUARE = 1e-8
"""Least squared distance (the authors' code of arXiv 2602.04770)."""


class Targets(NamedTuple):
    """Particles of one kind, of all devices.

    Attributes:
      points: `[L, M, C]` float32.
      weights: `[L, 1, M]` float32.
      rows: `[M]` int32, the index of the query that a target is; -1 where it is none.
    """

    points: jax.Array
    weights: jax.Array
    rows: jax.Array


class Blocks(NamedTuple):
    """Queries of this device in equal blocks. The last one is padded.

    Attributes:
      points: `[K, L, B, C]`.
      rows: `[K, B]`, indices of the queries among those of all devices.
      valid: `[K, B]`, false in the padding.
    """

    points: jax.Array
    rows: jax.Array
    valid: jax.Array


def gather(x: jax.Array, axis_name: str | None, axis: int = 1) -> jax.Array:
    """The shares of all devices, concatenated along `axis`; without gradient."""
    x = jax.lax.stop_gradient(x)
    return x if axis_name is None else jax.lax.all_gather(x, axis_name, axis=axis, tiled=True)


def mean_over_devices(x: jax.Array, axis_name: str | None) -> jax.Array:
    """The mean of the devices' values."""
    return x if axis_name is None else jax.lax.pmean(x, axis_name)


def collect_targets(
    generated: jax.Array,
    positives: jax.Array,
    negatives: jax.Array | None,
    negative_weights: jax.Array | None,
    axis_name: str | None,
) -> tuple[jax.Array, Targets, Targets]:
    """The mean of all targets `[L, 1, C]`, and the real and the repelling targets, centered on it.

    The repelling targets are the generated particles of all devices, then the negatives of all devices.
    """
    points = gather(generated, axis_name)
    weights, count = jnp.ones_like(points[:, None, :, 0]), points.shape[1]
    if negatives is not None:
        given = 1.0 if negative_weights is None else negative_weights
        given = jnp.broadcast_to(jnp.asarray(given, jnp.float32), negatives.shape[:2])
        points = jnp.concatenate([points, gather(negatives.astype(jnp.float32), axis_name)], axis=1)
        weights = jnp.concatenate([weights, gather(given[:, None], axis_name, axis=2)], axis=2)
    real = gather(positives.astype(jnp.float32), axis_name)
    center = jnp.concatenate([points, real], axis=1).mean(axis=1, keepdims=True)
    index = jnp.arange(points.shape[1])
    repelling = Targets(points - center, weights, jnp.where(index < count, index, -1))
    return center, Targets(real - center, jnp.ones_like(real[:, None, :, 0]), jnp.full(real.shape[1], -1)), repelling


def pairs_of(points: jax.Array, rows: jax.Array, targets: Targets) -> Pairs:
    """Unscaled distances of queries `[L, N, C]`, with indices `rows [N]`, from targets.

    Computed as ‖x‖² + ‖t‖² - 2 x·t, which is accurate only for coordinates centered on their mean.
    """
    square = (points**2).sum(-1)[:, :, None] + (targets.points**2).sum(-1)[:, None, :]
    square = square - 2 * jnp.einsum("lnc,lmc->lnm", points, targets.points, precision="highest")
    is_self = rows[None, :, None] == targets.rows[None, None, :]
    # Rounding would leave a particle at some distance from itself.
    square = jnp.maximum(jnp.where(is_self, 0, square), SMALLEST_SQUARE)
    return Pairs(jnp.sqrt(square), targets.weights, is_self)


def split_into_blocks(points: jax.Array, targets_per_query: int, axis_name: str | None) -> Blocks:
    """Queries `[L, N, C]` in one block if all their distances fit into `BLOCK_DISTANCES`, else in equal shares."""
    locations, queries, features = points.shape
    size = block_size(queries, locations * targets_per_query)
    count = -(-queries // size)
    first = 0 if axis_name is None else jax.lax.axis_index(axis_name) * queries
    padded = jnp.pad(points, ((0, 0), (0, count * size - queries), (0, 0)))
    index = jnp.arange(count * size).reshape(count, size)
    points = jnp.moveaxis(padded.reshape(locations, count, size, features), 1, 0)
    return Blocks(points, index + first, index < queries)


def block_size(queries: int, distances_per_query: int) -> int:
    """Queries in a block: all of them if their distances fit into `BLOCK_DISTANCES`, else equal shares that do."""
    most = max(1, BLOCK_DISTANCES // distances_per_query)
    return queries if queries <= most else -(-queries // -(-queries // most))


def map_blocks(function: Callable, blocks: Blocks, queries: int):
    """What `function(block)` returns for the queries of a block (axis 1 of its arrays), for all of this device."""
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
