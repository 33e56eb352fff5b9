"""How a run describes the subjects that it was trained on, and in what another subject differs from them."""

import json
from collections.abc import Mapping, Sequence

import numpy as np

from lift_jax.data.channels import Channels
from lift_jax.data.statistics import compare_statistics, foreground_statistics, summarize_statistics
from lift_jax.data.subject import Subject
from lift_jax.data.volumes import Grid
from lift_jax.paths import PathLike

STATISTICS_FILE = "data_statistics.json"
"""Where a run keeps the description, in its work directory."""

SPACING_FACTOR = 1.25
"""Ratio of voxel sides from which on they count as different."""

THICK = 1.5
"""Ratio of the largest voxel side to the others from which on it is the axis of the slices."""

FEWEST_OTHERS = 4
"""Subjects from which on their range says something about another one."""

OUTLIER_MARGIN = 0.3
"""The same share for subjects that train, which are compared with few others."""

AXIS_NAMES = ("axial", "coronal", "sagittal")
"""Slices along the first, second and third axis of `[D, H, W]`."""


def describe_training(grids: Mapping[str, Grid], statistics: Mapping[str, Mapping[str, float]]) -> dict:
    """What a run keeps of its training data, as JSON holds it.

    Args:
      grids: of the subjects' files, by the name of the subject.
      statistics: of the subjects, see `foreground_statistics`; empty for made subjects, which say nothing about scans.

    Returns:
      `subjects`, their names; `spacing_mm`, the lowest and highest voxel sides `[[d, d'], [h, h'], [w, w']]` of the
      files; `slices`, `axial`, `coronal`, `sagittal` or None for nearly cubic voxels; and `foreground`, see
      `summarize_statistics`.
    """
    sides = np.array([grid.spacing for grid in grids.values()])
    axis = slice_axis(sides.max(axis=0))
    return {
        "subjects": list(grids),
        "spacing_mm": [[float(side.min()), float(side.max())] for side in sides.T],
        "slices": None if axis is None else AXIS_NAMES[axis],
        "foreground": summarize_statistics(statistics.values()),
    }


def read_description(workdir: PathLike) -> dict | None:
    """What the run in a work directory keeps of its training data; None where there is nothing."""
    path = workdir / STATISTICS_FILE
    return json.loads(path.read_text()) if path.exists() else None


def outliers(statistics: Mapping[str, Mapping[str, float]]) -> list[str]:
    """One line `SUBJECT: ...` for each subject whose foreground differs from those of all others.

    Args:
      statistics: of the subjects by name, see `foreground_statistics`.
    """
    if len(statistics) <= FEWEST_OTHERS:
        return []
    lines = []
    for name, own in statistics.items():
        others = summarize_statistics(values for other, values in statistics.items() if other != name)
        lines += [
            f"{name}: unlike all others, {warning}" for warning in compare_statistics(others, own, OUTLIER_MARGIN)
        ]
    return lines


def unfamiliar(
    training: Mapping, grid: Grid, subject: Subject, sources: Sequence[str], channels: Channels, spacing: float = 0.0
) -> list[str]:
    """In what a subject differs from the training data, each the end of a line `SUBJECT: ...`.

    Args:
      training: as `describe_training` returns it.
      grid: of the subject's files.
      subject: its sources, in the units of their protocols, on the grid on which the network works.
      sources: the channels that are given.
      channels: of the run.
      spacing: voxel side in mm to which the run resamples all subjects; 0 where it does not.
    """
    warnings = _spacing_warnings(training["spacing_mm"], grid.spacing, spacing)
    if training["foreground"]:
        statistics = foreground_statistics(subject, sources, channels.protocols)
        warnings += compare_statistics(training["foreground"], statistics)
    return warnings


def slice_axis(spacing: Sequence[float]) -> int | None:
    """The axis of `(D, H, W)` across which slices were acquired; None for nearly cubic voxels."""
    axis = int(np.argmax(spacing))
    others = [side for other, side in enumerate(spacing) if other != axis]
    return axis if spacing[axis] >= THICK * max(others) else None


def _spacing_warnings(training: Sequence[Sequence[float]], spacing: Sequence[float], resampled: float) -> list[str]:
    """Finer voxels than those of the training data do not matter where all are resampled."""
    axis, trained_axis = slice_axis(spacing), slice_axis([high for _, high in training])
    here = "×".join(f"{side:.3g}" for side in spacing)
    if axis is not None and axis != trained_axis and spacing[axis] > SPACING_FACTOR * resampled:
        usual = f"{AXIS_NAMES[trained_axis]} slices" if trained_axis is not None else "nearly cubic voxels"
        return [
            f"was acquired in {AXIS_NAMES[axis]} slices ({here} mm along D, H, W), the training data have {usual}; "
            "the result may be poor; give a scan like those of the training data"
        ]
    coarser = [side > SPACING_FACTOR * max(high, resampled) for side, (_, high) in zip(spacing, training, strict=True)]
    finer = [not resampled and side < low / SPACING_FACTOR for side, (low, _) in zip(spacing, training, strict=True)]
    if not any(coarser + finer):
        return []
    there = "×".join(f"{low:.3g}" if high < 1.01 * low else f"{low:.3g}-{high:.3g}" for low, high in training)
    remedy = "give a finer scan" if resampled else "resample it, or train with config.data.spacing set"
    return [f"has voxels of {here} mm (D, H, W), the training data {there} mm; the result may be poor; {remedy}"]
