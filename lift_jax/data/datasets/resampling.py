"""Subjects on another grid: cubic voxels, so many voxels, or both; the centers of the fields of view coincide."""

import dataclasses
import math
from collections.abc import Mapping

import numpy as np

from lift_jax.data.intensity import IntensityProtocol
from lift_jax.data.resample import resample_onto
from lift_jax.data.subject import Subject

COVER_TOLERANCE = 1e-4
"""Share of a voxel by which a grid may fall short of the field of view, so that float32 headers add no slice."""

INSIDE_SHARE = 0.5
"""Share of the foreground in what a new voxel averages, from which on it is foreground."""


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
    return tuple(int(side) for side in new[::-1]), new_affine


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
        return {
            channel: resample_foreground(
                volume, foregrounds[channel], protocols[channel].background, subject.affine, *new
            )[0]
            for channel, volume in volumes.items()
        }

    return dataclasses.replace(
        subject,
        images=moved(subject.images),
        references=moved(subject.references),
        affine=new[1],
        mask=None if subject.mask is None else resample_mask(subject.mask, subject.affine, *new),
        segmentation=None if labels is None else resample_labels(labels, subject.affine, *new),
    )


def resample_mask(mask: np.ndarray, affine: np.ndarray, shape, new_affine: np.ndarray) -> np.ndarray:
    """A mask on another grid, bool: voxels of which half is inside; nothing is inside beyond the field of view."""
    share = resample_onto(mask.astype(np.float32), affine, shape, new_affine)
    return (share >= INSIDE_SHARE) & _field_of_view(mask.shape, affine, shape, new_affine)


def resample_foreground(
    volume: np.ndarray, mask: np.ndarray, background: float, affine: np.ndarray, shape, new_affine: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """A volume on another grid within its foreground, so that the edge stays an edge; and the mask there.

    A new voxel is the average over the part of what it covers that is foreground: mixed with background, the rim would
    look like dark tissue.

    Returns:
      `[D', H', W']` float32, `background` outside, and `[D', H', W']` bool.
    """
    both = np.stack([np.where(mask, volume, 0), mask], axis=-1).astype(np.float32)
    value, share = np.moveaxis(resample_onto(both, affine, shape, new_affine), -1, 0)
    inside = (share >= INSIDE_SHARE) & _field_of_view(mask.shape, affine, shape, new_affine)
    return np.where(inside, value / np.where(inside, share, 1), background).astype(np.float32), inside


def resample_labels(labels: np.ndarray, affine: np.ndarray, shape, new_affine: np.ndarray) -> np.ndarray:
    """Labels on another grid, uint8: in each voxel the label with the largest share."""
    best, result = np.zeros(shape, np.float32), np.zeros(shape, np.uint8)
    for label in np.unique(labels):
        share = resample_onto((labels == label).astype(np.float32), affine, shape, new_affine)
        result[share > best] = label
        best = np.maximum(best, share)
    return np.where(_field_of_view(labels.shape, affine, shape, new_affine), result, 0).astype(np.uint8)


def _field_of_view(old_shape, affine: np.ndarray, shape, new_affine: np.ndarray) -> np.ndarray:
    """Which voxels of the new grid have their center in the old field of view, broadcastable to `[D', H', W']`."""
    to_old = np.linalg.solve(affine, new_affine)
    axes = []
    for axis in range(3):
        column = 2 - axis
        positions = to_old[column, column] * np.arange(shape[axis]) + to_old[column, 3]
        axes.append((positions > -0.5 - COVER_TOLERANCE) & (positions < old_shape[axis] - 0.5 + COVER_TOLERANCE))
    return axes[0][:, None, None] & axes[1][:, None] & axes[2]
