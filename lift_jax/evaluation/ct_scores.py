"""The scores of one synthetic CT: both SynthRAD challenges' metrics, through-plane agreement, overlap of tissues."""

import numpy as np

from lift_jax.evaluation.aggregates import Column
from lift_jax.evaluation.image_metrics import synthrad2023, synthrad2025
from lift_jax.evaluation.inputs import nonempty_mask, paired_volumes
from lift_jax.evaluation.through_plane import BONE_THRESHOLD, delta_z

AIR_THRESHOLD = -400.0
"""Hounsfield units below which a voxel in the mask counts as air: half-way, about, from air to soft tissue."""

WATER = "water"
"""The method that needs no training: 0 HU throughout the body, as where no density is assigned at all."""

CT_COLUMNS = (
    Column("mae", "MAE (HU)", 1, False, headline=True),
    Column("psnr", "PSNR (dB)", 2, True, headline=True),
    Column("ssim", "SSIM", 4, True, headline=True),
    Column("ncc", "NCC", 4, True),
    Column("ms_ssim", "MS-SSIM, masked", 4, True),
    Column("delta_z_mae", "Δz MAE (HU)", 1, False, headline=True),
    Column("delta_z_mae_bone", "Δz MAE, bone (HU)", 1, False, headline=True),
    Column("delta_z_correlation", "Δz correlation", 3, True, headline=True),
    Column("dice_bone", "Dice, bone", 3, True),
    Column("dice_air", "Dice, air", 3, True),
)
"""The columns of `score_ct`."""


def score_ct(target, prediction, mask) -> dict[str, float]:
    """All scores of a predicted CT, volumes `[D, H, W]` in Hounsfield units, in the mask.

    Returns:
      `mae`, `psnr`, `ssim`, `ncc` as SynthRAD2023 defines them; `ms_ssim` as SynthRAD2025; `delta_z_mae`,
      `delta_z_mae_bone`, `delta_z_correlation`; `dice_bone` and `dice_air`.

    Raises:
      ValueError: volumes that cannot be compared, an empty mask, or one too thin for the metrics.
    """
    through_plane = delta_z(target, prediction, mask, BONE_THRESHOLD)
    return {
        **synthrad2023(target, prediction, mask),
        "ms_ssim": synthrad2025(target, prediction, mask)["ms_ssim"],
        "delta_z_mae": through_plane["mae"],
        "delta_z_mae_bone": through_plane["mae_bone"],
        "delta_z_correlation": through_plane["correlation"],
        **tissue_overlap(target, prediction, mask),
    }


def tissue_overlap(target, prediction, mask) -> dict[str, float]:
    """Dice's coefficient `2 |A ∩ B| / (|A| + |B|)` of bone and of air in the mask, of volumes `[D, H, W]` in HU.

    Bone is above `BONE_THRESHOLD`, air below `AIR_THRESHOLD`; where the mask is generous, air around the head counts.

    Returns:
      `{"dice_bone", "dice_air"}`; nan where neither volume holds the tissue.

    Raises:
      ValueError: shapes that differ, values that are not finite, an empty mask.
    """
    target, prediction = paired_volumes(target, prediction)
    mask = nonempty_mask(mask, target.shape)
    target, prediction = target[mask], prediction[mask]
    return {
        "dice_bone": _dice(target > BONE_THRESHOLD, prediction > BONE_THRESHOLD),
        "dice_air": _dice(target < AIR_THRESHOLD, prediction < AIR_THRESHOLD),
    }


def _dice(a: np.ndarray, b: np.ndarray) -> float:
    size = int(a.sum()) + int(b.sum())
    return 2 * int((a & b).sum()) / size if size else float("nan")
