"""The box around a subject's foreground, outside of which nothing is computed, cached or trained on."""

import dataclasses
import hashlib
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from lift_jax.data.foreground import bounding_box
from lift_jax.data.subject import Subject, TransformedSubjects, foreground
from lift_jax.data.volumes import Grid, new_geometry

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
        return tuple(stop - start for start, stop in zip(self.start, self.stop, strict=True))

    @property
    def slices(self) -> tuple[slice, slice, slice]:
        """What cuts the box out of `[D, H, W, …]`."""
        return tuple(slice(start, stop) for start, stop in zip(self.start, self.stop, strict=True))


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

    def cut(array: np.ndarray | None) -> np.ndarray | None:
        return None if array is None else array[box.slices]

    affine = subject.affine.copy()
    affine[:3, 3] += affine[:3, :3] @ np.array(box.start[::-1])
    return dataclasses.replace(
        subject,
        images={channel: cut(image) for channel, image in subject.images.items()},
        references={channel: cut(image) for channel, image in subject.references.items()},
        affine=affine,
        mask=cut(subject.mask),
        segmentation=cut(subject.segmentation),
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
