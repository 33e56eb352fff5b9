"""Resampling between grids that share their axis directions: a change of voxel size, not a rotation.

Linear interpolation, anti-aliased: where voxels get larger, the triangle kernel widens to the new voxel, so that a
coarse voxel averages what it covers, as a scanner's partial volume does. The definition is that of
`jax.image.scale_and_translate(method="linear", antialias=True)`, with the edge repeated outside the field of view.
It is computed by NumPy, because data are loaded in processes that have no business with an accelerator.
"""

import dataclasses
import math
from collections.abc import Mapping

import numpy as np

from lift_jax.data.intensity import IntensityProtocol
from lift_jax.data.subject import Subject

ALIGNMENT_TOLERANCE = 1e-3
"""Largest component, in voxels per voxel, by which axes of two grids may deviate from being parallel."""

COVER_TOLERANCE = 1e-4
"""Share of a voxel by which a grid may fall short of the field of view, so that float32 headers add no slice."""

INSIDE_SHARE = 0.5
"""Share of the foreground in what a new voxel averages, from which on it is foreground."""

SMALLEST_SHARE = 0.05
"""Share of the known voxels in what a voxel averages, below which nothing is known of it."""


def resample_subject(
    subject: Subject,
    foregrounds: Mapping[str, np.ndarray],
    protocols: Mapping[str, IntensityProtocol],
    spacing: float,
    size: tuple[int, int, int],
) -> Subject:
    """A subject in protocol units on another grid, see `resampled_grid`.

    Args:
      subject: on its own grid.
      foregrounds: channel to `[D, H, W]` bool, within which its image is averaged.
      protocols: of its channels.
      spacing, size: see `resampled_grid`.
    """
    new = resampled_grid(subject.shape, subject.affine, spacing, size)
    labels = subject.segmentation

    def moved(volumes: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        def resampled(channel: str, volume: np.ndarray) -> np.ndarray:
            background = protocols[channel].background
            return resample_foreground(volume, foregrounds[channel], background, subject.affine, *new)[0]

        return {channel: resampled(channel, volume) for channel, volume in volumes.items()}

    return dataclasses.replace(
        subject,
        images=moved(subject.images),
        references=moved(subject.references),
        affine=new[1],
        mask=None if subject.mask is None else resample_mask(subject.mask, subject.affine, *new),
        segmentation=None if labels is None else resample_labels(labels, subject.affine, *new),
    )


def resampled_grid(
    shape: tuple[int, int, int], affine: np.ndarray, spacing: float, size: tuple[int, int, int]
) -> tuple[tuple[int, int, int], np.ndarray]:
    """The grid to which a volume is resampled.

    Args:
      shape: `(D, H, W)` of the volume.
      affine: `[4, 4]`, voxel `(i, j, k)` to millimeters.
      spacing: side of the new cubic voxels in millimeters; 0 divides the field of view into `size` voxels.
      size: `(D', H', W')`; zeros take as many voxels as cover the field of view.

    Returns:
      `(D', H', W')` and the new affine.
    """
    sides, old = np.linalg.norm(affine[:3, :3], axis=0), np.array(shape[::-1])
    if min(size) > 0:
        new = np.array(size[::-1])
    else:
        new = np.array([max(1, math.ceil(extent / spacing - COVER_TOLERANCE)) for extent in old * sides])
    new_affine = np.array(affine, dtype=np.float64)
    new_affine[:3, :3] *= spacing / sides if spacing > 0 else old / new
    new_affine[:3, 3] += affine[:3, :3] @ (old - 1) / 2 - new_affine[:3, :3] @ (new - 1) / 2
    width, height, depth = (int(side) for side in new)
    return (depth, height, width), new_affine


def resample_foreground(
    volume: np.ndarray, mask: np.ndarray, background: float, affine: np.ndarray, shape, new_affine: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """A volume on another grid within its foreground, so that the edge stays an edge; and the mask there.

    A new voxel is the average over the part of what it covers that is foreground: mixed with background, the rim would
    look like dark tissue.

    Returns:
      `[D', H', W']` float32, `background` outside, and `[D', H', W']` bool.
    """
    value, share = _sum_within(volume, mask, affine, shape, new_affine)
    inside = (share >= INSIDE_SHARE) & _field_of_view(mask.shape, affine, shape, new_affine)
    return np.where(inside, value / np.where(inside, share, 1), background).astype(np.float32), inside


def resample_mask(mask: np.ndarray, affine: np.ndarray, shape, new_affine: np.ndarray) -> np.ndarray:
    """A mask on another grid, bool: voxels of which half is inside; nothing is inside beyond the field of view."""
    share = resample_onto(mask.astype(np.float32), affine, shape, new_affine)
    return (share >= INSIDE_SHARE) & _field_of_view(mask.shape, affine, shape, new_affine)


def resample_labels(labels: np.ndarray, affine: np.ndarray, shape, new_affine: np.ndarray) -> np.ndarray:
    """Labels on another grid, uint8: in each voxel the label with the largest share."""
    best, result = np.zeros(shape, np.float32), np.zeros(shape, np.uint8)
    for label in np.unique(labels):
        share = resample_onto((labels == label).astype(np.float32), affine, shape, new_affine)
        result[share > best] = label
        best = np.maximum(best, share)
    return np.where(_field_of_view(labels.shape, affine, shape, new_affine), result, 0).astype(np.uint8)


def resample_within_mask(
    prediction: np.ndarray,
    known: np.ndarray,
    affine: np.ndarray,
    inside: np.ndarray,
    target_affine: np.ndarray,
    background: float = 0.0,
) -> np.ndarray:
    """A result on another grid, such as that of its source's files, `[D', H', W']` float32.

    Averages are taken over the part of the prediction that is known, so that its rim is not mixed with background.

    Args:
      prediction: `[D, H, W]`.
      known: `[D, H, W]` bool, the foreground on the grid of the prediction. It is given, because a prediction may equal
        the background in the foreground too.
      affine: `[4, 4]` of `prediction`.
      inside: `[D', H', W']` bool, the foreground on the result's grid; outside of it the result is `background`.
      target_affine: `[4, 4]` of `inside`, with axes parallel to those of `affine`.
      background: in the unit of the prediction.
    """
    value, share = _sum_within(prediction, known, affine, inside.shape, target_affine)
    covered = inside & (share > SMALLEST_SHARE)
    return np.where(covered, value / np.where(covered, share, 1), background).astype(np.float32)


def _sum_within(volume: np.ndarray, mask: np.ndarray, affine: np.ndarray, shape, new_affine: np.ndarray):
    """On another grid, of what each voxel covers: the sum over the mask, and the share of the mask; float32."""
    both = np.stack([np.where(mask, volume, 0), mask], axis=-1).astype(np.float32)
    return np.moveaxis(resample_onto(both, affine, shape, new_affine), -1, 0)


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


def _linear_weights(positions: np.ndarray, step: float, size: int) -> np.ndarray:
    """The matrix `[len(positions), size]` float32 that interpolates `size` samples at positions `step` apart."""
    positions = np.clip(positions, -0.5, size - 0.5)
    width = max(step, 1.0)
    weights = np.maximum(0, 1 - np.abs(positions[:, None] - np.arange(size)) / width)
    return (weights / weights.sum(axis=1, keepdims=True)).astype(np.float32)


def _field_of_view(old_shape, affine: np.ndarray, shape, new_affine: np.ndarray) -> np.ndarray:
    """Which voxels of the new grid have their center in the old field of view, broadcastable to `[D', H', W']`."""
    to_old = np.linalg.solve(affine, new_affine)
    axes = []
    for axis in range(3):
        column = 2 - axis
        positions = to_old[column, column] * np.arange(shape[axis]) + to_old[column, 3]
        axes.append((positions > -0.5 - COVER_TOLERANCE) & (positions < old_shape[axis] - 0.5 + COVER_TOLERANCE))
    return axes[0][:, None, None] & axes[1][:, None] & axes[2]
