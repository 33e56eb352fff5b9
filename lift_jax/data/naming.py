"""How a data set names its files, and what is found under a root by that naming."""

import dataclasses
import os
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path, PurePosixPath

from lift_jax.errors import UserError

MASK, SEGMENTATION = "mask", "segmentation"
"""What a file of a subject may be beside a channel."""

ENDINGS = (".nii.gz", ".nii", ".mha")
"""File name endings of volumes that can be read."""

OTHER_ENDINGS = (".mhd", ".nrrd", ".mgz", ".mgh", ".hdr", ".img", ".dcm", ".ima", ".npy", ".nii.zst")
"""Endings of volumes that cannot be read, for messages."""

MAX_DEPTH = 8
"""Folders below the root that are searched."""


@dataclasses.dataclass(frozen=True)
class SubjectFiles:
    """The files of one subject.

    Attributes:
      name: unique in the data set.
      channels: channel to file; not empty.
      mask: file of the foreground, or None.
      segmentation: file of the labels, or None.
      patient: what a split must not separate.
      split: the split that the data set itself assigns, or "".
    """

    name: str
    channels: Mapping[str, Path]
    mask: Path | None = None
    segmentation: Path | None = None
    patient: str = ""
    split: str = ""


@dataclasses.dataclass(frozen=True)
class Found:
    """What a search found: subjects by name, and one line for each error and warning."""

    subjects: tuple[SubjectFiles, ...]
    errors: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class Naming:
    """File names of a data set.

    Attributes:
      pattern: matches the whole path of a file relative to the root; has the groups `subject` and `kind`.
      kinds: the word `kind` in file names, to the channel, `MASK` or `SEGMENTATION`.
      example: the form of a path, for messages.
      name_of: the subject's name from a match.
    """

    pattern: re.Pattern
    kinds: Mapping[str, str]
    example: str
    name_of: Callable[[re.Match], str] = lambda match: match["subject"]

    def match(self, path: str) -> tuple[str, str] | None:
        """Subject and channel (or `MASK`, `SEGMENTATION`) of a relative path; None for any other file."""
        ending = ending_of(path)
        match = self.pattern.fullmatch(path[: len(path) - len(ending)] + ending)  # endings in capitals are usual
        return (self.name_of(match), self.kinds[match["kind"]]) if match and match["kind"] in self.kinds else None


def find(root: Path, naming: Naming, suggest: Callable[[list[str]], str], *, one_subject: bool = False) -> Found:
    """Searches a folder, and folders in it, for the files of subjects. Hidden files and folders are skipped.

    Args:
      root: the folder.
      naming: of the files.
      suggest: from the paths of volumes that do not fit the naming, a hint which data set they may be; or "".
      one_subject: `root` may itself be the folder of a subject.

    Raises:
      UserError: `root` is no folder, or holds no subject.
    """
    if not root.is_dir():
        problem = "is a file; give a folder" if root.exists() else "no such folder; check the path"
        raise UserError(f"{root}: {problem}")
    paths, errors = _listed(root)
    entries = {path: naming.match(path) for path in paths}
    base = root
    if not any(entries.values()):
        base = root.resolve().parent
        entries = {name: naming.match(name) for name in (f"{root.resolve().name}/{path}" for path in paths)}
        if not any(entries.values()):
            raise UserError("\n".join((*errors, f"{root}: {_nothing_found(paths, naming, suggest)}")))
        if not one_subject:
            raise UserError(f"{root}: is the folder of one subject; give the folder that holds the subjects")
    grouped: dict[str, dict[str, list[Path]]] = {}
    for path, entry in entries.items():
        if entry:
            grouped.setdefault(entry[0], {}).setdefault(entry[1], []).append(base / path)
    errors += [line for name, files in sorted(grouped.items()) for line in _duplicates(name, files)]
    subjects = tuple(
        subject_of(name, {kind: paths[0] for kind, paths in files.items()}) for name, files in sorted(grouped.items())
    )
    empty = [subject.name for subject in subjects if not subject.channels]
    warnings = [f"{base}: {name} has a {MASK} or {SEGMENTATION} and no channel; it is skipped" for name in empty]
    subjects = tuple(subject for subject in subjects if subject.channels)
    return Found(subjects, tuple(errors), (*warnings, *_near_misses(base, entries, naming, subjects)))


def subject_of(name: str, files: Mapping[str, Path], patient: str = "", split: str = "") -> SubjectFiles:
    """A subject from its files by channel, `MASK` and `SEGMENTATION`."""
    channels = {kind: path for kind, path in files.items() if kind not in (MASK, SEGMENTATION)}
    return SubjectFiles(name, channels, files.get(MASK), files.get(SEGMENTATION), patient, split)


