"""Processes that wait for one that does not come: JAX has no time-out for that on GPUs."""

import time
from collections.abc import Callable, Mapping

import jax

from lift_jax import hosts
from lift_jax.training.monitor import Watchdog

COMPILING = 4
"""How many times the seconds of a step the first one may take, which is compiled before it runs."""


class Stalls:
    """A context around the steps of a stage, in which a process that takes no step for long is ended, and says why.

    Every process posts the newest step that it has begun, which the device may still be waiting with for others. All of
    it is done by another thread, since a collective cannot be interrupted, and by none where there is one process.
    """

    def __init__(self, stage: str, seconds: float, end: Callable[[str], None] = hosts.end_process):
        """Until the second `mark`, while the step is compiled, `COMPILING` times as long is waited.

        Args:
          stage: its name.
          seconds: without a mark after which `end` is called.
          end: takes a line.
        """
        self._stage, self._seconds = stage, seconds
        self._mark = self._posted = None
        self._begun: dict[int, int] = {}
        self._watchdog = Watchdog(self._look, end, seconds / 60) if hosts.are_many() else None

    def __enter__(self) -> "Stalls":
        if self._watchdog is not None:
            self._watchdog.__enter__()
        return self

    def __exit__(self, *_):
        if self._watchdog is not None:
            self._watchdog.__exit__()

    def mark(self, step: int) -> None:
        """This process is alive, and begins `step`, or has begun it or ended it."""
        allowed = self._seconds * (COMPILING if self._mark is None else 1)
        self._mark = step, allowed, time.monotonic()  # at once, since another thread reads it

    def _look(self) -> str | None:
        if self._mark is None:
            return None
        (step, allowed, since), topic = self._mark, f"begun/{self._stage}"
        if step != self._posted:
            hosts.post(topic, str(step))
            self._posted = step
        # What was heard is kept: the process that keeps the posts may be the first that is ended.
        self._begun |= {process: int(text) for process, text in hosts.posted(topic).items()}
        if time.monotonic() - since < allowed:
            return None
        return stalled(self._stage, self._begun | {jax.process_index(): step}, jax.process_count(), allowed)


def stalled(stage: str, begun: Mapping[int, int], count: int, seconds: float) -> str:
    """The line that names the processes that are furthest behind.

    Args:
      stage: its name.
      begun: process to the newest step that it has begun, of those that have begun any.
      count: how many processes there are.
      seconds: for which there was no step.
    """
    steps = [begun.get(process, 0) for process in range(count)]
    last = [process for process, step in enumerate(steps) if step == min(steps)]
    if len(last) == count:
        state = f"all processes have begun step {min(steps):,} and none has come past it"
    else:
        names = ", ".join(map(str, last[:8])) + (f" and {len(last) - 8} more" if len(last) > 8 else "")
        which = f"processes {names} have" if len(last) > 1 else f"process {names} has"
        state = f"{which} not begun step {min(steps) + 1:,}, for which the others wait"
    return (
        f"{stage}: no step for {seconds:,.0f} s (--hang_seconds): {state}; "
        "start all again: the same command resumes from the last checkpoint"
    )
