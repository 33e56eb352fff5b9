"""How slices follow each other: differences of neighboring axial slices, predicted and true."""

import numpy as np

from lift_jax.evaluation.metrics.inputs import nonempty_mask, paired_volumes, pearson

BONE_THRESHOLD = 250.0
"""Hounsfield units above which a voxel of a CT counts as bone."""


def delta_z(target, prediction, mask, bone_threshold: float | None = None) -> dict[str, float]:
    """Agreement of the through-plane differences Δz = `volume[k + 1] - volume[k]` of two volumes `[D, H, W]`.

    A pair of neighboring voxels counts where both lie in the mask; it is a pair of bone where, besides, the target is
    above `bone_threshold` in both.

    Args:
      target: the true volume, any unit.
      prediction: in the target's unit.
      mask: `[D, H, W]`, voxels above zero count.
      bone_threshold: in the target's unit; `BONE_THRESHOLD` for CT, None where there is no bone to tell.

    Returns:
      `{"mae", "mae_bone", "correlation"}`: mean |Δz predicted - Δz true| over the mask and over its bone (nan without a
      threshold or without a pair of bone), and Pearson's r of both Δz in the mask (nan where one is constant).

    Raises:
      ValueError: shapes that differ, values that are not finite, or a mask without two neighboring slices.
    """
    target, prediction = paired_volumes(target, prediction)
    mask = nonempty_mask(mask, target.shape)
    pairs = mask[1:] & mask[:-1]
    if not pairs.any():
        raise ValueError("the mask holds no voxel and its neighbor in the next slice; Δz needs one such pair")
    true, predicted = np.diff(target, axis=0), np.diff(prediction, axis=0)
    error = np.abs(predicted - true)
    mae_bone = float("nan")
    if bone_threshold is not None:
        bone = target > bone_threshold
        bone_pairs = pairs & bone[1:] & bone[:-1]
        mae_bone = float(error[bone_pairs].mean()) if bone_pairs.any() else mae_bone
    return {
        "mae": float(error[pairs].mean()),
        "mae_bone": mae_bone,
        "correlation": pearson(true[pairs], predicted[pairs]),
    }


def z_profile(volume, mask) -> np.ndarray:
    """The mean of every axial slice within the mask, `[D]` float64, nan where the mask has no voxel in the slice."""
    volume, mask = np.asarray(volume, np.float64), np.asarray(mask) > 0
    voxels = mask.sum((1, 2))
    profile = np.full(volume.shape[0], np.nan)
    np.divide((volume * mask).sum((1, 2)), voxels, out=profile, where=voxels > 0)
    return profile
