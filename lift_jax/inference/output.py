"""Files of results: names, checks before anything is computed, and the work through many subjects."""

import os
import pathlib
import tempfile
import time
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, NamedTuple, Protocol

from lift_jax.errors import UserError

LONGEST_NAME = 255
"""Bytes of a file name that usual file systems hold."""


def output_path(folder: pathlib.Path, name: str, ending: str) -> pathlib.Path:
    """The file of a result that is named after a subject; it lies in `folder`, whatever the subject is called.

    Raises:
      UserError: the name would lead elsewhere, or is too long for a file.
    """
    if name in ("", ".", "..") or pathlib.PurePath(name).name != name or "\0" in name:
        raise UserError(f"{name!r}: is no name of a subject, which results could be named after")
    if len(os.fsencode(f"{name}{ending}")) > LONGEST_NAME:
        raise UserError(f"{name[:40]}…{ending}: the name of the result is too long for a file; rename the subject")
    return folder / f"{name}{ending}"


def check_writable(folder: pathlib.Path, flag: str = "--output") -> None:
    """Refuses a folder that cannot be made or written; nothing is left behind.

    Raises:
      UserError: naming the flag.
    """
    existing = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    if not existing.is_dir():
        raise UserError(f"{flag}: {existing} is a file; name a folder")
    try:
        with tempfile.TemporaryFile(dir=existing):
            pass
    except OSError as error:
        raise UserError(f"{flag}: {folder} cannot be written ({error.strerror}); name another folder") from None


def check_sources_kept(folders: Iterable[pathlib.Path], files: Iterable[pathlib.Path], flag: str = "--output") -> None:
    """Refuses folders of results in which source files lie.

    Raises:
      UserError: naming the flag.
    """
    holding = {path.resolve().parent for path in files}
    for folder in folders:
        if folder.resolve() in holding:
            raise UserError(f"{flag}: {folder} holds the sources; name another folder")


def make_folder(folder: pathlib.Path) -> None:
    """Makes a folder for results.

    Raises:
      UserError: it cannot be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"{folder}: cannot be made ({error.strerror}); name another --output") from None


class SubjectWork(Protocol):
    """The work on each subject; a UserError of any method concerns that subject alone."""

    def __len__(self) -> int:
        """How many subjects there are."""

    def outputs(self, index: int) -> list[pathlib.Path]:
        """The files that a subject will have when it is done; no volume is read."""

    def is_done(self, index: int) -> bool:
        """Whether the outputs of a subject are there and are what would be written; no volume is read."""

    def read(self, index: int) -> Any:
        """Reads a subject."""

    def predict(self, work: Any) -> Any:
        """Predicts from what was read."""

    def write(self, result: Any, seconds: float) -> list[pathlib.Path]:
        """Writes it, with the seconds that reading and predicting took; returns the volumes."""


class Outcome(NamedTuple):
    """The result for one subject: volumes that were written, or that exist already, or an error.

    `replaced`: other results with the same names were there.
    """

    paths: list[pathlib.Path]
    skipped: bool = False
    error: UserError | None = None
    replaced: bool = False


def work_through(work: SubjectWork, *, skip_existing: bool = False) -> Iterator[Outcome]:
    """Works through all subjects in order, reading and writing in the background; continues after one that fails.

    At most three subjects are in memory: one that is read ahead, one that is computed, and one that is written.

    Args:
      work: the subjects and the work.
      skip_existing: leave out subjects that are done.
    """
    failed, chosen, skipped, replaced = {}, [], {}, set()
    for index in range(len(work)):
        try:
            outputs = work.outputs(index)
            if skip_existing and work.is_done(index):
                skipped[index] = Outcome(outputs, skipped=True)
                continue
        except UserError as error:
            failed[index] = Outcome([], error=error)
            continue
        if any(path.exists() for path in outputs):
            replaced.add(index)
        chosen.append(index)
    with ThreadPoolExecutor(1) as reader, ThreadPoolExecutor(1) as writer:
        done = _overlapped(work, chosen, reader, writer)
        for index in range(len(work)):
            if index in failed or index in skipped:
                yield failed.get(index) or skipped[index]
            else:
                yield next(done)._replace(replaced=index in replaced)


def _overlapped(
    work: SubjectWork, indices: list[int], reader: ThreadPoolExecutor, writer: ThreadPoolExecutor
) -> Iterator[Outcome]:
    """The outcomes of some subjects, each when the next one has been computed."""
    ahead = [reader.submit(_timed, work.read, index) for index in indices[:1]]
    writing: Future | Outcome | None = None
    current: Outcome | tuple
    for position in range(len(indices)):
        try:
            read, read_seconds = ahead.pop().result()
        except UserError as error:
            read, current = None, Outcome([], error=error)
        ahead += [reader.submit(_timed, work.read, index) for index in indices[position + 1 : position + 2]]
        if read is not None:
            try:
                result, seconds = _timed(work.predict, read)
                current = (result, read_seconds + seconds)
            except UserError as error:
                current = Outcome([], error=error)
            del read
        if writing is not None:
            yield _ended(writing)
        writing = current if isinstance(current, Outcome) else writer.submit(work.write, *current)
        del current
    if writing is not None:
        yield _ended(writing)


def _ended(writing: Future | Outcome) -> Outcome:
    if isinstance(writing, Outcome):
        return writing
    try:
        return Outcome(writing.result())
    except UserError as error:
        return Outcome([], error=error)


def _timed(function, argument):
    began = time.perf_counter()
    return function(argument), time.perf_counter() - began
