"""Warnings that need all channels of a subject: parts that a channel lacks, and two channels that are one image."""

import functools
import itertools
from collections.abc import Mapping

import numpy as np
from scipy import ndimage

from lift_jax.data.foreground import bounding_box, fill_holes
from lift_jax.data.intensity import IntensityProtocol
from lift_jax.data.subject import Subject

MISSING_SHARE = 0.1
"""Share of the foreground that a channel may lack before that is a warning."""

HOLE_SHARE = 1e-3
"""Share of the foreground that solid holes of a channel may make up."""

SAME_CORRELATION = 0.9999
"""Correlation in the foreground from which on two channels are the same image; T1 before and after contrast have
less than 0.99."""


def channel_warnings(volumes: Mapping[str, np.ndarray], foregrounds: Mapping[str, np.ndarray]) -> dict[str, list[str]]:
    """What deserves a look in the channels of one subject, each the end of a line `FILE: ...`.

    Args:
      volumes: channel to `[D, H, W]`, in any unit.
      foregrounds: channel to `[D, H, W]` bool, as `subject_foreground` finds them.

    Returns:
      Channel to its warnings; every channel is there.
    """
    warnings = {channel: [] for channel in volumes}
    union = functools.reduce(np.logical_or, foregrounds.values())
    box = bounding_box(union)
    solid = fill_holes(union[box])
    for channel, mask in foregrounds.items():
        if warning := _coverage_warning(mask[box], union[box], solid):
            warnings[channel].append(warning)
    sample = np.flatnonzero(union.ravel())
    sample = sample[:: max(1, sample.size // 100_000)]
    values = {channel: volume.ravel()[sample].astype(np.float64) for channel, volume in volumes.items()}
    for first, second in itertools.combinations(volumes, 2):
        if _correlation(values[first], values[second]) > SAME_CORRELATION:
            warnings[second].append(f"shows the same image as {first}; is it a copy? give the channel's own scan")
    return warnings


def subject_warnings(subject: Subject, protocols: Mapping[str, IntensityProtocol]) -> list[str]:
    """The same of a subject in the units of its protocols, as whole lines `SUBJECT, CHANNEL: ...`."""
    if subject.mask is not None:
        masks = dict.fromkeys(subject.images, fill_holes(subject.mask))  # holes of a mask are meant
    else:
        masks = {channel: image > protocols[channel].background for channel, image in subject.images.items()}
    warnings = channel_warnings({channel: subject.images[channel] for channel in masks}, masks)
    return [f"{subject.name}, {channel}: {text}" for channel, lines in warnings.items() for text in lines]


def _coverage_warning(mask: np.ndarray, union: np.ndarray, solid: np.ndarray) -> str | None:
    total = np.count_nonzero(union)
    missing = np.count_nonzero(union & ~mask) / max(1, total)
    if missing > MISSING_SHARE:
        return (
            f"lacks {missing:.0%} of the foreground that other channels show; the part is treated as background; "
            "give a scan that covers the same field of view, or leave the channel out"
        )
    holes = (solid & ~mask).astype(np.uint8)
    holes = ndimage.maximum_filter(ndimage.minimum_filter(holes, 3), 3)  # an opening: a rim is no hole
    if (count := np.count_nonzero(holes)) > HOLE_SHARE * total:
        return (
            f"has holes of {count} voxels at the value of its background inside its foreground; they are treated as "
            "background; check how it was masked"
        )
    return None


def _correlation(first: np.ndarray, second: np.ndarray) -> float:
    first, second = first - first.mean(), second - second.mean()
    norm = np.sqrt((first @ first) * (second @ second))
    return float(first @ second / norm) if norm > 0 else 0.0
