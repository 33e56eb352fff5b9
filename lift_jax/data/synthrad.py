"""Pairs in the layout of SynthRAD2023 Task 1: `<root>/<case>/{mr,ct,mask}.nii.gz`, or `.nii`; CT in HU."""

import dataclasses
import hashlib
import os
import warnings
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
from scipy import ndimage

from lift_jax.data.hounsfield import HOUNSFIELD_RANGE, MR_QUANTILE, doubts_about_hounsfield, normalise_mr
from lift_jax.data.layouts import Layout, check_same_grid
from lift_jax.data.paired_cases import PairedCase
from lift_jax.data.regrid import regrid_to_shape
from lift_jax.data.splits import ranked
from lift_jax.data.volumes import Grid, Volume, read_header, read_volume, same_grid
from lift_jax.errors import DataWarning, UserError

PROTOCOL = f"synthrad2023 {MR_QUANTILE} {HOUNSFIELD_RANGE}, version 1"
"""What `SynthradCases` makes of a file's voxels; goes into every fingerprint, so change it with the code."""

KINDS = ("mr", "ct", "mask")

TEST_FRACTION = 0.2
"""Share of the cases that test: 36 of the 180 of SynthRAD2023's brain task, which leaves 144."""

VALIDATION_CASES = 4
"""Of the 144, those that are only looked at during training; they do not choose a checkpoint."""

SYNTHRAD = Layout(KINDS, "{kind}", always=("mr",), strangers=True)
"""Folders without a file of a pair, such as SynthRAD's `overview`, are no cases."""


def find_pairs(root: str | os.PathLike) -> list[str]:
    """The names of the case directories under `root`, sorted: those that hold a file of a pair.

    Folders without one, such as SynthRAD's `overview`, are passed over.

    Raises:
      UserError: `root` is no directory, is itself a case, or holds no case.
    """
    return SYNTHRAD.names(root)


def pair_paths(root: str | os.PathLike, name: str) -> dict[str, Path]:
    """The files of a case by kind, those that exist, in the order of `KINDS`.

    Raises:
      UserError: a kind is there twice, for instance as `.nii.gz` and as `.nii`.
    """
    return SYNTHRAD.paths(root, name)


