"""Several runs of a sweep at a time, each in a process of its own."""

import os
import pathlib
import queue
import subprocess
import sys
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed

from lift_jax.sweeps.course import Carry, Tell, Work

LOG_FILE = "sweep.log"
"""What a process said, in the work directory."""


def carry_in_processes(count: int) -> Carry:
    """A `Carry` that keeps `count` processes busy; where there are GPUs, each process has the next one."""

    def carry(work: Sequence[Work], tell: Tell) -> None:
        free: queue.SimpleQueue[Mapping[str, str]] = queue.SimpleQueue()
        for place in places(count):
            free.put(place)

        def do(each: Work) -> str | None:
            place = free.get()
            try:
                return _do_in_process(each, place)
            finally:
                free.put(place)

        with ThreadPoolExecutor(count) as pool:
            tasks = {pool.submit(do, each): each for each in work}
            try:
                for task in as_completed(tasks):
                    tell(tasks[task], task.result())
            except BaseException:
                pool.shutdown(wait=False, cancel_futures=True)  # else all the rest would run before anybody hears of it
                raise

    return carry


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
    """What each of so many processes has in its environment: its GPU."""
    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    if named is None:
        gpus = [str(i) for i in range(len(list(pathlib.Path("/dev").glob("nvidia[0-9]*"))))]
    else:
        gpus = [name for name in named.split(",") if name]
    return [{"CUDA_VISIBLE_DEVICES": gpus[i % len(gpus)]} if gpus else {} for i in range(count)]
