"""Targets of drifting particles: real and generated features of all devices."""

from typing import NamedTuple

import jax
import jax.numpy as jnp

from lift_jax.losses.problems import Problems


class Targets(NamedTuple):
    """Particles of one kind, of all devices.

    Attributes:
      points: `[L, M, C]` float32.
      weights: `[L, 1, M]` float32.
      rows: `[M]` int32, the number of the query that a target is, -1 where it is none.
    """

    points: jax.Array
    weights: jax.Array
    rows: jax.Array


def gather(x: jax.Array, axis_name: str | None, axis: int = 1) -> jax.Array:
    """The shares of all devices, one after the other along `axis`; without gradient."""
    x = jax.lax.stop_gradient(x)
    return x if axis_name is None else jax.lax.all_gather(x, axis_name, axis=axis, tiled=True)


def mean_over_devices(x: jax.Array, axis_name: str | None) -> jax.Array:
    """The mean of the devices' values."""
    return x if axis_name is None else jax.lax.pmean(x, axis_name)


def first_query(queries: int, axis_name: str | None) -> jax.Array | int:
    """The number of this device's first query among those of all devices."""
    return 0 if axis_name is None else jax.lax.axis_index(axis_name) * queries


def collect_targets(
    x: jax.Array,
    positives: jax.Array,
    negatives: jax.Array | None,
    negative_weights: jax.Array | None,
    own: bool,
    axis_name: str | None,
) -> tuple[jax.Array, Targets, Targets]:
    """The targets' mean `[L, 1, C]`, and real and repelling targets of all devices, centred on it.

    `own`: the queries `x` `[L, N, C]` are among those that repel; their numbers are their places over all devices.
    """
    points, weights = [], []
    if own:
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


def spread(points: jax.Array, problems: Problems, axis_name: str | None) -> jax.Array:
    """Standard deviation across the particles of all devices, averaged over features and locations: `[G]`."""
    mean = mean_over_devices(points.mean(axis=1, keepdims=True), axis_name)
    return problems.mean(jnp.sqrt(mean_over_devices(((points - mean) ** 2).mean(axis=1), axis_name)))
