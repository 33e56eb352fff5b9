"""The health of a stage: skipped steps, loss spikes, slow steps. Only `SkippedSteps.read` waits for devices."""

import collections
import math
import statistics
from collections.abc import Callable, Iterable

import jax

from lift_jax.errors import UserError

RECENT = 50
"""Readings of a running median."""

ENOUGH = 10
"""Fewest readings for a running median."""

SPIKE_DEVIATIONS, SPIKE_PART = 10.0, 0.5
"""A spike is above the running median by so many median absolute deviations, and by this part of the median."""

SLOW = 10.0
"""A slow step takes so many times the running median."""

SHORTEST = 5.0
"""Fewest seconds of a slow step: collecting garbage takes some."""


class SkippedSteps:
    """Counts the skipped steps of a stage."""

    def __init__(self, stage: str, limit: int, skipped: int = 0, batch_names: Callable[[int], list[str]] | None = None):
        """Begins after `skipped` skipped steps.

        Args:
          stage: its name, for messages.
          limit: skipped steps in a row at which `read` raises an error.
          skipped: before the first step.
          batch_names: step to the names of the subjects in its batch, if batches are of subjects.
        """
        self._stage, self._limit, self._batch_names = stage, limit, batch_names
        self._skipped, self._row = skipped, 0
        self._noted: list[tuple[int, jax.Array]] = []

    def note(self, step: int, skipped: jax.Array) -> None:
        """Records how many steps had been skipped after `step`, without waiting for it."""
        self._noted.append((step, skipped))

    def read(self) -> list[str]:
        """A line for every skipped step since the last reading.

        Raises:
          UserError: if `limit` steps in a row were skipped.
        """
        noted, self._noted = self._noted, []
        lines: list[str] = []
        for (step, _), skipped in zip(noted, jax.device_get([count for _, count in noted]), strict=True):
            self._row = self._row + 1 if skipped > self._skipped else 0
            self._skipped = int(skipped)
            if self._row:
                lines.append(self._line(step))
            if self._row == self._limit:
                raise UserError(
                    f"{self._stage}: {lines[-1]}; the last of {self._row} in a row "
                    "(config.optimizer.max_nonfinite_steps): "
                    f"check the data, or lower config.stage.{self._stage}'s learning rates or "
                    "config.optimizer.clip_norm in another --workdir; this one keeps its last checkpoint"
                )
        return lines

    def newest_was_taken(self, *, at_end: bool) -> bool:
        """Whether the last step read was not skipped.

        Raises:
          UserError: if it was skipped and is the stage's last.
        """
        if self._row and at_end:
            raise UserError(
                f"{self._stage}: its last steps were skipped, {self._row} of them: loss or gradient was not finite; "
                f"lower config.stage.{self._stage}'s learning rates or config.optimizer.clip_norm in another --workdir"
            )
        return not self._row

    def _line(self, step: int) -> str:
        batch = f"of {_several(self._batch_names(step))}" if self._batch_names else "drawn from the feature bank"
        return f"step {step:,} was skipped: loss or gradient is not finite; its batch is {batch}"


class Spikes:
    """Finds losses far above their running median."""

    def __init__(self, losses: Iterable[float] = ()):
        """Begins after some losses."""
        self._recent = collections.deque((loss for loss in losses if math.isfinite(loss)), RECENT)

    def read(self, loss: float) -> float | None:
        """The ratio of a loss to the running median if it is a spike, else None; adds the loss to the median."""
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
    """Finds steps that take far longer than their running median, from readings of a clock after some of them."""

    def __init__(self):
        self._recent: collections.deque[float] = collections.deque(maxlen=RECENT)
        self._step: int | None = None
        self._since: float | None = None

    def begin(self, step: int, now: float) -> None:
        """Steps after `step` are timed from `now`, s."""
        self._step, self._since = step, now

    def read(self, step: int, now: float) -> None:
        """All steps up to `step` are done; the next are not timed before `begin`."""
        if self._step is not None and self._since is not None and step > self._step and now >= self._since:
            self._recent.append((now - self._since) / (step - self._step))
        self._since = None

    def slow(self, steps: int, now: float) -> str | None:
        """A message if a step is slow already, when the next reading is due after `steps` steps."""
        since, step = self._since, self._step  # another thread may end the timing meanwhile
        if since is None or step is None or len(self._recent) < ENOUGH:
            return None
        usual = statistics.median(list(self._recent))
        if now - since < max((steps - 1) * usual + SLOW * usual, SHORTEST):
            return None
        return f"a step after {step:,} takes over {SLOW:.0f} times as long as the {usual:.3g} s of usual steps"


def _several(names: list[str], shown: int = 8) -> str:
    """Names in one line, each once, the first few of many."""
    names = sorted(set(names))
    more = f" and {len(names) - shown} more" if len(names) > shown else ""
    return ", ".join(names[:shown]) + more
