"""A subject, the unit in which volumes travel, and what a source of subjects promises."""

import abc
import dataclasses
import functools
from collections.abc import Iterable, Mapping, Sequence
from typing import Protocol

import numpy as np

from lift_jax.data.intensity import IntensityProtocol
from lift_jax.data.volumes import Grid


@dataclasses.dataclass(frozen=True)
class Subject:
    """Registered channels of one subject on one canonical (RAS+) grid, in the units of their intensity protocols.

    Attributes:
      name: the subject's name, unique in its data set.
      images: channel to `[D, H, W]` float32 in the unit of the channel's protocol, exactly the protocol's background
        outside the foreground. Any non-empty subset of the data set's channels.
      affine: `[4, 4]` float64, voxel `(i, j, k)` of the canonical grid to millimeters; `image[k, j, i]`.
      mask: `[D, H, W]` bool, the body or brain, where it is given (by a file, or because the protocol needs one); None
        where the images themselves tell, see `foreground`.
      references: channel to `[D, H, W]`, what a prediction of the channel is compared with, where that differs from the
        image: in phantoms, the image without slice gains.
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
        return tuple(float(side) for side in np.linalg.norm(self.affine[:3, :3], axis=0)[::-1])

    def reference(self, channel: str) -> np.ndarray:
        """What a prediction of a channel is compared with, `[D, H, W]` float32."""
        return self.references.get(channel, self.images[channel])


def foreground(subject: Subject, channels: Iterable[str], protocols: Mapping[str, IntensityProtocol]) -> np.ndarray:
    """The foreground that some channels of a subject show, `[D, H, W]` bool.

    It is the subject's mask, or else where any of the channels is above its background. A channel that is to be
    predicted must not be among them.
    """
    if subject.mask is not None:
        return subject.mask
    shown = [subject.images[channel] > protocols[channel].background for channel in channels]
    return functools.reduce(np.logical_or, shown)


class SubjectSource(Protocol):
    """Subjects by index: one split of a data set.

    Attributes:
      names: unique names of the subjects, in the order of their indices.
      patients: the patient of each subject.
      protocols: channel to intensity protocol, in order, of all channels that are read.
    """

    names: Sequence[str]
    patients: Sequence[str]
    protocols: Mapping[str, IntensityProtocol]

    def channels(self, index: int) -> tuple[str, ...]:
        """The channels that subject `index` has, in the order of `protocols`."""

    def load(self, index: int, channels: Sequence[str] | None = None) -> Subject:
        """Reads or makes subject `index`, of its channels those that are named; raises UserError, naming the file."""

    def fingerprint(self, index: int) -> str:
        """A hex digest of all that determines subject `index`: the content of its files, or its seed; its protocols."""

    def geometry(self, index: int) -> Grid:
        """The grid on which results for subject `index` are written."""


@dataclasses.dataclass(frozen=True)
class TransformedSubjects(abc.ABC):
    """The subjects of a source, each changed by a subclass: a SubjectSource of the same names and channels.

    Attributes:
      subjects: the source.
    """

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

    @abc.abstractmethod
    def load(self, index: int, channels: Sequence[str] | None = None) -> Subject:
        """Reads or makes subject `index`, and changes it."""

    @abc.abstractmethod
    def fingerprint(self, index: int) -> str:
        """A hex digest of the subject's own fingerprint and of the change."""

    @abc.abstractmethod
    def geometry(self, index: int) -> Grid:
        """The grid of the changed subject."""
