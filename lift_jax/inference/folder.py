"""Case after case of a folder: the next one is read and the last one written while one is computed."""

import pathlib
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, NamedTuple, Protocol

from lift_jax.errors import UserError


class CaseWork(Protocol):
    """What is done with each case of a folder; every method may raise UserError, which concerns that case alone."""

    def __len__(self) -> int:
        """How many cases there are."""

    def outputs(self, index: int) -> list[pathlib.Path]:
        """The files that a case will have when it is done; nothing is read but what the case's folder holds."""

    def read(self, index: int) -> Any:
        """All that is needed of a case, from disk."""

    def predict(self, work: Any) -> Any:
        """What is to be written of it."""

    def write(self, result: Any, seconds: float) -> list[pathlib.Path]:
        """Writes it, with the seconds that reading and predicting took; returns the volumes."""


class Outcome(NamedTuple):
    """How a case ended: with volumes that were written, or were there before, or with an error."""

    paths: list[pathlib.Path]
    skipped: bool = False
    error: UserError | None = None


def work_through(work: CaseWork, *, skip_existing: bool = False) -> Iterator[Outcome]:
    """Does all cases in order, and goes on after one that fails.

    At most three cases are in memory: one that is read ahead, one that is computed, and one that is written.

    Args:
      work: the cases, and what is done with each.
      skip_existing: leave out cases whose outputs are all there.
    """
    chosen, skipped = [], {}
    for index in range(len(work)):
        try:
            outputs = work.outputs(index)
        except UserError:
            chosen.append(index)  # it will fail again, and be told of in its turn
            continue
        if skip_existing and all(path.exists() for path in outputs):
            skipped[index] = Outcome(outputs, skipped=True)
        else:
            chosen.append(index)
    with ThreadPoolExecutor(1) as reader, ThreadPoolExecutor(1) as writer:
        yield from _in_order(len(work), skipped, _overlapped(work, chosen, reader, writer))


def _in_order(count: int, skipped: dict[int, Outcome], done: Iterator[Outcome]) -> Iterator[Outcome]:
    for index in range(count):
        yield skipped[index] if index in skipped else next(done)


def _overlapped(
    work: CaseWork, indices: list[int], reader: ThreadPoolExecutor, writer: ThreadPoolExecutor
) -> Iterator[Outcome]:
    """The outcomes of some cases, each told when the next one has been computed."""
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
