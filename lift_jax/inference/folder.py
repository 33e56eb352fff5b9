"""Subject after subject: the next one is read and the last one written while one is computed."""

import pathlib
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, NamedTuple, Protocol

from lift_jax.errors import UserError


class SubjectWork(Protocol):
    """What is done with each subject; every method may raise UserError, which concerns that subject alone."""

    def __len__(self) -> int:
        """How many subjects there are."""

    def outputs(self, index: int) -> list[pathlib.Path]:
        """The files that a subject will have when it is done; no volume is read."""

    def is_done(self, index: int) -> bool:
        """Whether the outputs of a subject are there and are what would be written; no volume is read."""

    def read(self, index: int) -> Any:
        """All that is needed of a subject, from disk."""

    def predict(self, work: Any) -> Any:
        """What is to be written of it."""

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
    """Does all subjects in order, and goes on after one that fails.

    At most three subjects are in memory: one that is read ahead, one that is computed, and one that is written.

    Args:
      work: the subjects, and what is done with each.
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
    ahead = reader.submit(_timed, work.read, indices[0]) if indices else None
    writing: Future | Outcome | None = None
    for position in range(len(indices)):
        reading, ahead = ahead, None
        try:
            read, read_seconds = reading.result()
        except UserError as error:
            read, current = None, Outcome([], error=error)
        if position + 1 < len(indices):
            ahead = reader.submit(_timed, work.read, indices[position + 1])
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
