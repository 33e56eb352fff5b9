"""What a run keeps of its training data, and in what another subject differs from them."""

import json
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from lift_jax.data.channels import Channels
from lift_jax.data.foreground import bounding_box
from lift_jax.data.geometry import Grid
from lift_jax.data.intensity import IntensityProtocol
from lift_jax.data.subject import Subject, foreground
from lift_jax.paths import PathLike

STATISTICS_FILE = "data_statistics.json"
"""Where a run keeps the description, in its work directory."""

QUANTILES = (0.05, 0.5, 0.95)
"""Fractions of a channel's foreground whose intensities are kept."""

SIZE_FACTOR = 1.35
"""Factor by which the volume of a foreground may leave the range of the training data; its root for sides."""

INTENSITY_MARGIN, OUTLIER_MARGIN = 0.15, 0.3
"""Share of the protocol's range by which quantiles may leave those of the training data: of a new subject, and of one
that trains, which is compared with few others."""

FEWEST_OTHERS = 4
"""Subjects from which on their range says something about another one."""

SPACING_FACTOR = 1.25
"""Ratio of voxel sides from which on they count as different."""

SLICE_FACTOR = 1.5
"""Ratio of the largest voxel side to the others from which on it is the axis of the slices."""

AXIS_NAMES = ("axial", "coronal", "sagittal")
"""Slices along the first, second and third axis of `[D, H, W]`."""


def foreground_statistics(
    subject: Subject, channels: Iterable[str], protocols: Mapping[str, IntensityProtocol]
) -> dict[str, float]:
    """The size of a subject's foreground and the intensities of its channels in there.

    Args:
      subject: the subject, in the units of the protocols.
      channels: those that show the foreground and are described; the ones that the subject lacks are passed over.
      protocols: by channel.

    Returns:
      `volume_ml`, `box_d_mm`, `box_h_mm`, `box_w_mm` and `share` (of all voxels) of the foreground, and
      `CHANNEL_q0.05`, ... in the unit of the channel as a share of the protocol's range. Empty, if there is no
      foreground.
    """
    channels = [channel for channel in channels if channel in subject.images]
    mask = foreground(subject, channels, protocols) if channels else np.zeros(0, bool)
    if not mask.any():
        return {}
    statistics = {
        "volume_ml": float(np.count_nonzero(mask) * np.prod(subject.spacing) / 1000),
        "share": float(mask.mean()),
    }
    for name, side, extent in zip("dhw", subject.spacing, bounding_box(mask), strict=True):
        statistics[f"box_{name}_mm"] = float((extent.stop - extent.start) * side)
    for channel in channels:
        protocol, image = protocols[channel], subject.images[channel]
        inside = image[mask & (image != protocol.background)].astype(np.float64)
        if inside.size:
            values = np.quantile((inside - protocol.low) / (protocol.high - protocol.low), QUANTILES)
            statistics |= {f"{channel}_q{q}": float(value) for q, value in zip(QUANTILES, values, strict=True)}
    return statistics


def summarize_statistics(subjects: Iterable[Mapping[str, float]]) -> dict[str, list[float]]:
    """The range `[lowest, highest]` of each statistic over subjects, which JSON can hold."""
    collected: dict[str, list[float]] = {}
    for statistics in subjects:
        for name, value in statistics.items():
            collected.setdefault(name, []).append(value)
    return {name: [min(values), max(values)] for name, values in collected.items()}


def compare_statistics(
    training: Mapping[str, list[float]], subject: Mapping[str, float], margin: float = INTENSITY_MARGIN
) -> list[str]:
    """How a subject's foreground differs from those of the training data, each the end of a line `SUBJECT: ...`.

    Args:
      training: ranges, as `summarize_statistics` returns them.
      subject: as `foreground_statistics` returns them.
      margin: share of the protocol's range by which a quantile may leave that of the training data.
    """
    if not subject:
        return ["has an empty foreground; give volumes with an image in them, or a mask"]
    known = {name: (value, *training[name]) for name, value in subject.items() if name in training}
    warnings, sizes = [], []
    for name in ("volume_ml", "box_d_mm", "box_h_mm", "box_w_mm"):
        value, low, high = known.get(name, (0.0, 0.0, 0.0))
        factor = SIZE_FACTOR if name == "volume_ml" else SIZE_FACTOR**0.5
        if not low / factor <= value <= high * factor:
            sizes.append(name)
    if sizes:
        listed = ", ".join(_describe_size(name, *known[name]) for name in sizes)
        larger = all(known[name][0] > known[name][2] for name in sizes)
        remedy = "strip the skull, or give a mask" if larger else "check its field of view, units and mask"
        warnings.append(f"its foreground has {listed} in training; {remedy}")
    for channel in sorted({name.rpartition("_q")[0] for name in subject if "_q" in name}):
        quantiles = [known[name] for name in (f"{channel}_q{q}" for q in QUANTILES) if name in known]
        if any(not low - margin <= value <= high + margin for value, low, high in quantiles):
            here = ", ".join(f"{value:.2f}" for value, _, _ in quantiles)
            there = ", ".join(f"{low:.2f} to {high:.2f}" for _, low, high in quantiles)
            warnings.append(
                f"{channel}: its 5, 50 and 95 % quantiles in the foreground are {here} of the range, in training "
                f"{there}; check that it is the right contrast, prepared as the training data"
            )
    return warnings


def _describe_size(name: str, value: float, low: float, high: float) -> str:
    if name == "volume_ml":
        return f"{value:.0f} ml ({low:.0f} to {high:.0f} ml)"
    return f"{value:.0f} mm along {name[4].upper()} ({low:.0f} to {high:.0f} mm)"


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
    axis = slice_axis(sides.max(axis=0).tolist())
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
    return axis if spacing[axis] >= SLICE_FACTOR * max(others) else None


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
