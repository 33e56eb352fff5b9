"""Subjects of noise, of any size and with a brain's share of foreground, for benchmarks that need no anatomy."""

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np

from lift_jax.data.intensity import IntensityProtocol
from lift_jax.data.subject import Subject


@dataclasses.dataclass(frozen=True)
class Balls:
    """A SubjectSource of noise inside a ball that fills 17 % of a volume, as a brain does."""

    names: Sequence[str]
    protocols: Mapping[str, IntensityProtocol]
    shape: tuple[int, int, int]

    @property
    def patients(self) -> Sequence[str]:
        """Every subject is its own patient."""
        return self.names

    def channels(self, index: int) -> tuple[str, ...]:
        """All channels."""
        return tuple(self.protocols)

    def load(self, index: int, channels: Sequence[str] | None = None) -> Subject:
        """Makes subject `index`."""
        axes = np.meshgrid(*[np.linspace(-1, 1, n, dtype=np.float32) for n in self.shape], indexing="ij", sparse=True)
        inside = sum(axis**2 for axis in axes) < 0.47
        rng = np.random.default_rng(index)
        images = {channel: rng.random(self.shape, np.float32) * inside for channel in channels or self.protocols}
        return Subject(self.names[index], images, np.eye(4))

    def fingerprint(self, index: int) -> str:
        """The subject's name."""
        return self.names[index]
