"""Errors and warnings of a data set, of every subject at once, by reading alone: `lift-jax check`."""

import dataclasses
import functools
import itertools
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from warnings import catch_warnings, simplefilter

import numpy as np
from scipy import ndimage

from lift_jax.data.foreground import bounding_box, fill_holes
from lift_jax.data.geometry import Grid, geometry_warnings
from lift_jax.data.intensity import IntensityProtocol
from lift_jax.data.naming import MASK, SEGMENTATION, SubjectFiles
from lift_jax.data.scans import compare_grids, files_of, find_masks, read_labels
from lift_jax.data.subject import Subject
from lift_jax.data.volumes import Volume, read_header, read_volume
from lift_jax.errors import DataWarning, UserError

THICK = 3.0
"""Longest over shortest voxel side from which on slices are reported as thick."""

SMALL_SIDE = 16
"""Voxels along an axis below which a volume is reported as small."""


@dataclasses.dataclass(frozen=True)
class SubjectIssues:
    """What was found of a subject.

    Attributes:
      name: of the subject.
      channels: those that are there, and the mask and segmentation.
      grid: of the first file that has a usable header, or None.
      size: bytes of the files.
      errors: what makes training refuse it, one line each that names the file and the remedy.
      warnings: what is accepted and deserves a look.
    """

    name: str
    channels: tuple[str, ...]
    grid: Grid | None
    size: int
    errors: tuple[str, ...]
    warnings: tuple[str, ...]


def check_subjects(
    subjects: Sequence[SubjectFiles],
    protocols: Mapping[str, IntensityProtocol],
    required: Sequence[str] = (),
    *,
    headers_only: bool = False,
    threads: int = 1,
    compare: Callable[[SubjectFiles], list[str]] | None = None,
) -> Iterator[SubjectIssues]:
    """Reads all subjects and nothing but reads; yields what is found of each, in order.

    Args:
      subjects: their files.
      protocols: channel to intensity protocol.
      required: channels, `mask` or `segmentation` that every subject must have.
      headers_only: leave the voxels on disk.
      threads: subjects that are read at once, and are in memory meanwhile.
      compare: further warnings about a subject without errors, whole lines.
    """

    def issues(files: SubjectFiles) -> SubjectIssues:
        found = _issues(files, protocols, required, headers_only)
        further = () if compare is None or found.errors else compare(files)
        return dataclasses.replace(found, warnings=(*found.warnings, *further))

    with catch_warnings(), ThreadPoolExecutor(threads) as pool:
        simplefilter("ignore", DataWarning)  # what readers warn about is listed
        yield from pool.map(issues, subjects)


def _issues(files: SubjectFiles, protocols, required: Sequence[str], headers_only: bool) -> SubjectIssues:
    paths = files_of(files)
    errors = [
        f"{next(iter(files.channels.values())).parent}: {files.name} lacks {kind}; add it"
        for kind in required
        if kind not in paths
    ]
    warnings: list[str] = []
    grids: dict[str, Grid] = {}
    for kind, path in paths.items():
        try:
            grid = read_header(path) if headers_only else read_volume(path)
        except UserError as error:
            errors.append(str(error))
            continue
        warnings += [f"{path}: {warning}" for warning in grid_warnings(grid)]
        first = next(iter(grids), kind)
        difference, offset = compare_grids(paths[first], grids.get(first, grid), path, grid)
        warnings += [offset] if offset else []
        if difference:
            errors.append(difference)
        else:
            grids[kind] = grid
    volumes = {kind: grid.array for kind, grid in grids.items() if isinstance(grid, Volume)}
    if volumes:
        of_voxels = voxel_issues(files, volumes, protocols)
        errors, warnings = [*errors, *of_voxels[0]], [*warnings, *of_voxels[1]]
    size = sum(os.path.getsize(path) for path in paths.values() if os.path.isfile(path))
    shown = next((Grid(grid.shape, grid.affine, grid.header) for grid in grids.values()), None)
    return SubjectIssues(files.name, tuple(paths), shown, size, tuple(errors), tuple(warnings))


def voxel_issues(
    files: SubjectFiles, volumes: Mapping[str, np.ndarray], protocols: Mapping[str, IntensityProtocol]
) -> tuple[list[str], list[str]]:
    """Errors and warnings about the voxels of a subject whose volumes `[D, H, W]` are on one grid."""
    errors: list[str] = []
    arrays = {channel: volumes[channel] for channel in protocols if channel in volumes}
    if files.segmentation and SEGMENTATION in volumes:
        try:
            read_labels(files.segmentation, lambda path: volumes[SEGMENTATION])
        except UserError as error:
            errors.append(str(error))
    if not arrays:
        return errors, []
    try:
        explicit, masks, warnings = find_masks(files, arrays, volumes.get(MASK), protocols)
    except UserError as error:
        return [*errors, str(error)], []
    for channel, mask in masks.items():
        of_channel = protocols[channel].check(arrays[channel], mask)
        errors += [f"{files.channels[channel]}: {text}" for text in of_channel[0]]
        warnings += [f"{files.channels[channel]}: {text}" for text in of_channel[1]]
    if explicit is not None:
        masks = dict.fromkeys(masks, fill_holes(explicit))  # a mask may have holes, which are then meant
    masks = {channel: mask for channel, mask in masks.items() if mask.any()}  # of the others there is an error
    comparable = {channel: arrays[channel] for channel in masks}
    for channel, lines in channel_warnings(comparable, masks).items() if masks else ():
        warnings += [f"{files.channels[channel]}: {text}" for text in lines]
    return errors, warnings


def grid_warnings(grid: Grid) -> Iterator[str]:
    """What deserves a look in a header that can be used."""
    spacing, shape = grid.spacing, grid.shape
    if max(spacing) >= THICK * min(spacing):
        yield f"its voxels are {format_shape(spacing[::-1], '.3g')} mm, thick along one axis; they are used as they are"
    if min(shape) < SMALL_SIDE:
        yield f"has {format_shape(shape[::-1])} voxels, few for a volume; is it a part of one?"
    yield from geometry_warnings(grid.header)


def format_shape(numbers: Iterable[float], form: str = "") -> str:
    """Numbers as `1x2x3`."""
    return "x".join(format(number, form) for number in numbers)


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
    warnings: dict[str, list[str]] = {channel: [] for channel in volumes}
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
    total = int(np.count_nonzero(union))
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


if __name__ == "__main__":
    from lift_jax.cli import main

    main("check")
