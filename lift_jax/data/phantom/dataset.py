"""The embedded data sets as sources of subjects: brains in four MR channels, heads in MR and CT."""

import dataclasses
import hashlib
import types
from collections.abc import Mapping, Sequence

import numpy as np

from lift_jax.data.datasets import BRATS_CHANNELS
from lift_jax.data.geometry import Grid, new_geometry
from lift_jax.data.intensity import IntensityProtocol
from lift_jax.data.phantom import brain, head
from lift_jax.data.phantom.fields import check_grid, grid_affine
from lift_jax.data.subject import Subject
from lift_jax.errors import UserError


@dataclasses.dataclass(frozen=True)
class PhantomSubjects:
    """Made subjects with the indices `first` to `first + count - 1`, a SubjectSource; splits take disjoint ranges.

    Attributes:
      kind: `phantom` or `phantom_head`.
      protocols: channel to intensity protocol, of the channels that are made.
      seed: of the whole data set.
      first: index of the first subject.
      count: how many subjects.
      shape: the grid `(D, H, W)`.
      spacing: voxel size in mm.

    Raises:
      UserError: a number is out of its range.
    """

    kind: str
    protocols: Mapping[str, IntensityProtocol]
    seed: int
    first: int
    count: int
    shape: tuple[int, int, int]
    spacing: float

    def __post_init__(self):
        if min(self.seed, self.first) < 0 or self.count < 1:
            raise UserError(
                f"{self.kind}: seed={self.seed}, first={self.first}, count={self.count}: "
                "give a seed and first of 0 or more and a count of 1 or more"
            )
        check_grid(self.shape, self.spacing)

    @property
    def names(self) -> list[str]:
        """Names of the subjects, made from seed and index."""
        return [self._maker.name_of(self.seed, self.first + index) for index in range(self.count)]

    @property
    def patients(self) -> list[str]:
        """Every subject is its own patient."""
        return self.names

    def channels(self, index: int) -> tuple[str, ...]:
        """All channels."""
        return tuple(self.protocols)

    def load(self, index: int, channels: Sequence[str] | None = None) -> Subject:
        """Makes subject `index` of this source, counted from 0."""
        chosen = [channel for channel in self.protocols if channels is None or channel in channels]
        if not 0 <= index < self.count:
            raise IndexError(f"subject {index} of {self.count}")
        scanned = self.seed, self.first + index, self.shape, self.spacing
        if self.kind == "phantom":
            made = brain.make_phantom(*scanned)
            where = {channel: list(BRATS_CHANNELS).index(channel) for channel in chosen}
            images = {channel: np.ascontiguousarray(made.sources[..., i]) for channel, i in where.items()}
            references = {channel: np.ascontiguousarray(made.targets[..., i]) for channel, i in where.items()}
            return Subject(made.name, images, made.affine, references=references)
        whole = head.make_phantom_head(*scanned)
        images = {"mr": whole.mr} if "mr" in chosen else {}
        if "mr_t2" in chosen:
            images["mr_t2"] = head.make_t2_weighted(*scanned)
        if "ct" in chosen:
            images["ct"] = self.protocols["ct"].normalize(whole.ct, whole.mask)
        return Subject(whole.name, {channel: images[channel] for channel in chosen}, whole.affine, whole.mask)

    def fingerprint(self, index: int) -> str:
        """A hex digest of what determines subject `index`: version, seed, index, grid and channels."""
        made = self._maker.VERSION, self.seed, self.first + index, tuple(self.shape), float(self.spacing)
        known = (self.kind, *made, tuple(self.protocols.items()))
        return hashlib.sha256(repr(known).encode()).hexdigest()

    def geometry(self, index: int) -> Grid:
        """The grid of every subject."""
        return new_geometry(self.shape, grid_affine(self.shape, self.spacing))

    @property
    def _maker(self) -> types.ModuleType:
        return brain if self.kind == "phantom" else head
