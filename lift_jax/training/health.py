"""The health of a stage: steps that were skipped, losses that spike, steps that take too long.

Pure of devices and clocks: inputs are numbers, and `now` is an argument. None of it makes the host wait for a
device but `SkippedSteps.read`, which is called where metrics are read in any case.
"""

import collections
import math
import statistics
from collections.abc import Callable, Iterable

import jax

from lift_jax.errors import UserError

RECENT = 50
"""Readings that a running median is taken over."""

ENOUGH = 10
"""Readings below which nothing is reported."""

SPIKE_DEVIATIONS, SPIKE_PART = 10.0, 0.5
"""A spike is above the running median by so many median absolute deviations, and by this part of the median."""

SLOW = 10.0
"""A step is slow that takes so many times the running median."""

SHORTEST = 5.0
"""Seconds that no step is called slow below: collecting garbage takes some."""


class SkippedSteps:
    """Which steps of a stage were skipped, counted without waiting for any step but where `read` is called."""

    def __init__(self, stage: str, limit: int, skipped: int = 0, subjects: Callable[[int], list[str]] | None = None):
        """Begins after `skipped` skipped steps.

        Args:
          stage: its name, for messages.
          limit: steps in a row at which `read` refuses to go on.
          skipped: before the first step that will be noted.
          subjects: step to the names of the subjects in its batch, if batches are made of some subjects.
        """
        self._stage, self._limit, self._subjects = stage, limit, subjects
        self._skipped, self._row, self._noted = skipped, 0, []

    def note(self, step: int, skipped: jax.Array) -> None:
        """Takes down how many steps had been skipped after `step`, which may still be in the computing."""
        self._noted.append((step, skipped))

    def read(self) -> list[str]:
        """A line for every skipped step since the last reading.

        Raises:
          UserError: if `limit` steps in a row were skipped.
        """
        noted, self._noted = self._noted, []
        lines = []
        for (step, _), skipped in zip(noted, jax.device_get([count for _, count in noted]), strict=True):
            self._row = self._row + 1 if skipped > self._skipped else 0
            self._skipped = int(skipped)
            if self._row:
                lines.append(self._line(step))
            if self._row == self._limit:
                raise UserError(
                    f"{self._stage}: {lines[-1]}; the last of {self._row} in a row "
                    "(config.optimizer.max_nonfinite_steps): "
                    f"look at the data, or lower config.stage.{self._stage}'s rates or config.optimizer.clip_norm in "
                    "another --workdir; this one keeps its last checkpoint"
                )
        return lines

    def newest_was_taken(self, *, at_end: bool) -> bool:
        """Whether the last step read was taken, so that what was trained can be looked at.

        Raises:
          UserError: if it was skipped and is the stage's last: what was trained is of no use.
        """
        if self._row and at_end:
            raise UserError(
                f"{self._stage}: its last steps were skipped, {self._row} of them: loss or gradient was not finite; "
                f"lower config.stage.{self._stage}'s rates or config.optimizer.clip_norm in another --workdir"
            )
        return not self._row

    def _line(self, step: int) -> str:
        batch = f"of {_several(self._subjects(step))}" if self._subjects else "drawn from the bank"
        return f"step {step:,} was skipped: loss or gradient is not finite; its batch is {batch}"


class Spikes:
    """A running median of losses, and which losses stand out of it."""

    def __init__(self, losses: Iterable[float] = ()):
        """Begins after some losses."""
        self._recent = collections.deque((loss for loss in losses if math.isfinite(loss)), RECENT)

    def read(self, loss: float) -> float | None:
        """How many times the running median a loss is, if it is a spike; the loss is then part of the median."""
        recent = list(self._recent)
        if not math.isfinite(loss):
            return None
        self._recent.append(loss)
        if len(recent) < ENOUGH:
            return None
        median = statistics.median(recent)
        deviation = statistics.median(abs(each - median) for each in recent)
        above = max(SPIKE_DEVIATIONS * deviation, SPIKE_PART * abs(median))
        return loss / median if median > 0 and loss > median + above else None


class StepTimes:
    """How long steps take, by readings of a clock after some of them, and whether one takes too long."""

    def __init__(self):
        self._recent = collections.deque(maxlen=RECENT)
        self._step = self._since = None

    def begin(self, step: int, now: float) -> None:
        """Steps after `step` are timed from `now`, s."""
        self._step, self._since = step, now

    def read(self, step: int, now: float) -> None:
        """All steps up to `step` are done; the next are not timed before `begin`."""
        if self._step is not None and step > self._step and now >= self._since:
            self._recent.append((now - self._since) / (step - self._step))
        self._since = None

    def slow(self, steps: int, now: float) -> str | None:
        """Words for a step that takes too long already, when the next reading is due after `steps` steps."""
        since, step = self._since, self._step  # another thread may end the timing meanwhile
        if since is None or len(self._recent) < ENOUGH:
            return None
        usual = statistics.median(list(self._recent))
        if now - since < max((steps - 1) * usual + SLOW * usual, SHORTEST):
            return None
        return f"a step after {step:,} takes over {SLOW:.0f} times as long as the {usual:.3g} s that are usual"


def _several(names: list[str], shown: int = 8) -> str:
    """Names in one line, each once, the first few of many."""
    names = sorted(set(names))
    more = f" and {len(names) - shown} more" if len(names) > shown else ""
    return ", ".join(names[:shown]) + more
