"""A subject, the unit in which volumes travel, what a source of subjects promises, and the box around a foreground."""

import dataclasses
import functools
import hashlib
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple, Protocol

import numpy as np

from lift_jax.data.foreground import bounding_box
from lift_jax.data.geometry import Grid, new_geometry, voxel_sides
from lift_jax.data.intensity import IntensityProtocol


@dataclasses.dataclass(frozen=True)
class Subject:
    """Registered channels of one subject on one canonical (RAS+) grid, in the units of their intensity protocols.

    Attributes:
      name: the subject's name, unique in its data set.
      images: channel to `[D, H, W]` float32 in the unit of the channel's protocol, exactly the protocol's background
        outside the foreground. Any non-empty subset of the data set's channels.
      affine: `[4, 4]` float64, voxel `(i, j, k)` of the canonical grid to millimeters; `image[k, j, i]`.
      mask: `[D, H, W]` bool, the body or brain; None where the images show it, see `foreground`.
      references: channel to `[D, H, W]`, the target of a prediction where that is not the image (in phantoms, without
        slice gains).
      segmentation: `[D, H, W]` uint8 labels, 0 healthy; or None.
    """

    name: str
    images: Mapping[str, np.ndarray]
    affine: np.ndarray
    mask: np.ndarray | None = None
    references: Mapping[str, np.ndarray] = dataclasses.field(default_factory=dict)
    segmentation: np.ndarray | None = None

    @property
    def shape(self) -> tuple[int, int, int]:
        """Slices, rows and columns `(D, H, W)`."""
        return next(iter(self.images.values())).shape

    @property
    def spacing(self) -> tuple[float, float, float]:
        """Voxel sides in millimeters along `(D, H, W)`."""
        return voxel_sides(self.affine)

    def reference(self, channel: str) -> np.ndarray:
        """What a prediction of a channel is compared with, `[D, H, W]` float32."""
        return self.references.get(channel, self.images[channel])


def foreground(subject: Subject, channels: Iterable[str], protocols: Mapping[str, IntensityProtocol]) -> np.ndarray:
    """The subject's mask, or else where any of the channels, no target among them, is above background: `[D, H, W]`."""
    if subject.mask is not None:
        return subject.mask
    shown = [subject.images[channel] > protocols[channel].background for channel in channels]
    return functools.reduce(np.logical_or, shown)


class SubjectSource(Protocol):
    """Subjects by index: one split of a data set."""

    @property
    def names(self) -> Sequence[str]:
        """Unique names of the subjects, in the order of their indices."""

    @property
    def patients(self) -> Sequence[str]:
        """The patient of each subject."""

    @property
    def protocols(self) -> Mapping[str, IntensityProtocol]:
        """Channel to intensity protocol, in order, of all channels that are read."""

    def channels(self, index: int) -> tuple[str, ...]:
        """The channels that subject `index` has, in the order of `protocols`."""

    def load(self, index: int, channels: Sequence[str] | None = None) -> Subject:
        """Reads or makes subject `index`, of its channels those that are named; raises UserError, naming the file."""

    def fingerprint(self, index: int) -> str:
        """A hex digest of all that determines subject `index`: the content of its files, or its seed; its protocols."""

    def geometry(self, index: int) -> Grid:
        """The grid on which results for subject `index` are written."""


@dataclasses.dataclass(frozen=True)
class TransformedSubjects:
    """The subjects of a source; a subclass that adds `load`, `fingerprint` and `geometry` is a SubjectSource."""

    subjects: SubjectSource

    @property
    def names(self) -> Sequence[str]:
        """Names of the subjects."""
        return self.subjects.names

    @property
    def patients(self) -> Sequence[str]:
        """The patient of each subject."""
        return self.subjects.patients

    @property
    def protocols(self) -> Mapping[str, IntensityProtocol]:
        """Channel to intensity protocol."""
        return self.subjects.protocols

    def channels(self, index: int) -> tuple[str, ...]:
        """The channels that subject `index` has."""
        return self.subjects.channels(index)


MARGIN = (0, 2, 2)
"""Slices, rows and columns of background around the foreground, which tell a 2D network where it ends."""

STEP = (8, 16, 8)
"""Sides of boxes are multiples of this, so that many subjects share few compiled programs."""


class Box(NamedTuple):
    """Ranges of slices, rows and columns of a grid `(D, H, W)`."""

    start: tuple[int, int, int]
    stop: tuple[int, int, int]

    @property
    def shape(self) -> tuple[int, int, int]:
        """Slices, rows and columns inside."""
        depth, height, width = (stop - start for start, stop in zip(self.start, self.stop, strict=True))
        return depth, height, width

    @property
    def slices(self) -> tuple[slice, slice, slice]:
        """What cuts the box out of `[D, H, W, …]`."""
        depth, height, width = map(slice, self.start, self.stop)
        return depth, height, width


def foreground_box(
    mask: np.ndarray, *, margin: tuple[int, int, int] = MARGIN, step: tuple[int, int, int] = STEP
) -> Box:
    """The box around a mask `[D, H, W]`, inside the grid; the whole grid where the mask is empty.

    Args:
      mask: the foreground.
      margin: slices, rows and columns around it on either side, as far as there are any.
      step: sides are rounded up to multiples of it, or to the side of the grid where that is less.
    """
    starts, stops = [], []
    for found, side, around, multiple in zip(bounding_box(mask), mask.shape, margin, step, strict=True):
        low, high, _ = found.indices(side)
        low, high = max(low - around, 0), min(high + around, side)
        length = min(-(-(high - low) // multiple) * multiple, side)
        low = min(max(low - (length - (high - low)) // 2, 0), side - length)
        starts.append(low)
        stops.append(low + length)
    return Box(tuple(starts), tuple(stops))


def crop(subject: Subject, box: Box) -> Subject:
    """The part of a subject inside a box; its affine places it where it was."""

    affine = subject.affine.copy()
    affine[:3, 3] += affine[:3, :3] @ np.array(box.start[::-1])
    return dataclasses.replace(
        subject,
        images={channel: image[box.slices] for channel, image in subject.images.items()},
        references={channel: image[box.slices] for channel, image in subject.references.items()},
        affine=affine,
        mask=None if subject.mask is None else subject.mask[box.slices],
        segmentation=None if subject.segmentation is None else subject.segmentation[box.slices],
    )


class BoxedSubjects(TransformedSubjects):
    """Subjects cropped to the box around all that their channels show, a SubjectSource."""

    def load(self, index: int, channels: Sequence[str] | None = None) -> Subject:
        """Reads or makes subject `index`, and crops it."""
        subject = self.subjects.load(index, channels)
        return crop(subject, foreground_box(foreground(subject, subject.images, self.protocols)))

    def fingerprint(self, index: int) -> str:
        """A hex digest of the subject's own fingerprint and of how boxes are found."""
        return hashlib.sha256(repr((self.subjects.fingerprint(index), "box", MARGIN, STEP)).encode()).hexdigest()

    def geometry(self, index: int) -> Grid:
        """The grid inside the box."""
        subject = self.load(index)
        return new_geometry(subject.shape, subject.affine)
