"""The training loop: one stage of a run, from wherever it stopped, with its own checkpoints."""

import dataclasses
from collections.abc import Callable
from typing import Protocol

import jax
import numpy as np
from ml_collections import ConfigDict

from lift_jax import hosts, run_directory
from lift_jax.checkpoints import finish_saving, open_checkpoints, restore_checkpoint, restore_ema, saved_steps
from lift_jax.paths import PathLike
from lift_jax.training.hooks import Hooks
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
from lift_jax.training.step import TrainState

Validation = Callable[[dict], tuple[dict[str, float], dict[str, np.ndarray]]]
"""Averaged parameters to named metrics, and named pictures `[height, width, 3]` uint8."""


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
    """The same arrays at every step and on every device, such as a feature bank from which a step draws."""

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
    """One optimization of a run.

    Attributes:
      name: of the stage; names its checkpoints and its lines in the log.
      steps: optimizer steps.
      slices: slices a step, for the rates in the log.
      step: `(state, batch, axis_name) -> (state, metrics)`, see `training.step.train_step`.
      state: before the first step.
      batches: arrays that are divided over the devices, or `ReplicatedBatch`.
      validate: periodic validation.
      batch_names: step, from 1, to the names of the subjects in its batch; None for a `ReplicatedBatch`.
    """

    name: str
    steps: int
    slices: int
    step: Callable
    state: TrainState
    batches: Batches
    validate: Validation
    batch_names: Callable[[int], list[str]] | None = None


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
    program = Program(stage, config.optimizer.shard_state)
    state, done = program.state, 0
    directory = run_directory.checkpoint_directory(workdir, stage.name)
    options = {"every": config.checkpoint.every_steps, "keep": config.checkpoint.max_to_keep, "last": stage.steps}
    with open_checkpoints(directory, **options) as checkpoints:
        if checkpoints.latest_step() is not None:
            state = restore_checkpoint(checkpoints, state, stage.batches)
            done = int(state.step)
        with Hooks(stage, config, workdir, checkpoints, state, program.gather) as hooks:
            for step in range(done + 1, stage.steps + 1):
                batch = program.next_batch()
                hooks.before(step)
                state, metrics = program.step(state, batch)
                hooks.after(step, state, metrics)
        finish_saving(checkpoints)
        hosts.wait_for_all(f"end of stage {stage.name}")
        return jax.device_get(program.gather(state.ema))


class Program:
    """A stage on the devices.

    Attributes:
      state: before the first step, laid out over the devices.
      step: the compiled `(state, batch) -> (state, metrics)`.
      gather: a tree of arrays, however they are laid out, to the same tree with all arrays on every device.
    """

    def __init__(self, stage: Stage, shard_state: bool):
        """Compiles nothing yet; with `shard_state` optimizer state and averages are divided over the devices."""
        self._mesh, self._batches = data_mesh(), stage.batches
        self._layout = REPLICATED if isinstance(stage.batches, ReplicatedBatch) else SHARDED
        shardings = state_shardings(stage.state, self._mesh) if shard_state else None
        self.step = compile_step(stage.step, self._mesh, self._layout, shardings)
        self.state = lay_out(stage.state, shardings) if shard_state else replicate(stage.state, self._mesh)
        self.gather = compile_gather(self._mesh) if shard_state else lambda tree: tree
        self._replicated = None
        if self._layout == REPLICATED:
            self._replicated = place_batch(next(stage.batches), self._mesh, REPLICATED)

    def next_batch(self) -> dict:
        """The next batch on the devices."""
        if self._replicated is not None:
            return self._replicated
        return place_batch(next(self._batches), self._mesh, self._layout)
