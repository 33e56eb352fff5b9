"""A stage of a run: one optimization with its own checkpoints, which goes on from wherever it stopped."""

import dataclasses
import time
from collections.abc import Callable
from typing import Protocol

import jax
import numpy as np
from ml_collections import ConfigDict

from lift_jax import hosts, run_directory
from lift_jax.checkpoints import (
    finish_saving,
    open_checkpoints,
    restore_checkpoint,
    restore_ema,
    save_checkpoint,
    saved_steps,
)
from lift_jax.paths import PathLike
from lift_jax.progress import progress
from lift_jax.training.monitor import Monitor
from lift_jax.training.preemption import Preempted, StopRequest
from lift_jax.training.profiling import StepTrace
from lift_jax.training.run_log import RunLog
from lift_jax.training.sharding import (
    REPLICATED,
    SHARDED,
    compile_gather,
    compile_step,
    data_mesh,
    lay_out,
    place_batch,
    replicate,
    state_shardings,
)
from lift_jax.training.stalls import Stalls
from lift_jax.training.step import TrainState

Validation = Callable[[dict], tuple[dict[str, float], dict[str, np.ndarray]]]
"""Averaged parameters to named figures, and named pictures `[height, width, 3]` uint8."""


class Batches(Protocol):
    """An endless iterator over batches, with a position that goes into checkpoints."""

    def __next__(self) -> dict:
        """The next batch."""

    def get_state(self) -> dict:
        """The position, as JSON can hold it."""

    def set_state(self, state: dict) -> None:
        """Moves to a position."""


@dataclasses.dataclass(frozen=True)
class ReplicatedBatch:
    """The same arrays at every step and on every device, such as a bank that a step draws from itself."""

    arrays: dict

    def __next__(self) -> dict:
        """The arrays."""
        return self.arrays

    def get_state(self) -> dict:
        """Nothing: there is no position."""
        return {}

    def set_state(self, state: dict) -> None:
        """Does nothing."""


@dataclasses.dataclass(frozen=True)
class Stage:
    """What a stage does, apart from when it saves and logs.

    Attributes:
      name: of the stage; names its checkpoints and its lines in the log.
      steps: optimizer steps.
      slices: slices a step, for the rates in the log.
      step: `(state, batch, axis_name) -> (state, metrics)`, see `training.step.train_step`.
      state: before the first step.
      batches: what the steps take: arrays that are divided over the devices, or `ReplicatedBatch`.
      validate: what is looked at now and then.
      subjects: step, from 1, to the names of the subjects in its batch, where batches are made of some of the subjects.
    """

    name: str
    steps: int
    slices: int
    step: Callable
    state: TrainState
    batches: Batches
    validate: Validation
    subjects: Callable[[int], list[str]] | None = None


def finished_parameters(workdir: PathLike, name: str, steps: int, like: dict) -> dict | None:
    """The averaged parameters of a stage that was trained to its end, or None."""
    directory = run_directory.checkpoint_directory(workdir, name)
    if steps not in saved_steps(directory):
        return None
    ema, step = restore_ema(directory, like)
    return ema if step == steps else None  # else the last checkpoint is damaged, and its steps are to be repeated


