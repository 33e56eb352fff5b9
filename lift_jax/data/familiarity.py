"""How a run describes the subjects that it was trained on, and in what another subject differs from them."""

from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from lift_jax.data.channels import Channels
from lift_jax.data.statistics import compare_statistics, foreground_statistics, summarize_statistics
from lift_jax.data.subject import Subject
from lift_jax.data.volumes import Grid

STATISTICS_FILE = "data_statistics.json"
"""Where a run keeps the description, in its work directory."""

SPACING_FACTOR = 1.25
"""Ratio of voxel sides from which on they count as different."""

THICK = 1.5
"""Ratio of the largest voxel side to the others from which on it is the axis of the slices."""

AXIS_NAMES = ("axial", "coronal", "sagittal")
"""Slices along the first, second and third axis of `[D, H, W]`."""


def describe_training(grids: Iterable[Grid], subjects: Iterable[Subject], channels: Channels) -> dict:
    """What a run keeps of its training data, as JSON holds it.

    Args:
      grids: of the subjects' files.
      subjects: the subjects.
      channels: of the run; the sources show the foreground.

    Returns:
      `spacing_mm`, the lowest and highest voxel sides `[[d, d'], [h, h'], [w, w']]` of the files; and `foreground`, see
      `summarize_statistics`.
    """
    sides = np.array([grid.spacing for grid in grids])
    statistics = [foreground_statistics(subject, channels.sources, channels.protocols) for subject in subjects]
    return {
        "spacing_mm": [[float(axis.min()), float(axis.max())] for axis in sides.T],
        "foreground": summarize_statistics(statistics),
    }


def unfamiliar(
    training: Mapping, grid: Grid, subject: Subject, sources: Sequence[str], channels: Channels, *, made: bool = False
) -> list[str]:
    """In what a subject differs from the training data, each the end of a line `SUBJECT: ...`.

    Args:
      training: as `describe_training` returns it.
      grid: of the subject's files.
      subject: its sources, in the units of their protocols, on the grid on which the network works.
      sources: the channels that are given.
      channels: of the run.
      made: the run was trained on made subjects, whose foreground says nothing about scans.
    """
    warnings = _spacing_warnings(training.get("spacing_mm"), grid.spacing)
    statistics = foreground_statistics(subject, sources, channels.protocols)
    if "foreground" in training and not made:
        warnings += compare_statistics(training["foreground"], statistics)
    return warnings


def slice_axis(spacing: Sequence[float]) -> int | None:
    """The axis of `(D, H, W)` across which slices were acquired; None for nearly cubic voxels."""
    axis = int(np.argmax(spacing))
    others = [side for other, side in enumerate(spacing) if other != axis]
    return axis if spacing[axis] >= THICK * max(others) else None


def _spacing_warnings(training: Sequence[Sequence[float]] | None, spacing: Sequence[float]) -> list[str]:
    if not training:
        return []
    axis, trained_axis = slice_axis(spacing), slice_axis([high for _, high in training])
    here = "×".join(f"{side:.3g}" for side in spacing)
    if axis is not None and axis != trained_axis:
        usual = f"{AXIS_NAMES[trained_axis]} slices" if trained_axis is not None else "nearly cubic voxels"
        return [
            f"was acquired in {AXIS_NAMES[axis]} slices ({here} mm along D, H, W), the training data have {usual}; "
            "the result may be poor"
        ]
    different = [
        not low / SPACING_FACTOR <= side <= high * SPACING_FACTOR
        for side, (low, high) in zip(spacing, training, strict=True)
    ]
    if not any(different):
        return []
    there = "×".join(f"{low:.3g}" if high < 1.01 * low else f"{low:.3g}-{high:.3g}" for low, high in training)
    return [f"has voxels of {here} mm (D, H, W), the training data {there} mm; train with config.data.spacing set"]
