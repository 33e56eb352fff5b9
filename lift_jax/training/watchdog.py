"""What ends a stage early: a request to stop, or a process that hangs."""

import signal
import threading
import time
from collections.abc import Callable, Mapping

import jax

from lift_jax import hosts

COMPILING = 4
"""How many times as long the first step may take, which is compiled before it runs."""


class Preempted(Exception):
    """Raised once a run that was asked to stop has saved all that it computed."""


class StopRequest:
    """A context in which the first SIGTERM asks for a stop after the next step; a second one stops at once.

    At its end the request is passed to the handler around it, such as that of a sweep. Processes stop together.
    """

    def __init__(self):
        self._asked = False
        self._before = signal.SIG_DFL

    def __enter__(self) -> "StopRequest":
        self._before = signal.signal(signal.SIGTERM, self._note)
        return self

    def __exit__(self, *_):
        signal.signal(signal.SIGTERM, self._before)
        if self._asked and callable(self._before):
            self._before()

    def is_due(self, meeting: bool) -> bool:
        """Whether to stop now; processes ask each other at a `meeting`, and all get the same answer."""
        if not hosts.are_many():
            return self._asked
        return meeting and hosts.any_process(self._asked)

    def _note(self, *_):
        self._asked = True
        signal.signal(signal.SIGTERM, signal.SIG_DFL)


class Watchdog:
    """A context in which another thread checks something periodically, without touching devices."""

    def __init__(self, check: Callable[[], str | None], report: Callable[[str], None], seconds: float = 1.0):
        """Every so many `seconds` a line from `check` is passed to `report`, once until it changes."""
        self._check, self._report, self._seconds = check, report, seconds
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._watch, name="watchdog", daemon=True)

    def __enter__(self) -> "Watchdog":
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._over.set()
        self._thread.join()

    def _watch(self):
        before = None
        while not self._over.wait(self._seconds):
            line = self._check()
            if line is not None and line != before:
                self._report(line)
            before = line or before


class Stalls:
    """A context around the steps of a stage that ends a process without steps for long, with a message.

    JAX has no time-out for that on GPUs. Every process posts the newest step that it has begun. Another thread does the
    work, since a collective cannot be interrupted; none where there is one process.
    """

    def __init__(self, stage: str, seconds: float, end: Callable[[str], None] = hosts.end_process):
        """Watches a stage.

        Args:
          stage: its name.
          seconds: without a mark after which `end` is called; `COMPILING` times as long before the second mark.
          end: takes a message.
        """
        self._stage, self._seconds = stage, seconds
        self._mark: tuple[int, float, float] | None = None
        self._posted: int | None = None
        self._begun: dict[int, int] = {}
        self._watchdog = Watchdog(self._check, end, seconds / 60) if hosts.are_many() else None

    def __enter__(self) -> "Stalls":
        if self._watchdog is not None:
            self._watchdog.__enter__()
        return self

    def __exit__(self, *_):
        if self._watchdog is not None:
            self._watchdog.__exit__()

    def mark(self, step: int) -> None:
        """This process begins `step`, or has begun or ended it."""
        allowed = self._seconds * (COMPILING if self._mark is None else 1)
        self._mark = step, allowed, time.monotonic()  # at once, since another thread reads it

    def _check(self) -> str | None:
        if self._mark is None:
            return None
        (step, allowed, since), topic = self._mark, f"begun/{self._stage}"
        if step != self._posted:
            hosts.post(topic, str(step))
            self._posted = step
        # Earlier posts are kept: the process that keeps them may be the first that is ended.
        self._begun |= {process: int(text) for process, text in hosts.posted(topic).items()}
        if time.monotonic() - since < allowed:
            return None
        return stall_message(self._stage, self._begun | {jax.process_index(): step}, jax.process_count(), allowed)


def stall_message(stage: str, begun: Mapping[int, int], count: int, seconds: float) -> str:
    """The message that names the processes that are furthest behind.

    Args:
      stage: its name.
      begun: process to the newest step that it has begun, of those that have begun any.
      count: how many processes there are.
      seconds: for which there was no step.
    """
    steps = [begun.get(process, 0) for process in range(count)]
    last = [process for process, step in enumerate(steps) if step == min(steps)]
    if len(last) == count:
        message = f"all processes have begun step {min(steps):,} and none has finished it"
    else:
        names = ", ".join(map(str, last[:8])) + (f" and {len(last) - 8} more" if len(last) > 8 else "")
        which = f"processes {names} have" if len(last) > 1 else f"process {names} has"
        message = f"{which} not begun step {min(steps) + 1:,}, for which the others wait"
    return (
        f"{stage}: no step for {seconds:,.0f} s (--hang_seconds): {message}; "
        "start all again: the same command resumes from the last checkpoint"
    )