def run_stage(stage: Stage, config: ConfigDict, workdir: PathLike) -> dict:
    """Trains a stage from its newest checkpoint, or from its first state, and returns its averaged parameters.

    Args:
      stage: what to train.
      config: of the run: its sections `checkpoint` and `log` and `optimizer.shard_state` are used here, and all of it
        goes into checkpoints.
      workdir: of the run.

    Raises:
      UserError: on a full disk, or when too many steps in a row have no finite loss and gradient.
      Preempted: when SIGTERM asked for a stop, and a checkpoint is written.
    """
    mesh = data_mesh()
    everywhere = isinstance(stage.batches, ReplicatedBatch)
    layout = REPLICATED if everywhere else SHARDED
    shardings = state_shardings(stage.state, mesh) if config.optimizer.shard_state else None
    step_function = compile_step(stage.step, mesh, layout, shardings)
    state = replicate(stage.state, mesh) if shardings is None else lay_out(stage.state, shardings)
    gather = compile_gather(mesh) if shardings else lambda averages: averages
    same = place_batch(next(stage.batches), mesh, layout) if everywhere else None
    directory = run_directory.checkpoint_directory(workdir, stage.name)
    options = {"every": config.checkpoint.every_steps, "keep": config.checkpoint.max_to_keep, "last": stage.steps}
    with open_checkpoints(directory, **options) as manager:
        done = 0
        if manager.latest_step() is not None:
            state = restore_checkpoint(manager, state, stage.batches)
            done = int(state.step)
        is_first = hosts.is_first()
        with (
            StopRequest() as stop,
            RunLog(workdir, stage.name, done, enabled=is_first) as log,
            StepTrace(log.events, config.log.profile) as trace,
            Monitor(
                stage.name, config, skipped=int(state.skipped), losses=log.earlier("loss"), subjects=stage.subjects
            ) as monitor,
            Stalls(stage.name, hosts.hang_seconds()) as stalls,
            progress(description=stage.name, unit="step", total=stage.steps, initial=done, enabled=is_first) as bar,
        ):
            clock = _Clock(stage.slices)
            for step in range(done + 1, stage.steps + 1):
                batch = same if everywhere else place_batch(next(stage.batches), mesh, layout)
                trace.before(step)
                stalls.mark(step)
                state, metrics = step_function(state, batch)
                trace.after(step, metrics)
                monitor.note(step, metrics)
                stalls.mark(step)
                if mesh.size > 1 and jax.default_backend() == "cpu":
                    jax.block_until_ready(metrics)  # simulated devices on few cores deadlock if steps queue up
                bar.update()
                logged = step % config.log.every_steps == 0 or step == 1
                validated = step % config.log.validate_every_steps == 0 or step == stage.steps
                read = logged or validated or manager.should_save(step)
                if read:
                    values = {key: float(value) for key, value in metrics.items()}
                    monitor.read(step)
                if logged:
                    log.scalars(step, values | clock.rates(step) | monitor.spike(step, values["loss"]))
                    bar.set_postfix(loss=f"{values['loss']:.4f}")
                if validated and monitor.is_fit(at_end=step == stage.steps):
                    values, pictures = stage.validate(gather(state.ema))
                    log.scalars(step, values)
                    for name, picture in pictures.items():
                        log.picture(step, name, picture)
                # Last, so that whatever interrupts a run, all that a checkpoint's steps tell has been logged.
                stopping = stop.is_due(meeting=logged or step == stage.steps)
                if stopping or manager.should_save(step):
                    log.publish()
                save_checkpoint(manager, state, stage.batches, config, step, now=stopping)
                if stopping and (step < stage.steps or stage.name != config.stages[-1]):
                    finish_saving(manager)
                    raise Preempted(f"{stage.name}: stopped as asked, saved at step {step:,} of {stage.steps:,}")
                if read:
                    monitor.resume(step)
                    stalls.mark(step)
        finish_saving(manager)
        hosts.wait_for_all(f"end of stage {stage.name}")
        return jax.device_get(gather(state.ema))


class _Clock:
    """Rates since the last reading."""

    def __init__(self, slices_per_step: int):
        self._slices, self._since, self._step = slices_per_step, time.perf_counter(), None

    def rates(self, step: int) -> dict[str, float]:
        """Steps and slices per second since the last reading; nothing at the first, which holds the compilation."""
        now, before = time.perf_counter(), self._since
        steps = None if self._step is None else step - self._step
        self._since, self._step = now, step
        if steps is None:
            return {}
        return {"steps_per_second": steps / (now - before), "slices_per_second": steps * self._slices / (now - before)}
