"""What surrounds the steps of a stage: logging, validation, checkpoints, warnings, interruption."""

import contextlib
import time
import warnings
from typing import TYPE_CHECKING

import jax
from ml_collections import ConfigDict

from lift_jax import hosts
from lift_jax.checkpoints import finish_saving, save_checkpoint
from lift_jax.errors import DataWarning
from lift_jax.paths import PathLike
from lift_jax.progress import progress
from lift_jax.training.health import SkippedSteps, Spikes, StepTimes
from lift_jax.training.run_log import RunLog, StepTrace
from lift_jax.training.watchdog import Preempted, Stalls, StopRequest, Watchdog

if TYPE_CHECKING:
    from collections.abc import Callable

    import orbax.checkpoint as ocp

    from lift_jax.training.loop import Stage
    from lift_jax.training.step import TrainState


class Hooks:
    """A context around the steps of a stage. Only metrics that are due for logging are waited for."""

    def __init__(
        self,
        stage: "Stage",
        config: ConfigDict,
        workdir: PathLike,
        checkpoints: "ocp.CheckpointManager",
        state: "TrainState",
        gather: "Callable[[dict], dict]",
    ):
        """Begins before a step.

        Args:
          stage: the stage.
          config: of the run.
          workdir: of the run.
          checkpoints: of the stage.
          state: before the step.
          gather: lays averaged parameters out for validation.
        """
        self._stage, self._config, self._checkpoints, self._gather = stage, config, checkpoints, gather
        self._workdir, self._done, self._is_first = workdir, int(state.step), hosts.is_first()
        limit, skipped = config.optimizer.max_nonfinite_steps, int(state.skipped)
        self._skipped = SkippedSteps(stage.name, limit, skipped, stage.batch_names)
        self._times, self._rates = StepTimes(), Rates(stage.slices)
        # Simulated devices on few cores deadlock if steps queue up.
        self._waits = jax.device_count() > 1 and jax.default_backend() == "cpu"

    def __enter__(self) -> "Hooks":
        name, every, enabled = self._stage.name, self._config.log.every_steps, self._is_first
        with contextlib.ExitStack() as stack:
            enter = stack.enter_context
            self._stop = enter(StopRequest())
            self._log = enter(RunLog(self._workdir, name, self._done, enabled=enabled))
            self._spikes = Spikes(self._log.earlier("loss"))
            self._trace = enter(StepTrace(self._log.events, self._config.log.profile))
            enter(Watchdog(lambda: self._times.slow(every, time.monotonic()), self._warn))
            self._stalls = enter(Stalls(name, hosts.hang_seconds()))
            total, initial = self._stage.steps, self._done
            self._bar = enter(progress(description=name, unit="step", total=total, initial=initial, enabled=enabled))
            self._exit = stack.pop_all().__exit__
        return self

    def __exit__(self, *error) -> None:
        self._exit(*error)

    def before(self, step: int) -> None:
        """To be called before each step."""
        self._trace.before(step)
        self._stalls.mark(step)

    def after(self, step: int, state: "TrainState", metrics: dict[str, jax.Array]) -> None:
        """To be called after each step: logs, validates and saves where it is due.

        Raises:
          UserError: if too many steps in a row were skipped, or a checkpoint cannot be written.
          Preempted: if the run was asked to stop, once a checkpoint is written.
        """
        self._trace.after(step, metrics)
        self._skipped.note(step, metrics["skipped"])
        self._stalls.mark(step)
        if self._waits:
            jax.block_until_ready(metrics)
        self._bar.update()
        log, is_last = self._config.log, step == self._stage.steps
        logged = step % log.every_steps == 0 or step == 1
        validated = step % log.validate_every_steps == 0 or is_last
        read = logged or validated or self._checkpoints.should_save(step)
        if read:
            values = {key: float(value) for key, value in metrics.items()}
            self._times.read(step, time.monotonic())
            for line in self._skipped.read():
                self._warn(line)
        if logged:
            self._log.scalars(step, values | self._rates.read(step) | self._spike(step, values["loss"]))
            self._bar.set_postfix(loss=f"{values['loss']:.4f}")
        if validated and self._skipped.newest_was_taken(at_end=is_last):
            values, pictures = self._stage.validate(self._gather(state.ema))
            self._log.scalars(step, values)
            for name, picture in pictures.items():
                self._log.picture(step, name, picture)
        # Last, so that all steps of a checkpoint are in the log, whatever interrupts the run.
        self._save(step, state, stopping=self._stop.is_due(meeting=logged or is_last))
        if read:
            self._times.begin(step, time.monotonic())
            self._stalls.mark(step)

    def _save(self, step: int, state: "TrainState", stopping: bool) -> None:
        stage, config = self._stage, self._config
        if stopping or self._checkpoints.should_save(step):
            self._log.publish()
        save_checkpoint(self._checkpoints, state, stage.batches, config, step, now=stopping)
        if stopping and (step < stage.steps or stage.name != config.stages[-1]):
            finish_saving(self._checkpoints)
            raise Preempted(f"{stage.name}: stopped as asked, saved at step {step:,} of {stage.steps:,}")

    def _spike(self, step: int, loss: float) -> dict[str, float]:
        """Logs and warns of a loss far above its running median."""
        ratio = self._spikes.read(loss)
        if ratio is None:
            return {}
        self._warn(f"the loss of step {step:,} is {loss:.4g}, {ratio:.1f} times its running median")
        return {"loss_spike": ratio}

    def _warn(self, line: str) -> None:
        if self._is_first:
            warnings.warn(f"{self._stage.name}: {line}", DataWarning, stacklevel=3)


class Rates:
    """Steps and slices per second since the last reading."""

    def __init__(self, slices_per_step: int):
        self._slices, self._since = slices_per_step, time.perf_counter()
        self._step: int | None = None

    def read(self, step: int) -> dict[str, float]:
        """The rates; nothing at the first reading, which would hold the compilation."""
        now, before = time.perf_counter(), self._since
        steps = None if self._step is None else step - self._step
        self._since, self._step = now, step
        if steps is None:
            return {}
        return {"steps_per_second": steps / (now - before), "slices_per_second": steps * self._slices / (now - before)}
