"""Cases in the layout of BraTS 2023: `<root>/<case>/<case>-{t1n,t1c,t2w,t2f}.nii.gz`, or `.nii`; `-seg` is ignored."""

import dataclasses
import hashlib
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np

from lift_jax.data.cases import CONTRASTS, Case
from lift_jax.data.intensities import CWDM_QUANTILES, check_cwdm, normalise_cwdm
from lift_jax.data.layouts import Layout, check_same_grid
from lift_jax.data.regrid import regrid_brain
from lift_jax.data.volumes import Grid, Volume, read_header, read_volume
from lift_jax.errors import UserError

PROTOCOL = f"cwdm {CWDM_QUANTILES}, version 2"
"""What `BratsCases` makes of a file's voxels; goes into every fingerprint, so change it with the code."""

BRATS = Layout(CONTRASTS, "{case}-{kind}")
"""Every folder is a case; any contrast of it may be missing, but not all."""


def find_cases(root: str | os.PathLike) -> list[str]:
    """The names of the case directories under `root`, sorted; hidden directories and plain files are passed over.

    Raises:
      UserError: `root` is no directory, is itself a case, or holds no case.
    """
    return BRATS.names(root)


def contrast_paths(root: str | os.PathLike, name: str) -> dict[str, Path]:
    """The files of a case by contrast, those that exist, in the order of `CONTRASTS`.

    Raises:
      UserError: a contrast is there twice, for instance as `.nii.gz` and as `.nii`.
    """
    return BRATS.paths(root, name)


def check_split(root: str | os.PathLike, names: Sequence[str], required: Sequence[str] = ()) -> None:
    """Reads the header of every file of a split, so that a bad one is told at the start and not after hours.

    Args:
      root: the folder of the case folders.
      names: the cases to check.
      required: the contrasts that every case must have; a case without any contrast is always refused.

    Raises:
      UserError: cases cannot be used. Its first line says how many; one line for each problem follows.
    """
    BRATS.check(root, names, required)


def problems_of_contrasts(paths: Mapping[str, Path], volumes: Mapping[str, Volume]) -> Iterator[str]:
    """Why the voxels of a case, whose volumes could be read, cannot be used: one line for each contrast."""
    for contrast, volume in volumes.items():
        try:
            check_cwdm(volume.array)
        except ValueError as error:
            yield f"{paths[contrast]}: {error}"


@dataclasses.dataclass(frozen=True)
class BratsCases:
    """Scanned cases of one split, a CaseSource: contrasts on one grid, each normalised by the cWDM protocol.

    Attributes:
      root: the folder of the case folders.
      names: the cases, in the order of their indices.
      required: contrasts that every case must have; the others may be missing, and are then zero and not available.
      spacing: the side in millimetres of the cubic voxels to which volumes are resampled before they are normalised;
        None keeps the grid of the files.
    """

    root: str | os.PathLike
    names: Sequence[str]
    required: Sequence[str] = ()
    spacing: float | None = None

    def load(self, index: int) -> Case:
        """Reads case `index`; `sources` and `targets` are one array.

        Raises:
          UserError: a required file is missing, a file cannot be used, or the contrasts are not on one grid.
        """
        paths = self._paths(index)
        volumes, reference = [], None
        for path in paths.values():
            volume = read_volume(path)
            reference = reference or (path, volume)
            check_same_grid(*reference, path, volume)
            volumes.append(volume.array)
        arrays, affine = np.maximum(np.stack(volumes, axis=-1), 0), reference[1].affine
        if self.spacing is not None:
            arrays, affine = regrid_brain(arrays, affine, self.spacing)
        sources = np.zeros((*arrays.shape[:3], len(CONTRASTS)), np.float32)
        for i, (contrast, path) in enumerate(paths.items()):
            try:
                sources[..., CONTRASTS.index(contrast)] = normalise_cwdm(arrays[..., i])
            except ValueError as error:
                raise UserError(f"{path}: {error}") from None
        available = np.array([contrast in paths for contrast in CONTRASTS])
        return Case(self.names[index], sources, sources, available, affine)

    def fingerprint(self, index: int) -> str:
        """A hex digest of the case's name, the bytes of its files, the protocol and the spacing.

        Raises:
          UserError: a file is missing or cannot be read.
        """
        digest = hashlib.blake2b(f"{PROTOCOL}, spacing {self.spacing}".encode(), digest_size=16)
        digest.update(os.fsencode(self.names[index]))
        for contrast, path in self._paths(index).items():
            try:
                with open(path, "rb") as file:
                    digest.update(contrast.encode() + hashlib.file_digest(file, "blake2b").digest())
            except OSError as error:
                raise UserError(f"{path}: cannot be read ({error.strerror or error}); check its permissions") from None
        return digest.hexdigest()

    def geometry(self, index: int) -> Grid:
        """The grid of the first available contrast as its file has it, on which results for the case are written."""
        return read_header(next(iter(self._paths(index).values())))

    def _paths(self, index: int) -> dict[str, Path]:
        return BRATS.paths(self.root, self.names[index], self.required)
