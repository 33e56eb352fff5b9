"""Data sets that are made on demand: cases by seed and index."""

import abc
import dataclasses
import hashlib

from lift_jax.data.cases import StoredCase
from lift_jax.errors import UserError

SMALLEST_SIDE = 8
"""Voxels below which a grid holds no head."""


@dataclasses.dataclass(frozen=True)
class MadeCases(abc.ABC):
    """A source of made cases: those with indices `first` to `first + count - 1`; splits take disjoint ranges.

    Attributes:
      seed: of the whole data set.
      first: index of the first case.
      count: how many cases.
      shape: the grid `(D, H, W)`.
      spacing: voxel size in mm.

    Raises:
      UserError: a number is out of its range.
    """

    seed: int
    first: int
    count: int
    shape: tuple[int, int, int]
    spacing: float

    def __post_init__(self):
        if min(self.seed, self.first) < 0 or self.count < 1:
            raise UserError(
                f"phantom: seed={self.seed}, first={self.first}, count={self.count}: "
                "give a seed and first of 0 or more and a count of 1 or more"
            )
        check_grid(self.shape, self.spacing)

    @staticmethod
    @abc.abstractmethod
    def name_of(seed: int, index: int) -> str:
        """The name of case `index` of the data set."""

    @staticmethod
    @abc.abstractmethod
    def make(seed: int, index: int, shape: tuple[int, int, int], spacing: float) -> StoredCase:
        """Makes case `index` of the data set."""

    @staticmethod
    @abc.abstractmethod
    def version() -> tuple:
        """What tells the cases of this kind, as they are made now, from all others."""

    @property
    def names(self) -> list[str]:
        """Names of the cases, made from seed and index."""
        return [self.name_of(self.seed, self.first + index) for index in range(self.count)]

    def load(self, index: int) -> StoredCase:
        """Makes case `index` of this source, counted from 0."""
        return self.make(self.seed, self._global_index(index), self.shape, self.spacing)

    def fingerprint(self, index: int) -> str:
        """A hex digest of what determines case `index`: version, seed, index, shape and spacing."""
        known = (*self.version(), self.seed, self._global_index(index), tuple(self.shape), float(self.spacing))
        return hashlib.sha256(repr(known).encode()).hexdigest()

    def _global_index(self, index: int) -> int:
        if not 0 <= index < self.count:
            raise IndexError(f"case {index} of {self.count}")
        return self.first + index


def check_grid(shape: tuple[int, int, int], spacing: float) -> None:
    """Raises UserError if a grid can hold no volume."""
    if len(shape) != 3 or min(shape) < SMALLEST_SIDE or not spacing > 0:
        raise UserError(
            f"phantom: shape={tuple(shape)}, spacing={spacing}: "
            f"give three sides of at least {SMALLEST_SIDE} voxels and a spacing in mm above 0"
        )