def split_synthrad(names: Iterable[str]) -> dict[str, list[str]]:
    """144 to train, of which 4 validate, and 36 to test, of SynthRAD's 180; the same shares of any other number.

    Cases are ranked by a hash of their names, as `splits.split_cases` ranks them; the first test.

    Raises:
      UserError: there are fewer than three cases.
    """
    order = ranked(names)
    test = max(1, int(np.floor(len(order) * TEST_FRACTION + 0.5)))
    held_out = test + max(1, min(VALIDATION_CASES, (len(order) - test) // 4))
    parts = {"train": order[held_out:], "validation": order[test:held_out], "test": order[:test]}
    return {split: sorted(members) for split, members in parts.items()}


def check_pairs(root: str | os.PathLike, names: Sequence[str], required: Sequence[str] = ()) -> None:
    """Reads the header of every file of a split, so that a bad one is told at the start and not after hours.

    Args:
      root: the folder of the case folders.
      names: the cases to check.
      required: what every case must have beside its MR, of `ct` and `mask`.

    Raises:
      UserError: cases cannot be used. Its first line says how many; one line for each problem follows.
    """
    SYNTHRAD.check(root, names, required)


def problems_of_pair(paths: Mapping[str, Path], volumes: Mapping[str, Volume]) -> Iterator[str]:
    """Why the voxels of a case, as far as its volumes could be read, cannot be used: one line each."""
    needed = ("mr", "mask") if "mask" in paths else ("mr",)
    if not all(kind in volumes and same_grid(volumes["mr"], volumes[kind]) for kind in needed):
        return  # a file that cannot be read, or is on another grid, is told of elsewhere
    try:
        _scaled_mr(paths["mr"], volumes["mr"].array, _mask(paths, volumes))
    except UserError as error:
        yield str(error)


def doubts_about_pair(paths: Mapping[str, Path], volumes: Mapping[str, Volume]) -> Iterator[str]:
    """What deserves a look in the voxels of a case that can be used: one line each."""
    if "mask" not in paths:
        yield f"{paths['mr']}: has no mask beside it; the body was found by threshold, check its outline"
    if "ct" in volumes and (doubt := doubts_about_hounsfield(volumes["ct"].array)):
        yield f"{paths['ct']}: {doubt}; is the CT in Hounsfield units?"


@dataclasses.dataclass(frozen=True)
class SynthradCases:
    """Scanned pairs of one split, a CaseSource: MR scaled inside the mask, CT in Hounsfield units.

    Attributes:
      root: the folder of the case folders.
      names: the cases, in the order of their indices.
      required: what every case must have beside its MR, of `ct` and `mask`; a body without mask is found by threshold.
      side: volumes are resampled to so many voxels along each axis, over the same field of view; None keeps the grid of
        the files.
    """

    root: str | os.PathLike
    names: Sequence[str]
    required: Sequence[str] = ()
    side: int | None = None

    def load(self, index: int, kinds: Sequence[str] = KINDS) -> PairedCase:
        """Reads case `index`, of its files those of `kinds`.

        A CT that seems not to be in Hounsfield units, and a body that has to be found, is told by a `DataWarning`.

        Raises:
          UserError: a required file is missing, a file cannot be used, the files are not on one grid, or the mask is
            empty.
        """
        paths = {kind: path for kind, path in self._paths(index).items() if kind in kinds}
        volumes = {kind: read_volume(path) for kind, path in paths.items()}
        for kind, volume in volumes.items():
            check_same_grid(paths["mr"], volumes["mr"], paths[kind], volume)
        mr, ct = volumes["mr"].array, volumes["ct"].array if "ct" in volumes else None
        mask = _mask(paths, volumes)
        for doubt in doubts_about_pair(paths, volumes):
            warnings.warn(doubt, DataWarning, stacklevel=2)
        affine = volumes["mr"].affine
        if self.side is not None:
            mr, ct, mask, affine = _resampled(mr, ct, mask, affine, self.side)
        return PairedCase(self.names[index], _scaled_mr(paths["mr"], mr, mask), ct, mask, affine)

    def fingerprint(self, index: int) -> str:
        """A hex digest of the case's name, the bytes of its files, the protocol and the grid.

        Raises:
          UserError: a file is missing or cannot be read.
        """
        digest = hashlib.blake2b(f"{PROTOCOL}, side {self.side}".encode(), digest_size=16)
        digest.update(os.fsencode(self.names[index]))
        for kind, path in self._paths(index).items():
            try:
                with open(path, "rb") as file:
                    digest.update(kind.encode() + hashlib.file_digest(file, "blake2b").digest())
            except OSError as error:
                raise UserError(f"{path}: cannot be read ({error.strerror or error}); check its permissions") from None
        return digest.hexdigest()

    def geometry(self, index: int) -> Grid:
        """The grid of the MR as its file has it, on which results for the case are written."""
        return read_header(self._paths(index)["mr"])

    def has_mask(self, index: int) -> bool:
        """Whether the case comes with a mask, or its body has to be found."""
        return "mask" in self._paths(index)

    def _paths(self, index: int) -> dict[str, Path]:
        return SYNTHRAD.paths(self.root, self.names[index], self.required)


def _mask(paths: Mapping[str, Path], volumes: Mapping[str, Volume]) -> np.ndarray:
    """The body, `[D, H, W]` bool: as its file says, or found in the MR."""
    if "mask" in volumes:
        mask, told = volumes["mask"].array > 0.5, "the mask is empty"
    else:
        mask, told = find_body(volumes["mr"].array), "the mask is empty that was found by threshold"
    if not mask.any():
        raise UserError(f"{paths.get('mask', paths['mr'])}: {told}; redraw it, or leave the case out")
    return mask


def _scaled_mr(path: Path, mr: np.ndarray, mask: np.ndarray) -> np.ndarray:
    try:
        return normalise_mr(mr, mask)
    except ValueError as error:
        raise UserError(f"{path}: {error}") from None


def find_body(mr: np.ndarray) -> np.ndarray:
    """The body in an MR that has no mask, `[D, H, W]` bool: above Otsu's threshold, the largest piece, made solid.

    The threshold (Otsu, IEEE Trans. Systems, Man, Cybernetics 9:62, 1979) is of the logarithm, because fat is much
    brighter than the rest; gaps such as airways at the surface are closed, and every slice is filled.
    """
    level = np.log1p(np.maximum(mr, 0) / max(float(np.mean(np.maximum(mr, 0))), 1e-6))
    bright = level > _otsu(level)
    pieces, count = ndimage.label(bright)
    if count == 0:
        return bright
    body = pieces == 1 + int(np.argmax(ndimage.sum_labels(bright, pieces, range(1, count + 1))))
    ball = ndimage.generate_binary_structure(3, 1)
    body = ndimage.binary_closing(np.pad(body, 3), ball, iterations=3)[3:-3, 3:-3, 3:-3]
    return np.stack([ndimage.binary_fill_holes(plane) for plane in body])


def _otsu(values: np.ndarray) -> float:
    """The threshold between two classes that leaves most variance between them, of a histogram with 256 bins."""
    if np.ptp(values) == 0:
        return float(values.flat[0])
    counts, edges = np.histogram(values, bins=256)
    centres = (edges[1:] + edges[:-1]) / 2
    below = np.cumsum(counts)
    above = below[-1] - below
    total = np.cumsum(counts * centres)
    with np.errstate(divide="ignore", invalid="ignore"):
        between = below * above * (total / below - (total[-1] - total) / above) ** 2
    return float(centres[np.nanargmax(between)])


def _resampled(mr, ct, mask, affine, side):
    """All three on a cubic number of voxels; half a voxel of body is body."""
    shape = (side, side, side)
    new_mr, new_affine = regrid_to_shape(mr, affine, shape)
    new_mask = regrid_to_shape(mask.astype(np.float32), affine, shape)[0] >= 0.5
    new_ct = None if ct is None else regrid_to_shape(ct, affine, shape)[0]
    return new_mr, new_ct, new_mask, new_affine
