"""Several runs of a sweep at a time, each in a process of its own.

Run by name, this module is that process: a work directory, a stage, and whether to score it. It ends with status 1 and
the reason on standard output if the run fails, and at once if standard input is closed.
"""

import math
import os
import pathlib
import queue
import subprocess
import sys
import threading
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed

from lift_jax.sweeps.scheduler import Report, Runner, Work, attempt

LOG_FILE = "sweep.log"
"""Standard error of a process, in the work directory."""

MEMORY_FRACTION = "XLA_PYTHON_CLIENT_MEM_FRACTION"
"""The variable that sets what part of a GPU's memory JAX reserves."""

SHARED_MEMORY = 0.9
"""Part of a GPU's memory that processes which share it reserve together; the rest is for their CUDA contexts."""

EXHAUSTED = "RESOURCE_EXHAUSTED", "out of memory", "status -9"
"""Parts of the reasons of work that ended for want of memory: XLA's, a driver's, and that of the system's killer."""


def run_in_processes(count: int) -> Runner:
    """A `Runner` that keeps `count` processes busy; where there are GPUs, each process has the next one.

    Work that runs out of memory beside other processes is done again afterwards, with a device to itself: only what
    fails there fails. It goes on from its last checkpoint.
    """

    def run(work: Sequence[Work], report: Report) -> None:
        alone = process_environments(max(1, min(count, len(_gpus()))))
        again: list[Work] = []

        def note(each: Work, reason: str | None) -> None:
            if count > len(alone) and reason is not None and any(sign in reason for sign in EXHAUSTED):
                again.append(each)
            else:
                report(each, reason)

        _run_in(process_environments(count), work, note)
        _run_in(alone, again, report)

    return run


def process_environments(count: int) -> list[dict[str, str]]:
    """What each of so many processes has in its environment: its GPU, and its part of the memory of a shared one.

    JAX reserves three quarters of a GPU when it starts, which leaves no room for a second process. A part that the user
    has set stays as it is.
    """
    gpus = _gpus()
    if not gpus:
        return [{} for _ in range(count)]
    each = [{"CUDA_VISIBLE_DEVICES": gpus[i % len(gpus)]} for i in range(count)]
    sharing = math.ceil(count / len(gpus))
    if sharing > 1 and MEMORY_FRACTION not in os.environ:
        each = [environment | {MEMORY_FRACTION: f"{SHARED_MEMORY / sharing:.3f}"} for environment in each]
    return each


def _run_in(environments: Sequence[Mapping[str, str]], work: Sequence[Work], report: Report) -> None:
    """Does the work in one process in each environment at a time."""
    free: queue.SimpleQueue[Mapping[str, str]] = queue.SimpleQueue()
    for environment in environments:
        free.put(environment)

    def do(each: Work) -> str | None:
        environment = free.get()
        try:
            return _run_process(each, environment)
        finally:
            free.put(environment)

    with ThreadPoolExecutor(len(environments)) as pool:
        tasks = {pool.submit(do, each): each for each in work}
        try:
            for task in as_completed(tasks):
                report(tasks[task], task.result())
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)  # else all the rest would run before anybody hears of it
            raise


def _run_process(work: Work, environment: Mapping[str, str]) -> str | None:
    """Why the work failed, or None. The process ends when this one does: its standard input closes."""
    command = [sys.executable, "-m", "lift_jax.sweeps.parallel", str(work.directory), work.stage, str(int(work.scored))]
    log = work.directory / LOG_FILE
    package = str(pathlib.Path(__file__).parents[2])  # found whatever folder the command was given in
    python_path = os.pathsep.join([package, *filter(None, [os.environ.get("PYTHONPATH")])])
    with (
        log.open("a") as errors,
        subprocess.Popen(
            command,
            env={**os.environ, "PYTHONPATH": python_path, **environment},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=errors,
            text=True,
        ) as process,
    ):
        assert process.stdout is not None
        message = process.stdout.read().strip()
        status = process.wait()
    if status == 0:
        return None
    return message or f"its process ended with status {status}; {log} says more"


def _gpus() -> list[str]:
    """Names of the GPUs, as `CUDA_VISIBLE_DEVICES` has them."""
    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    if named is None:
        return [str(i) for i in range(len(list(pathlib.Path("/dev").glob("nvidia[0-9]*"))))]
    return [name for name in named.split(",") if name]


def _end_with_parent() -> None:
    sys.stdin.read()
    os._exit(1)


def main() -> None:
    """Does the work that the arguments name."""
    threading.Thread(target=_end_with_parent, daemon=True).start()
    directory, stage, scored = sys.argv[1:]
    reason = attempt(Work(pathlib.Path(directory), stage, scored == "1"))
    if reason is not None:
        print(reason)
        sys.exit(1)


if __name__ == "__main__":
    main()
