"""A case, the unit in which volumes travel, and what a source of cases promises."""

import dataclasses
from collections.abc import Sequence
from typing import Protocol

import numpy as np

CONTRASTS = ("t1n", "t1c", "t2w", "t2f")
"""The four MR contrasts in BraTS 2023 names, in the order of every channel axis."""

STORED_DTYPE = np.float16
"""Half precision resolves 1/2048 of an intensity near 1, below the noise of any scanner, in half the space."""


class StoredCase(Protocol):
    """A case of any task, which knows how it is kept in the cache."""

    name: str

    def stored(self) -> tuple[dict, dict[str, np.ndarray]]:
        """Facts, which JSON can hold, and arrays by name; an array that `facts["same"]` renames is stored once."""


@dataclasses.dataclass(frozen=True)
class Case:
    """One subject: registered contrasts on one canonical (RAS+) grid, normalized to [0, 1] by the protocol.

    Attributes:
      name: the case's directory name, or a name made from seed and index.
      sources: `[D, H, W, C]` float32 in [0, 1]; what a model sees. A contrast that is not available is all zero.
      targets: `[D, H, W, C]` float32 in [0, 1]; what a model is to produce. The same array as `sources` for scanned
        data; free of slice gains in the phantom.
      available: `[C]` bool; which contrasts exist.
      affine: `[4, 4]` float64, voxel `(i, j, k)` of the canonical grid to millimeters; `sources[k, j, i]`.
    """

    name: str
    sources: np.ndarray
    targets: np.ndarray
    available: np.ndarray
    affine: np.ndarray

    def stored(self) -> tuple[dict, dict[str, np.ndarray]]:
        """Facts (`name`, `available`, `affine`) and arrays as the cache keeps them, volumes in half precision."""
        facts = {"name": self.name, "available": self.available.tolist(), "affine": self.affine.tolist()}
        arrays = {"sources": self.sources.astype(STORED_DTYPE)}
        if self.targets is self.sources:
            facts["same"] = {"targets": "sources"}
        else:
            arrays["targets"] = self.targets.astype(STORED_DTYPE)
        return facts, arrays


class CaseSource(Protocol):
    """Cases by index: one split of a data set."""

    names: Sequence[str]

    def load(self, index: int) -> StoredCase:
        """Reads or makes case `index`; raises UserError, naming the file, if it cannot be used."""

    def fingerprint(self, index: int) -> str:
        """A hex digest of all that determines case `index`: the content of its files, or its seed, and the protocol."""
