"""Cases in the layout of BraTS 2023: `<root>/<case>/<case>-{t1n,t1c,t2w,t2f}.nii.gz`, or `.nii`; `-seg` is ignored."""

import dataclasses
import hashlib
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from lift_jax.data.cases import CONTRASTS, Case
from lift_jax.data.intensities import CWDM_QUANTILES, normalise_cwdm
from lift_jax.data.nifti import GZIP_SUFFIX, PLAIN_SUFFIX
from lift_jax.data.regrid import regrid_brain
from lift_jax.data.volumes import Grid, describe_difference, read_header, read_volume
from lift_jax.errors import UserError

PROTOCOL = f"cwdm {CWDM_QUANTILES}, version 2"
"""What `BratsCases` makes of a file's voxels; goes into every fingerprint, so change it with the code."""

_LAYOUT = f"<root>/<case>/<case>-{{{','.join(CONTRASTS)}}}{GZIP_SUFFIX}"


def find_cases(root: str | os.PathLike) -> list[str]:
    """The names of the case directories under `root`, sorted; hidden directories and plain files are passed over.

    Raises:
      UserError: `root` is no directory, is itself a case, or holds no case.
    """
    root = Path(root)
    if not root.is_dir():
        raise UserError(f"{root}: no such folder; give the folder that holds the case folders")
    if contrast_paths(root.resolve().parent, root.resolve().name):
        raise UserError(f"{root}: is a case; give the folder that holds the case folders")
    try:
        names = sorted(entry.name for entry in root.iterdir() if entry.is_dir() and not entry.name.startswith("."))
    except OSError as error:
        raise UserError(f"{root}: cannot be listed ({error.strerror or error}); check its permissions") from None
    if not names:
        raise UserError(f"{root}: holds no case folder; the layout is {_LAYOUT}")
    return names


def contrast_paths(root: str | os.PathLike, name: str) -> dict[str, Path]:
    """The files of a case by contrast, those that exist, in the order of `CONTRASTS`; `.nii.gz` goes before `.nii`."""
    paths = {}
    for contrast in CONTRASTS:
        for suffix in (GZIP_SUFFIX, PLAIN_SUFFIX):
            path = Path(root) / name / f"{name}-{contrast}{suffix}"
            if path.exists():
                paths[contrast] = path
                break
    return paths


def check_split(root: str | os.PathLike, names: Sequence[str], required: Sequence[str] = ()) -> None:
    """Reads the header of every file of a split, so that a bad one is told at the start and not after hours.

    Args:
      root: the folder of the case folders.
      names: the cases to check.
      required: the contrasts that every case must have; a case without any contrast is always refused.

    Raises:
      UserError: cases cannot be used. Its first line says how many; one line for each problem follows.
    """
    problems = {name: list(_case_problems(Path(root), name, required)) for name in names}
    bad = [name for name in names if problems[name]]
    if bad:
        lines = [f"{root}: {len(bad)} of {len(names)} cases cannot be used; repair or remove them:"]
        raise UserError("\n".join(lines + [problem for name in bad for problem in problems[name]]))


def _case_problems(root: Path, name: str, required: Sequence[str]) -> Iterator[str]:
    """All that a case's file names and headers reveal, one line each."""
    try:
        paths = _required_paths(root, name, required)
    except UserError as error:
        yield str(error)
        paths = contrast_paths(root, name)
    reference = None
    for path in paths.values():
        try:
            grid = read_header(path)
            reference = reference or (path, grid)
            _check_same_grid(*reference, path, grid)
        except UserError as error:
            yield str(error)


def _required_paths(root: Path, name: str, required: Sequence[str]) -> dict[str, Path]:
    folder, paths = root / name, contrast_paths(root, name)
    if not folder.is_dir():
        raise UserError(f"{folder}: no such case folder; check the name of the case")
    if not paths:
        raise UserError(
            f"{folder}: holds none of the contrasts; name them {name}-{{{','.join(CONTRASTS)}}}{GZIP_SUFFIX}"
        )
    missing = [contrast for contrast in required if contrast not in paths]
    if missing:
        files = ", ".join(f"{name}-{contrast}{GZIP_SUFFIX}" for contrast in missing)
        raise UserError(f"{folder}: lacks {files}; add what is missing or leave the case out")
    return paths


def _check_same_grid(reference_path: Path, reference: Grid, path: Path, grid: Grid) -> None:
    difference = describe_difference(reference, grid)
    if difference:
        raise UserError(f"{path}: is not on the grid of {reference_path}: {difference}; resample it onto that grid")


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
            _check_same_grid(*reference, path, volume)
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
        return _required_paths(Path(self.root), self.names[index], self.required)
