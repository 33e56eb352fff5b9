"""Resampling between grids that share their axis directions: a change of voxel size, not a rotation.

Linear interpolation, anti-aliased: where voxels get larger, the triangle kernel widens to the new voxel, so that a
coarse voxel averages what it covers, as a scanner's partial volume does. The definition is that of
`jax.image.scale_and_translate(method="linear", antialias=True)`, with the edge repeated outside the field of view.
It is computed by NumPy, because data are loaded in processes that have no business with an accelerator.
"""

import math

import numpy as np

ALIGNMENT_TOLERANCE = 1e-3
"""Largest component, in voxels per voxel, by which axes of two grids may deviate from being parallel."""

_COVER_TOLERANCE = 1e-4  # voxels: float32 headers must not add a slice


SMALLEST_SHARE = 0.05
"""Share of the brain in what a voxel averages, below which nothing is known of it."""


def resample_to_spacing(array: np.ndarray, affine: np.ndarray, spacing: float) -> tuple[np.ndarray, np.ndarray]:
    """Resamples a canonical volume to cubic voxels; the centers of the two fields of view coincide.

    Args:
      array: `[D, H, W, ...]`.
      affine: `[4, 4]`, voxel `(i, j, k)` to millimeters; rotated grids stay rotated.
      spacing: the new voxel side in millimeters.

    Returns:
      `[D', H', W', ...]` float32, with as many voxels as it takes to cover the field of view, and its affine.
    """
    sides = np.linalg.norm(affine[:3, :3], axis=0)
    shape_ijk = np.array(array.shape[2::-1])
    new_shape_ijk = [max(1, math.ceil(extent / spacing - _COVER_TOLERANCE)) for extent in shape_ijk * sides]
    new_affine = np.array(affine, dtype=np.float64)
    new_affine[:3, :3] *= spacing / sides
    new_affine[:3, 3] += affine[:3, :3] @ (shape_ijk - 1) / 2 - new_affine[:3, :3] @ (np.array(new_shape_ijk) - 1) / 2
    return resample_onto(array, affine, tuple(new_shape_ijk[::-1]), new_affine), new_affine


def resample_to_shape(
    array: np.ndarray, affine: np.ndarray, shape: tuple[int, int, int]
) -> tuple[np.ndarray, np.ndarray]:
    """Resamples a canonical volume to so many voxels along each axis, over the same field of view.

    Args:
      array: `[D, H, W, ...]`.
      affine: `[4, 4]`, voxel `(i, j, k)` to millimeters.
      shape: `(D', H', W')` of the result.

    Returns:
      `[D', H', W', ...]` float32, and its affine.
    """
    old, new = np.array(array.shape[2::-1]), np.array(shape[::-1])
    new_affine = np.array(affine, dtype=np.float64)
    new_affine[:3, :3] *= old / new
    new_affine[:3, 3] += affine[:3, :3] @ (old - 1) / 2 - new_affine[:3, :3] @ (new - 1) / 2
    return resample_onto(array, affine, shape, new_affine), new_affine


def resample_foreground_to_spacing(
    contrasts: np.ndarray, affine: np.ndarray, spacing: float
) -> tuple[np.ndarray, np.ndarray]:
    """Resamples skull-stripped contrasts to cubic voxels within the brain, so that its edge stays an edge.

    The brain is where any contrast is above zero. A new voxel is in the brain if at least half of what it averages is,
    and its value is the average over that part: mixed with background, the rim would look like dark tissue.

    Args:
      contrasts: `[D, H, W, C]`, not negative, zero outside the brain.
      affine: `[4, 4]`, voxel `(i, j, k)` to millimeters.
      spacing: the new voxel side in millimeters.

    Returns:
      `[D', H', W', C]` float32, zero outside the brain, and its affine.
    """
    brain = (contrasts > 0).any(axis=-1, keepdims=True).astype(np.float32)
    resampled, new_affine = resample_to_spacing(np.concatenate([contrasts, brain], axis=-1), affine, spacing)
    share = resampled[..., -1:]
    inside = share >= 0.5
    return np.where(inside, resampled[..., :-1] / np.where(inside, share, 1), 0).astype(np.float32), new_affine


def resample_onto(
    array: np.ndarray, affine: np.ndarray, shape: tuple[int, int, int], target_affine: np.ndarray
) -> np.ndarray:
    """Resamples a canonical volume onto a given grid, for instance a result back onto its source's grid.

    Args:
      array: `[D, H, W, ...]`.
      affine: `[4, 4]`, voxel `(i, j, k)` of `array` to millimeters.
      shape: `(D', H', W')` of the result.
      target_affine: `[4, 4]` of the result, with axes parallel to those of `affine`.

    Returns:
      `[D', H', W', ...]` float32.

    Raises:
      ValueError: the axes of the two grids are not parallel.
    """
    target_to_source = np.linalg.solve(affine, target_affine)
    steps = np.diag(target_to_source)[:3]
    if np.abs(target_to_source[:3, :3] - np.diag(steps)).max() > ALIGNMENT_TOLERANCE or steps.min() <= 0:
        raise ValueError("grids whose axes are not parallel need a registration, not a change of voxel size")
    result = np.asarray(array, dtype=np.float32)
    for axis in range(3):
        column = 2 - axis  # the first array axis runs along the affine's third column
        positions = steps[column] * np.arange(shape[axis]) + target_to_source[column, 3]
        weights = _linear_weights(positions, steps[column], array.shape[axis])
        result = np.moveaxis(np.tensordot(weights, result, axes=(1, axis)), 0, axis)
    return np.ascontiguousarray(result)


def resample_within_mask(
    prediction: np.ndarray, known: np.ndarray, affine: np.ndarray, brain: np.ndarray, target_affine: np.ndarray
) -> np.ndarray:
    """Resamples a skull-stripped result back onto the grid of its source, `[D', H', W']`, zero outside the brain.

    Averages are over the part of the result that is brain, so that its rim is not darkened by the background. That part
    is given and not taken from the result, which may be 0 in the brain too.

    Args:
      prediction: `[D, H, W]`.
      known: `[D, H, W]` bool, where the prediction counts: the brain on its own grid.
      affine: `[4, 4]` of `prediction`.
      brain: `[D', H', W']` bool, the brain on the source's grid.
      target_affine: `[4, 4]` of `brain`, with axes parallel to those of `affine`.
    """
    both = np.stack([np.where(known, prediction, 0), known], axis=-1).astype(np.float32)
    value, share = np.moveaxis(resample_onto(both, affine, brain.shape, target_affine), -1, 0)
    inside = brain & (share > SMALLEST_SHARE)
    return np.where(inside, value / np.where(inside, share, 1), 0).astype(np.float32)


def _linear_weights(positions: np.ndarray, step: float, size: int) -> np.ndarray:
    """The matrix `[len(positions), size]` float32 that interpolates `size` samples at positions `step` apart."""
    positions = np.clip(positions, -0.5, size - 0.5)
    width = max(step, 1.0)
    weights = np.maximum(0, 1 - np.abs(positions[:, None] - np.arange(size)) / width)
    return (weights / weights.sum(axis=1, keepdims=True)).astype(np.float32)
