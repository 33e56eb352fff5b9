"""What is wrong with a data set: every problem of every case at once, by reading alone."""

import dataclasses
import os
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from lift_jax.data.brats import BRATS, problems_of_contrasts
from lift_jax.data.cases import CONTRASTS
from lift_jax.data.geometry import geometry_warnings
from lift_jax.data.layouts import Layout
from lift_jax.data.synthrad import SYNTHRAD, doubts_about_pair, problems_of_pair
from lift_jax.data.volumes import Grid, Volume, read_volume
from lift_jax.errors import UserError

THICK = 3.0
"""Longest over shortest voxel side from which on slices are remarked upon as thick."""

SMALL_SIDE = 16
"""Voxels along an axis below which a volume is remarked upon as small."""

Voxels = Callable[[Mapping[str, Path], Mapping[str, Volume]], Iterable[str]]


@dataclasses.dataclass(frozen=True)
class Checked:
    """What is checked of a layout: its headers, the kinds that training needs, and what its voxels are asked."""

    layout: Layout
    required: tuple[str, ...]
    problems: Voxels
    doubts: Voxels


LAYOUTS = {
    "brats": Checked(BRATS, CONTRASTS, problems_of_contrasts, lambda paths, volumes: ()),
    "synthrad": Checked(SYNTHRAD, ("ct", "mask"), problems_of_pair, doubts_about_pair),
}


@dataclasses.dataclass(frozen=True)
class Findings:
    """What was found of a case.

    Attributes:
      name: the case.
      files: the kinds of volume that are there.
      grid: of the first of them that has a usable header, or None.
      size: bytes of the files.
      problems: what makes training refuse it, one line each that names the file and the mend.
      remarks: what is accepted and deserves a look.
    """

    name: str
    files: tuple[str, ...]
    grid: Grid | None
    size: int
    problems: tuple[str, ...]
    remarks: tuple[str, ...]


def check_data_set(
    root: str | os.PathLike,
    layout: str,
    required: Sequence[str] | None = None,
    *,
    headers_only: bool = False,
    threads: int = 1,
) -> list[Findings]:
    """Reads all cases of a data set and nothing but reads; what is found of each, in the order of their names.

    Args:
      root: the folder of the case folders.
      layout: a name in `LAYOUTS`.
      required: kinds of volume that every case must have; None for those that training needs.
      headers_only: leave the voxels on disk, which is what training does when it starts.
      threads: cases that are read at once, and are in memory meanwhile.

    Raises:
      UserError: `root` holds no cases.
    """
    names = LAYOUTS[layout].layout.names(root)
    return list(check_cases(root, layout, names, required, headers_only=headers_only, threads=threads))


def check_cases(root, layout, names: Sequence[str], required=None, *, headers_only=False, threads=1):
    """An iterator over the findings of some cases of a data set, as `check_data_set` gives them."""
    checked = LAYOUTS[layout]
    required = checked.required if required is None else required
    with ThreadPoolExecutor(threads) as pool:
        yield from pool.map(lambda name: _findings(checked, root, name, required, headers_only), names)


def _findings(checked: Checked, root, name: str, required: Sequence[str], headers_only: bool) -> Findings:
    case = checked.layout.examine(root, name, required)
    problems, volumes = list(case.problems), {}
    remarks = [remark for kind, grid in case.grids.items() for remark in _remarks(case.paths[kind], grid)]
    for kind in () if headers_only else case.grids:
        try:
            volumes[kind] = read_volume(case.paths[kind], contiguous=False)
        except UserError as error:
            problems.append(str(error))
    if volumes:
        problems += checked.problems(case.paths, volumes)
        remarks += checked.doubts(case.paths, volumes)
    size = sum(os.path.getsize(path) for path in case.paths.values() if os.path.isfile(path))
    grid = next(iter(case.grids.values()), None)
    return Findings(name, tuple(case.paths), grid, size, tuple(problems), tuple(remarks))


def _remarks(path: Path, grid: Grid) -> Iterator[str]:
    """What deserves a look in a header that can be used."""
    spacing, shape = grid.spacing, grid.shape
    if max(spacing) >= THICK * min(spacing):
        yield f"{path}: its voxels are {by(spacing[::-1], '.3g')} mm, thick along one axis; they are used as they are"
    if min(shape) < SMALL_SIDE:
        yield f"{path}: has {by(shape[::-1])} voxels, few for a volume; is it a part of one?"
    for warning in geometry_warnings(grid.header):
        yield f"{path}: {warning}"


def by(numbers: Iterable[float], form: str = "") -> str:
    """Numbers as `1x2x3`."""
    return "x".join(format(number, form) for number in numbers)
