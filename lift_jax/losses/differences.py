"""Losses of how a predicted window changes from slice to slice, against how the true one does.

All take `prediction` and `target`, `[B, D, H, W]` float32, and `weights`, `[B, D, H, W]` or None, and return one number
a window, `[B]`. A difference's weight is the smallest of the voxels' it is taken of. A window too short for a
difference has none, and no loss.
"""

import functools
from collections.abc import Sequence

import jax
import jax.numpy as jnp

GAPS = (1, 2, 4)
"""Slices between those that `multi_gap_loss` compares."""


def first_difference_loss(
    prediction: jax.Array, target: jax.Array, weights: jax.Array | None = None, *, gap: int = 1
) -> jax.Array:
    """Mean absolute difference of the z-differences of slices `gap` apart (LiFT, arXiv 2605.19060), `[B]`."""
    return _change_of(prediction - target, weights, axis=1, gap=gap)


def second_difference_loss(prediction: jax.Array, target: jax.Array, weights: jax.Array | None = None) -> jax.Array:
    """Mean absolute difference of `x[k + 1] - 2 x[k] + x[k - 1]`, `[B]`: blind to what changes steadily along z."""
    error = prediction - target
    if error.shape[1] < 3:
        return jnp.zeros_like(error[:, 0, 0, 0])
    if weights is not None:
        weights = functools.reduce(jnp.minimum, (weights[:, 2:], weights[:, 1:-1], weights[:, :-2]))
    return _weighted_mean(jnp.abs(error[:, 2:] - 2 * error[:, 1:-1] + error[:, :-2]), weights)


def multi_gap_loss(
    prediction: jax.Array, target: jax.Array, weights: jax.Array | None = None, *, gaps: Sequence[int] = GAPS
) -> jax.Array:
    """Mean of `first_difference_loss` over gaps of 1, 2 and 4 slices, those that fit in the window, `[B]`."""
    fitting = [gap for gap in gaps if gap < prediction.shape[1]]
    losses = [first_difference_loss(prediction, target, weights, gap=gap) for gap in fitting]
    return sum(losses) / len(fitting) if fitting else jnp.zeros_like(prediction[:, 0, 0, 0])


def gradient_loss(prediction: jax.Array, target: jax.Array, weights: jax.Array | None = None) -> jax.Array:
    """Mean over z, y and x of the mean absolute difference of neighbours' differences, `[B]`: edges of all planes."""
    error = prediction - target
    return sum(_change_of(error, weights, axis=axis, gap=1) for axis in (1, 2, 3)) / 3


def _change_of(error, weights, axis, gap):
    """Mean absolute difference of voxels `gap` apart along an axis."""
    length = error.shape[axis]
    if length <= gap:
        return jnp.zeros_like(error[:, 0, 0, 0])

    def ends(x):
        return jax.lax.slice_in_dim(x, gap, length, axis=axis), jax.lax.slice_in_dim(x, 0, length - gap, axis=axis)

    after, before = ends(error)
    return _weighted_mean(jnp.abs(after - before), None if weights is None else jnp.minimum(*ends(weights)))


def _weighted_mean(values, weights):
    return (values if weights is None else values * weights).mean(axis=(1, 2, 3))
