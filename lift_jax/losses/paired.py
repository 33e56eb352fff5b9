"""Losses between a predicted window of slices and the true one.

All take `prediction` and `target`, `[B, D, H, W]` float32 in network intensities [-1, 1], and return one number a
window, `[B]`: the caller reduces over the batch, so that the global batch is a plain mean over devices.
"""

from collections.abc import Mapping

import jax
import jax.numpy as jnp

from lift_jax.losses.similarity import ms_ssim_loss


def l1_loss(prediction: jax.Array, target: jax.Array, weights: jax.Array | None = None) -> jax.Array:
    """Mean absolute difference, `[B]`.

    Args:
      prediction, target: `[B, D, H, W]`.
      weights: `[B, D, H, W]`, multiply each voxel's difference before the mean. They are not normalised by their sum,
        which would couple the windows of a batch.
    """
    error = jnp.abs(prediction - target)
    return (error if weights is None else error * weights).mean(axis=(1, 2, 3))


def first_difference_loss(prediction: jax.Array, target: jax.Array) -> jax.Array:
    """Mean absolute difference of the z-differences of adjacent slices (LiFT, arXiv 2605.19060), `[B]`.

    A window of one slice has no such difference, and no loss.
    """
    error = prediction - target
    if error.shape[1] < 2:
        return jnp.zeros_like(error[:, 0, 0, 0])
    return jnp.abs(error[:, 1:] - error[:, :-1]).mean(axis=(1, 2, 3))


def paired_terms(
    prediction: jax.Array, target: jax.Array, loss: Mapping[str, float], *, pixel_weights: jax.Array | None = None
) -> dict[str, jax.Array]:
    """The mean over the batch of each term that has a weight above 0; the others are not computed.

    Args:
      prediction, target: `[B, D, H, W]`.
      loss: weights of the terms `pixel` (L1), `similarity` (1 - MS-SSIM of each slice) and `through_plane` (L1 of first
        differences along z).
      pixel_weights: `[B, D, H, W]`, of voxels in the pixel term; None is one each.
    """
    terms = {}
    if loss["pixel"] > 0:
        terms["pixel"] = l1_loss(prediction, target, pixel_weights)
    if loss["similarity"] > 0:
        terms["similarity"] = ms_ssim_loss(prediction, target)
    if loss["through_plane"] > 0:
        terms["through_plane"] = first_difference_loss(prediction, target)
    return {name: term.mean() for name, term in terms.items()}
