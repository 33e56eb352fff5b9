"""Watches a stage while it trains, and reports problems as warnings."""

import threading
import time
import warnings
from collections.abc import Callable, Iterable

import jax
from ml_collections import ConfigDict

from lift_jax.errors import DataWarning
from lift_jax.training.health import SkippedSteps, Spikes, StepTimes


class Monitor:
    """A context around the steps of a stage; each problem is a warning of one line."""

    def __init__(
        self,
        stage: str,
        config: ConfigDict,
        *,
        skipped: int,
        losses: Iterable[float],
        subjects: Callable[[int], list[str]] | None,
    ):
        """Begins before a step.

        Args:
          stage: its name.
          config: of the run.
          skipped: steps that were skipped before.
          losses: that were logged before.
          subjects: step to the names of the subjects in its batch, or None.
        """
        self._stage = stage
        self._skipped = SkippedSteps(stage, config.optimizer.max_nonfinite_steps, skipped, subjects)
        self._spikes, self._times = Spikes(losses), StepTimes()
        self._watchdog = Watchdog(lambda: self._times.slow(config.log.every_steps, time.monotonic()), self._report)

    def __enter__(self) -> "Monitor":
        self._watchdog.__enter__()
        return self

    def __exit__(self, *_):
        self._watchdog.__exit__()

    def note(self, step: int, metrics: dict[str, jax.Array]) -> None:
        """Takes down a step that was begun, and does not wait for it."""
        self._skipped.note(step, metrics["skipped"])

    def read(self, step: int) -> None:
        """Looks at all steps noted, of which the last, `step`, is done; until `resume`, none is timed.

        Raises:
          UserError: if too many in a row were skipped.
        """
        self._times.read(step, time.monotonic())
        for line in self._skipped.read():
            self._report(line)

    def is_fit(self, *, at_end: bool) -> bool:
        """Whether what is trained can be looked at, see `SkippedSteps.newest_was_taken`."""
        return self._skipped.newest_was_taken(at_end=at_end)

    def resume(self, step: int) -> None:
        """Steps after `step` begin now."""
        self._times.begin(step, time.monotonic())

    def spike(self, step: int, loss: float) -> dict[str, float]:
        """What is logged of a loss that stands out, `loss_spike`: how many times the running median it is."""
        ratio = self._spikes.read(loss)
        if ratio is None:
            return {}
        self._report(f"the loss of step {step:,} is {loss:.4g}, {ratio:.1f} times its running median")
        return {"loss_spike": ratio}

    def _report(self, line: str) -> None:
        if jax.process_index() == 0:
            warnings.warn(f"{self._stage}: {line}", DataWarning, stacklevel=3)


class Watchdog:
    """A context in which another thread checks the clock and reports each slow step once.

    It does not touch devices, and training does not wait for it.
    """

    def __init__(self, check: Callable[[], str | None], report: Callable[[str], None], seconds: float = 1.0):
        """Calls `check` every so many `seconds`; reports what it returns, once until it changes."""
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
