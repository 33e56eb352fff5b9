"""Several runs of a sweep at a time, each in a process of its own."""

import math
import os
import pathlib
import queue
import subprocess
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed

from lift_jax.sweeps.scheduler import Carry, Tell, Work

LOG_FILE = "sweep.log"
"""What a process said, in the work directory."""

MEMORY_PART = "XLA_PYTHON_CLIENT_MEM_FRACTION"
"""The variable by which JAX is told what part of a GPU's memory to reserve."""


SHARED_MEMORY = 0.9
"""Part of a GPU's memory that processes which share it reserve together; the rest is for their CUDA contexts."""

EXHAUSTED = "RESOURCE_EXHAUSTED", "out of memory", "status -9"
"""Parts of the reasons of work that ended for want of memory: XLA's, a driver's, and that of the system's killer."""


def carry_in_processes(count: int) -> Carry:
    """A `Carry` that keeps `count` processes busy; where there are GPUs, each process has the next one.

    Work that runs out of memory beside other processes is done again afterwards, with a device to itself: only what
    fails there fails. It goes on from its last checkpoint.
    """

    def carry(work: Sequence[Work], tell: Tell) -> None:
        alone, again = places(max(1, min(count, len(_gpus())))), []

        def note(each: Work, reason: str | None) -> None:
            if count > len(alone) and reason is not None and any(sign in reason for sign in EXHAUSTED):
                again.append(each)
            else:
                tell(each, reason)

        _carry_at(places(count), work, note)
        _carry_at(alone, again, tell)

    return carry


def _carry_at(where: Sequence[Mapping[str, str]], work: Sequence[Work], tell: Tell) -> None:
    """Does the work in one process at each place at a time."""
    free: queue.SimpleQueue[Mapping[str, str]] = queue.SimpleQueue()
    for place in where:
        free.put(place)

    def do(each: Work) -> str | None:
        place = free.get()
        try:
            return _do_in_process(each, place)
        finally:
            free.put(place)

    with ThreadPoolExecutor(len(where)) as pool:
        tasks = {pool.submit(do, each): each for each in work}
        try:
            for task in as_completed(tasks):
                tell(tasks[task], task.result())
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)  # else all the rest would run before anybody hears of it
            raise


def _do_in_process(work: Work, place: Mapping[str, str]) -> str | None:
    """Why the work failed, or None. The process ends when this one does: its standard input closes."""
    command = [sys.executable, "-m", "lift_jax.cli.worker", work.directory, work.stage, str(int(work.scored))]
    log = work.directory / LOG_FILE
    here = str(pathlib.Path(__file__).parents[2])  # where the package is, whatever folder the command was given in
    found = os.pathsep.join([here, *filter(None, [os.environ.get("PYTHONPATH")])])
    with (
        log.open("a") as errors,
        subprocess.Popen(
            command,
            env={**os.environ, "PYTHONPATH": found, **place},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
        ) as process,
    ):
        told = process.stdout.read().strip()
        status = process.wait()
    if status == 0:
        return None
    return told or f"its process ended with status {status}; {log} says more"


def places(count: int) -> list[dict[str, str]]:
    """What each of so many processes has in its environment: its GPU, and its part of the memory of a shared one.

    JAX reserves three quarters of a GPU when it starts, which leaves no room for a second process. A part that the user
    has set stays as it is.
    """
    gpus = _gpus()
    if not gpus:
        return [{} for _ in range(count)]
    each = [{"CUDA_VISIBLE_DEVICES": gpus[i % len(gpus)]} for i in range(count)]
    sharing = math.ceil(count / len(gpus))
    if sharing > 1 and MEMORY_PART not in os.environ:
        each = [place | {MEMORY_PART: f"{SHARED_MEMORY / sharing:.3f}"} for place in each]
    return each


def _gpus() -> list[str]:
    """Names of the GPUs, as `CUDA_VISIBLE_DEVICES` has them."""
    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    if named is None:
        return [str(i) for i in range(len(list(pathlib.Path("/dev").glob("nvidia[0-9]*"))))]
    return [name for name in named.split(",") if name]
