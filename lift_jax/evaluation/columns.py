"""The metrics of tables, by the unit of the channel that is predicted."""

import dataclasses
from collections.abc import Iterable

from lift_jax.evaluation.aggregates import Column

REGION_COLUMNS = (
    Column("psnr_tumor", "PSNR, tumor (dB)", 2, True),
    Column("ssim_tumor", "SSIM, tumor", 4, True),
    Column("psnr_healthy", "PSNR, healthy tissue (dB)", 2, True),
    Column("ssim_healthy", "SSIM, healthy tissue", 4, True),
)
"""Of subjects with a segmentation."""

UNIT_COLUMNS = (
    Column("psnr", "PSNR (dB)", 2, True, headline=True),
    Column("ssim", "SSIM", 4, True, headline=True),
    Column("psnr_brain", "PSNR, brain (dB)", 2, True),
    Column("ssim_brain", "SSIM, brain", 4, True),
    Column("delta_z_mae", "Δz MAE, brain", 4, False, headline=True),
    Column("delta_z_correlation", "Δz correlation, brain", 3, True),
    *REGION_COLUMNS,
    Column("psnr_crop", "PSNR, crop (dB)", 2, True),
    Column("ssim_crop", "SSIM, crop", 4, True),
    Column("psnr_crop_brain", "PSNR, crop, brain (dB)", 2, True),
    Column("ssim_crop_brain", "SSIM, crop, brain", 4, True),
)
"""The columns of `scores.score_unit`; those of the crop are left out where no subject is 240×240 in-plane."""

HU_COLUMNS = (
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
    *REGION_COLUMNS,
)
"""The columns of `scores.score_hu`."""

_OF_UNIT = {"[0, 1]": UNIT_COLUMNS, "HU": HU_COLUMNS}


def columns_of(units: Iterable[str]) -> tuple[Column, ...]:
    """The columns of channels in these units; a metric of both units has one column, labeled without unit."""
    sets = [_OF_UNIT[unit] for unit in dict.fromkeys(units)]
    merged: dict[str, Column] = {}
    for column in (column for columns in sets for column in columns):
        first = merged.setdefault(column.key, column)
        if first.label != column.label:
            label = first.label.split(",")[0].split(" (")[0]
            merged[column.key] = dataclasses.replace(first, label=label, digits=max(first.digits, column.digits))
    return tuple(merged.values())