def with_channels(subjects: Iterable[SubjectFiles], channels: Iterable[str]) -> tuple[SubjectFiles, ...]:
    """The subjects with some channels, in this order, and no files of others; all have at least one of them."""
    channels = tuple(channels)
    return tuple(
        dataclasses.replace(files, channels={name: files.channels[name] for name in channels if name in files.channels})
        for files in subjects
    )


def ending_of(path: str) -> str:
    """The ending of a volume's file name in lower case, ".nii.gz" for example; "" for all other files."""
    return next((ending for ending in (*ENDINGS, *OTHER_ENDINGS) if path.lower().endswith(ending)), "")


def _listed(root: Path) -> tuple[list[str], list[str]]:
    """Relative paths of all files below a folder, sorted; and an error for each folder or link that leads nowhere."""
    paths, errors = [], []

    def refuse(error: OSError) -> None:
        errors.append(f"{error.filename}: cannot be listed ({error.strerror}); check its permissions")

    for folder, folders, files in os.walk(root, onerror=refuse, followlinks=True):
        relative = Path(folder).relative_to(root)
        kept = (name for name in folders if name[0] != "." and not _is_circle(Path(folder, name)))
        folders[:] = sorted(kept) if len(relative.parts) < MAX_DEPTH else []
        for name in sorted((*files, *filter(ending_of, folders))):  # a folder named as a file is refused when read
            path = Path(folder, name)
            if path.is_symlink() and not path.exists() and not path.suffix:
                errors.append(f"{path}: is a link to {os.readlink(path)}, which is not there; fetch it or remove it")
            elif name[0] != ".":
                paths.append((relative / name).as_posix())
    return sorted(paths), errors


def _is_circle(path: Path) -> bool:
    """Whether a folder is a link to one that it is in."""
    return path.is_symlink() and path.parent.resolve().is_relative_to(path.resolve())


def _duplicates(name: str, files: Mapping[str, list[Path]]) -> Iterator[str]:
    for kind, paths in files.items():
        if len(paths) > 1:
            yield f"{paths[0]}: {name} has {len(paths)} files of {kind} (also {few(paths[1:])}); keep one"


def _near_misses(root: Path, entries, naming: Naming, subjects: Iterable[SubjectFiles]) -> Iterator[str]:
    """Files that would fit the naming in another case of letters or with another ending, of what is missing."""
    present = {subject.name: subject.channels for subject in subjects}
    lower = re.compile(naming.pattern.pattern, naming.pattern.flags | re.IGNORECASE)
    kinds = {word.lower(): kind for word, kind in naming.kinds.items()}
    for path, entry in entries.items():
        if entry or not ending_of(path):
            continue
        stem = path[: -len(ending_of(path))]
        for ending in ENDINGS:
            match = lower.fullmatch(stem + ending)
            kind = match and kinds.get(match["kind"].lower())
            if match and kind and kind not in present.get(naming.name_of(match), {}):
                yield f"{root / path}: is not named {naming.example}; it is skipped, rename or convert it to be {kind}"
                break


def _nothing_found(paths: list[str], naming: Naming, suggest: Callable[[list[str]], str]) -> str:
    volumes = [path for path in paths if ending_of(path)]
    message = f"holds no file named {naming.example}"
    if not volumes:
        return f"{message}, and no volume at all; check the path"
    count = f"{len(volumes)} volumes, such as" if len(volumes) > 1 else "only"
    return f"{message}; it holds {count} {few(volumes)}{suggest(volumes)}"


def volumes_below(root: Path) -> list[Path]:
    """All volumes in a folder and in folders in it, sorted, whatever their names."""
    return [root / path for path in _listed(root)[0] if ending_of(path)]


def few(paths: Iterable[object]) -> str:
    """The first three of some paths, and how many more there are."""
    first, *more = map(str, paths)
    listed = [first, *more[:2]]
    return ", ".join(listed) + (f" and {len(more) - 2} more" if len(more) > 2 else "")


def guess_pattern(paths: list[str]) -> str:
    """A pattern of the data set `files` that fits the first of some relative paths, or "" if none comes to mind."""
    readable = [path for path in paths if ending_of(path) in ENDINGS]
    if not readable:
        return ""
    path = PurePosixPath(readable[0])
    ending = ending_of(path.name)
    stem = path.name[: len(path.name) - len(ending)]
    folder = path.parent.name
    if not folder:
        return f"{{subject}}_{{channel}}{ending}" if "_" in stem else ""
    above = "".join("*/" for _ in path.parent.parts[:-1])
    between = stem[len(folder) : len(folder) + 1] if stem.startswith(folder) else ""
    return f"{above}{{subject}}/{'{subject}' + between if between else ''}{{channel}}{ending}"
