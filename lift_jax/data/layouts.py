"""How the cases of a data set lie on disk, and what file names and headers tell before any voxel is read."""

import dataclasses
import os
from collections.abc import Iterator, Sequence
from pathlib import Path

from lift_jax.data.nifti import GZIP_SUFFIX, PLAIN_SUFFIX
from lift_jax.data.volumes import Grid, describe_difference, read_header
from lift_jax.errors import UserError


@dataclasses.dataclass(frozen=True)
class CaseHeaders:
    """What the file names and headers of a case tell: its files and grids by kind, and one line for each problem."""

    name: str
    paths: dict[str, Path]
    grids: dict[str, Grid]
    problems: tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class Layout:
    """A folder for each case, in it a NIfTI file for each kind of volume; endings in any mixture of cases.

    Attributes:
      kinds: the kinds of volume; the first one there gives the grid of the case.
      stem: a file's name without its ending, of `{case}` and `{kind}`.
      always: kinds without which no case is of use; where there are none, one of any kind is needed.
      strangers: folders that hold no file of a case are passed over, as no cases.
    """

    kinds: tuple[str, ...]
    stem: str
    always: tuple[str, ...] = ()
    strangers: bool = False

    def names(self, root: str | os.PathLike) -> list[str]:
        """The names of the case folders under `root`, sorted; hidden ones and plain files are passed over.

        Raises:
          UserError: `root` is no directory, is itself a case, or holds no case.
        """
        root = Path(root)
        if not os.path.isdir(root):
            raise UserError(f"{root}: no such folder; give the folder that holds the case folders")
        if self._found(root.resolve().parent, root.resolve().name)[0]:
            raise UserError(f"{root}: is a case; give the folder that holds the case folders")
        names = [name for name in _listed(root) if not name.startswith(".") and _may_be_folder(root / name)]
        if self.strangers:
            names = [name for name in names if not os.path.isdir(root / name) or any(self._found(root, name))]
        if not names:
            files = self.stem.format(case="<case>", kind=f"{{{','.join(self.kinds)}}}")
            raise UserError(f"{root}: holds no case folder; the layout is <root>/<case>/{files}{GZIP_SUFFIX}")
        return names

    def paths(self, root: str | os.PathLike, name: str, required: Sequence[str] | None = None) -> dict[str, Path]:
        """The files of a case by kind, those that exist, in the order of `kinds`.

        Args:
          root: the folder of the case folders.
          name: the case.
          required: kinds that must be there, beside `always`; None asks for nothing, not even for the case.

        Raises:
          UserError: a required file is missing, a kind is there twice, or the folder cannot be listed.
        """
        found, unfit = self._found(Path(root), name)
        for problem in self._name_problems(Path(root) / name, required, found, unfit):
            raise UserError(problem)
        return {kind: paths[0] for kind, paths in found.items()}

    def examine(self, root: str | os.PathLike, name: str, required: Sequence[str] = ()) -> CaseHeaders:
        """Reads the headers of a case; every problem is a line that names the file, and none stops the reading."""
        try:
            found, unfit = self._found(Path(root), name)
        except UserError as error:
            return CaseHeaders(name, {}, {}, (str(error),))
        problems, grids, reference = list(self._name_problems(Path(root) / name, required, found, unfit)), {}, None
        for kind, path in ((kind, path) for kind, paths in found.items() for path in paths):
            try:
                grid = read_header(path)
                grids.setdefault(kind, grid)
                reference = reference or (path, grid)
                check_same_grid(*reference, path, grid)
            except UserError as error:
                problems.append(str(error))
        return CaseHeaders(name, {kind: paths[0] for kind, paths in found.items()}, grids, tuple(problems))

    def check(self, root: str | os.PathLike, names: Sequence[str], required: Sequence[str] = ()) -> None:
        """Reads the header of every file of these cases, so that a bad one is told at the start and not after hours.

        Raises:
          UserError: cases cannot be used. Its first line says how many; one line for each problem follows.
        """
        bad = [case for case in (self.examine(root, name, required) for name in names) if case.problems]
        if bad:
            lines = [f"{root}: {len(bad)} of {len(names)} cases cannot be used; repair or remove them:"]
            raise UserError("\n".join(lines + [problem for case in bad for problem in case.problems]))

    def _found(self, root: Path, name: str) -> tuple[dict[str, list[Path]], dict[str, list[str]]]:
        """The files of a case by kind, compressed ones first; and those that nearly are, by another name or format."""
        found, unfit, files = {}, {}, _listed(root / name)
        for kind in self.kinds:
            stem = self.stem.format(case=name, kind=kind)
            endings = {file: file[len(stem) :].lower() for file in files if file.startswith(stem)}
            for suffix in (GZIP_SUFFIX, PLAIN_SUFFIX):
                for file in (file for file, ending in endings.items() if ending == suffix):
                    found.setdefault(kind, []).append(root / name / file)
            near = [file for file in files if file.casefold().startswith(f"{stem}.".casefold())]
            if near and kind not in found:
                unfit[kind] = near
        return found, unfit

    def _name_problems(self, folder: Path, required: Sequence[str] | None, found, unfit) -> Iterator[str]:
        for paths in found.values():
            if len(paths) > 1:
                yield f"{folder}: holds both {' and '.join(path.name for path in paths)}; remove all but one"
        if required is None:
            return
        missing = [kind for kind in dict.fromkeys((*self.always, *required)) if kind not in found]
        instead = sorted({file for kind in (missing or self.kinds) for file in unfit.get(kind, ())})
        hint = f" (but holds {', '.join(instead)}: rename or convert)" if instead else ""
        if not os.path.isdir(folder):
            yield f"{folder}: no such case folder; check the name of the case"
        elif not found and not self.always:
            files = self.stem.format(case=folder.name, kind=f"{{{','.join(self.kinds)}}}")
            yield f"{folder}: holds none of the contrasts{hint}; name them {files}{GZIP_SUFFIX}"
        elif missing:
            files = ", ".join(self.stem.format(case=folder.name, kind=kind) + GZIP_SUFFIX for kind in missing)
            yield f"{folder}: lacks {files}{hint}; add what is missing or leave the case out"


def check_same_grid(reference_path: Path, reference: Grid, path: Path, grid: Grid) -> None:
    """Raises UserError where two volumes of a case are not on one grid, naming both files and how the grids differ."""
    difference = describe_difference(reference, grid)
    if difference:
        raise UserError(f"{path}: is not on the grid of {reference_path}: {difference}; resample it onto that grid")


def _listed(folder: Path) -> list[str]:
    """The names in a folder, sorted; none where there is no such folder."""
    try:
        return sorted(os.listdir(folder))
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        raise UserError(f"{folder}: cannot be listed ({error.strerror or error}); check its permissions") from None


def _may_be_folder(path: Path) -> bool:
    """Whether a path is a folder, or a link to nowhere that is named as one: a case that was not fetched."""
    return os.path.isdir(path) or (os.path.islink(path) and not os.path.exists(path) and not path.suffix)
