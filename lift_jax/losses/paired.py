"""Losses between a predicted slab of slices and the true one.

All take `prediction` and `target`, `[B, D, H, W]` float32 in network intensities [-1, 1], and return one number a
slab, `[B]`: the caller reduces over the batch, so that the global batch is a plain mean over devices.
"""

import dataclasses

import jax
import jax.numpy as jnp

from lift_jax.losses.similarity import ms_ssim_loss


@dataclasses.dataclass(frozen=True)
class LossWeights:
    """Weights of the terms of LiFT-C's loss; 0 leaves a term out.

    Attributes:
      pixel: L1.
      structure: L1 once scale and offset are fitted to the target.
      similarity: 1 - MS-SSIM of each slice.
      through_plane: L1 of first differences along z.
      bone: extra weight of voxels of bone in the pixel term, where the target is in HU.
    """

    pixel: float = 1.0
    structure: float = 0.0
    similarity: float = 0.5
    through_plane: float = 0.5
    bone: float = 0.0


def l1_loss(
    prediction: jax.Array,
    target: jax.Array,
    slice_weights: jax.Array | None = None,
    voxel_weights: jax.Array | None = None,
) -> jax.Array:
    """Mean absolute difference, `[B]`.

    Args:
      prediction, target: `[B, D, H, W]`.
      slice_weights: `[B, D]`, multiply the slices' means. Like those of voxels they are not normalized by their sum,
        which would couple slices, and slabs of a batch.
      voxel_weights: `[B, D, H, W]`, multiply each voxel's difference before the mean.
    """
    error = jnp.abs(prediction - target)
    return _mean_over_slices(
        (error if voxel_weights is None else error * voxel_weights).mean(axis=(2, 3)), slice_weights
    )


def structure_loss(prediction: jax.Array, target: jax.Array) -> jax.Array:
    """Mean absolute difference once the prediction's scale and offset are fitted to the target, `[B]`.

    The least-squares scale and offset of each slab, over the voxels in which the target is above its background of -1:
    what is left is structure, whatever the level, which sources may not tell.
    """
    inside = (target > -1).astype(prediction.dtype)
    size = jnp.maximum(inside.sum(axis=(1, 2, 3), keepdims=True), 1)

    def mean(values):
        return (values * inside).sum(axis=(1, 2, 3), keepdims=True) / size

    predicted, true = prediction - mean(prediction), target - mean(target)
    scale = mean(predicted * true) / (mean(predicted**2) + 1e-4)
    return (jnp.abs(scale * predicted - true) * inside).mean(axis=(1, 2, 3))


def first_difference_loss(
    prediction: jax.Array, target: jax.Array, delta_z_weights: jax.Array | None = None
) -> jax.Array:
    """Mean absolute difference of the z-differences of adjacent slices (LiFT, arXiv 2605.19060), `[B]`.

    A slab of one slice has no such difference, and no loss.

    Args:
      prediction, target: `[B, D, H, W]`.
      delta_z_weights: `[B, D]`, of the difference of each slice to the one before; the first has no effect.
    """
    error = prediction - target
    if error.shape[1] < 2:
        return jnp.zeros_like(error[:, 0, 0, 0])
    differences = jnp.abs(error[:, 1:] - error[:, :-1]).mean(axis=(2, 3))
    return _mean_over_slices(differences, None if delta_z_weights is None else delta_z_weights[:, 1:])


def paired_terms(
    prediction: jax.Array,
    target: jax.Array,
    weights: LossWeights,
    *,
    slice_weights: jax.Array | None = None,
    delta_z_weights: jax.Array | None = None,
    voxel_weights: jax.Array | None = None,
) -> dict[str, jax.Array]:
    """The mean over the batch of each term that has a weight above 0; the others are not computed.

    Args:
      prediction, target: `[B, D, H, W]`.
      weights: of the terms.
      slice_weights, delta_z_weights: `[B, D]`, see `l1_loss` and `first_difference_loss`.
      voxel_weights: `[B, D, H, W]`, of voxels in the pixel term; None is one each.
    """
    terms = {}
    if weights.pixel > 0:
        terms["pixel"] = l1_loss(prediction, target, slice_weights, voxel_weights)
    if weights.structure > 0:
        terms["structure"] = structure_loss(prediction, target)
    if weights.similarity > 0:
        terms["similarity"] = _mean_over_slices(ms_ssim_loss(prediction, target), slice_weights)
    if weights.through_plane > 0:
        terms["through_plane"] = first_difference_loss(prediction, target, delta_z_weights)
    return {name: term.mean() for name, term in terms.items()}


def _mean_over_slices(values: jax.Array, weights: jax.Array | None) -> jax.Array:
    """The mean of `[B, D]` over D, `[B]`."""
    return (values if weights is None else values * weights).mean(axis=1)
