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


ORACLES = ("", "acquisition", "levels")
"""What a network may be told of a case beside its sources, nothing by default; see `side_information`."""


@dataclasses.dataclass(frozen=True)
class Case:
    """One subject: registered contrasts on one canonical (RAS+) grid, normalised to [0, 1] by the protocol.

    Attributes:
      name: the case's directory name, or a name made from seed and index.
      sources: `[D, H, W, C]` float32 in [0, 1]; what a model sees. A contrast that is not available is all zero.
      targets: `[D, H, W, C]` float32 in [0, 1]; what a model is to produce. The same array as `sources` for scanned
        data; free of slice gains in the phantom.
      available: `[C]` bool; which contrasts exist.
      affine: `[4, 4]` float64, voxel `(i, j, k)` of the canonical grid to millimetres; `sources[k, j, i]`.
      acquisition: `[A]` float32, the true acquisition parameters that the contrasts share, each varying by about one
        over volumes; None where nobody knows them.
      levels: `[2, tissues, C]` float32, flattened: the true level of each tissue in each source and target, or None.
      gains: `[D, C]` float32, the true factor on each slice of each source, or None likewise.
    """

    name: str
    sources: np.ndarray
    targets: np.ndarray
    available: np.ndarray
    affine: np.ndarray
    acquisition: np.ndarray | None = None
    levels: np.ndarray | None = None
    gains: np.ndarray | None = None

    def stored(self) -> tuple[dict, dict[str, np.ndarray]]:
        """Facts (`name`, `available`, `affine`) and arrays as the cache keeps them, volumes in half precision."""
        facts = {"name": self.name, "available": self.available.tolist(), "affine": self.affine.tolist()}
        arrays = {"sources": self.sources.astype(STORED_DTYPE)}
        if self.targets is self.sources:
            facts["same"] = {"targets": "sources"}
        else:
            arrays["targets"] = self.targets.astype(STORED_DTYPE)
        if self.acquisition is not None:
            arrays |= {"acquisition": self.acquisition, "levels": self.levels, "gains": self.gains}
        return facts, arrays


def side_information(
    oracle: str, acquisition: np.ndarray, levels: np.ndarray, gains: np.ndarray, wanted: int
) -> np.ndarray:
    """All that an oracle is told of each slice when contrast `wanted` is asked for, `[D, S]` float32.

    The slice's gains, and the same for every slice of the volume: to `acquisition`, the shared acquisition parameters;
    to `levels`, the true tissue levels of the wanted contrast and of all sources, which nobody can know who has not
    scanned that contrast. Centred and scaled to vary by about one: levels about a half by 4, gains about one by 10.
    """
    told = acquisition
    if oracle == "levels":
        source_levels, target_levels = levels.reshape(2, -1, gains.shape[1])
        told = 4 * (np.concatenate([target_levels[:, wanted], source_levels.ravel()]) - 0.5)
    volume = np.broadcast_to(told, (len(gains), told.size))
    return np.concatenate([volume, 10 * (gains - 1)], axis=1).astype(np.float32)


class CaseSource(Protocol):
    """Cases by index: one split of a data set."""

    names: Sequence[str]

    def load(self, index: int) -> StoredCase:
        """Reads or makes case `index`; raises UserError, naming the file, if it cannot be used."""

    def fingerprint(self, index: int) -> str:
        """A hex digest of all that determines case `index`: the content of its files, or its seed, and the protocol."""
