"""The metrics of tables: of translations, by the unit of the predicted channel, and of generated volumes."""

import dataclasses
from collections.abc import Iterable

from lift_jax.evaluation.statistics import Column
from lift_jax.losses.triplanar import PLANES

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

GFLOP_COLUMN = Column("gflop", "GFLOP per volume", 1, False)
"""Operations of one translation, in sweeps."""

VOLUME_COLUMNS = (
    Column("step", "mean |Δz|", 4, False),
    Column("step_relative", "mean |Δz|, against real (%)", 1, False, best_at_zero=True),
    Column("spread_relative", "spread over volumes, against real (%)", 1, False, best_at_zero=True),
    Column("ms_ssim", "MS-SSIM of pairs", 3, False),
    # A high distance says that nothing is copied; noise is far from all training volumes too.
    Column("nearest_rmse", "RMSE to the nearest training volume", 4, True, ranked=False),
)
"""Of generated volumes; percentages are best at 0, from either side."""


def distance_columns(encoder: str = "") -> tuple[Column, ...]:
    """Fréchet and kernel distances of the slices of each plane; the encoder's name stands in key and label."""
    key, label = (f"_{encoder}", f" ({encoder})") if encoder else ("", "")
    return (
        *(Column(f"frechet_{p}{key}", f"Fréchet, {p}{label}", 4, False, geometric=True) for p in PLANES),
        *(Column(f"kernel_{p}{key}", f"kernel, {p}{label}", 4, False) for p in PLANES),
    )


def columns_of(units: Iterable[str]) -> tuple[Column, ...]:
    """The columns of channels in these units; a metric of both units has one column, labeled without unit."""
    sets = [{"[0, 1]": UNIT_COLUMNS, "HU": HU_COLUMNS}[unit] for unit in dict.fromkeys(units)]
    merged: dict[str, Column] = {}
    for column in (column for columns in sets for column in columns):
        first = merged.setdefault(column.key, column)
        if first.label != column.label:
            label = first.label.split(",")[0].split(" (")[0]
            merged[column.key] = dataclasses.replace(first, label=label, digits=max(first.digits, column.digits))
    return tuple(merged.values())


def _sweep_columns(columns: tuple[Column, ...], left_out: set[str]) -> tuple[Column, ...]:
    hidden = {column.key for column in REGION_COLUMNS} | left_out
    return (*(c for c in columns if c.key not in hidden and "crop" not in c.key), GFLOP_COLUMN)


SWEEP_UNIT_COLUMNS = _sweep_columns(UNIT_COLUMNS, {"delta_z_correlation"})
SWEEP_HU_COLUMNS = _sweep_columns(HU_COLUMNS, {"ncc", "delta_z_correlation", "dice_air"})
"""Of sweeps of translation, by the unit of the targets: means over subjects and channels."""

SWEEP_GENERATION_COLUMNS = (*distance_columns(), *(c for c in VOLUME_COLUMNS if c.key not in ("step", "ms_ssim")))
"""Of sweeps of generation."""
