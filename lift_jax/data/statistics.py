"""Statistics of foregrounds that a run keeps of its training data, and how another subject differs from them."""

from collections.abc import Iterable, Mapping

import numpy as np

from lift_jax.data.intensity import IntensityProtocol
from lift_jax.data.subject import Subject, foreground

QUANTILES = (0.05, 0.5, 0.95)
"""Fractions of a channel's foreground whose intensities are kept."""

SIZES = ("volume_ml", "box_d_mm", "box_h_mm", "box_w_mm")

SIZE_FACTOR = 1.35
"""Factor by which the size of a foreground may leave the range of the training data."""

INTENSITY_MARGIN = 0.15
"""Share of the protocol's range by which a new subject's quantiles may leave those of the training data."""


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
    spacing = subject.spacing
    statistics = {
        "volume_ml": float(np.count_nonzero(mask) * np.prod(spacing) / 1000),
        "share": float(mask.mean()),
    }
    for axis, (name, side) in enumerate(zip("dhw", spacing, strict=True)):
        used = np.flatnonzero(mask.any(axis=tuple({0, 1, 2} - {axis})))
        statistics[f"box_{name}_mm"] = float((used[-1] - used[0] + 1) * side)
    for channel in channels:
        protocol = protocols[channel]
        own = mask & (subject.images[channel] != protocol.background)
        if own.any():
            inside = (subject.images[channel][own].astype(np.float64) - protocol.low) / (protocol.high - protocol.low)
            values = np.quantile(inside, QUANTILES)
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
    warnings = []
    size = [
        name for name in ("volume_ml", "box_d_mm", "box_h_mm", "box_w_mm") if _size_differs(training, subject, name)
    ]
    if size:
        sizes = ", ".join(f"{_describe(name, subject[name])} ({_range(name, training[name])})" for name in size)
        larger = all(subject[name] > training[name][1] for name in size)
        remedy = "strip the skull, or give a mask" if larger else "check its field of view, units and mask"
        warnings.append(f"its foreground has {sizes} in training; {remedy}")
    for channel in sorted({name.rpartition("_q")[0] for name in subject if "_q" in name}):
        names = [f"{channel}_q{q}" for q in QUANTILES]
        if any(_intensity_differs(training, subject, name, margin) for name in names):
            here = ", ".join(f"{subject[name]:.2f}" for name in names if name in subject)
            there = ", ".join("{:.2f} to {:.2f}".format(*training[name]) for name in names if name in training)
            warnings.append(
                f"{channel}: its 5, 50 and 95 % quantiles in the foreground are {here} of the range, in training "
                f"{there}; check that it is the right contrast, prepared as the training data"
            )
    return warnings


def _size_differs(training, subject, name: str) -> bool:
    if name not in training or name not in subject:
        return False
    factor = SIZE_FACTOR if name.startswith("volume") else SIZE_FACTOR ** (1 / 2)
    low, high = training[name]
    return not low / factor <= subject[name] <= high * factor


def _intensity_differs(training, subject, name: str, margin: float) -> bool:
    if name not in training or name not in subject:
        return False
    low, high = training[name]
    return not low - margin <= subject[name] <= high + margin


def _describe(name: str, value: float) -> str:
    return f"{value:.0f} ml" if name == "volume_ml" else f"{value:.0f} mm along {name[4].upper()}"


def _range(name: str, bounds: list[float]) -> str:
    unit = "ml" if name == "volume_ml" else "mm"
    return "{:.0f} to {:.0f} {}".format(*bounds, unit)
