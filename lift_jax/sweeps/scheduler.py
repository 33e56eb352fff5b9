"""The order of a sweep: shared stages first, then runs, each unless it is done; a failure stops no other run.

`<sweep>/stages/<digest>/` is the work directory of a stage that is not the last of its run, trained once for all runs
that agree in what it depends on; `<sweep>/runs/<variant>-<seed>/` is that of a run, in which the earlier stages'
checkpoints are links to those. Both are work directories as `train.py` makes them.
"""

import dataclasses
import json
import os
import pathlib
import time
from collections.abc import Callable, Sequence

import jax
from ml_collections import ConfigDict

from lift_jax import run_directory
from lift_jax.checkpoints import saved_steps
from lift_jax.config import to_json
from lift_jax.errors import UserError
from lift_jax.paths import atomic_write
from lift_jax.sweeps.plan import Run, stage_directory
from lift_jax.sweeps.results import SCORES_FILE, TIMING_FILE, write_scores
from lift_jax.tasks.run import train
from lift_jax.training.watchdog import Preempted, StopRequest


@dataclasses.dataclass(frozen=True)
class Work:
    """What is to be done in one prepared work directory.

    Attributes:
      directory: of a run or of a shared stage.
      stage: the stage that is trained there.
      scored: whether it is a run, which is scored after its training.
    """

    directory: pathlib.Path
    stage: str
    scored: bool


Report = Callable[[Work, str | None], None]
"""Takes work that is done and why it failed, or None."""

Runner = Callable[[Sequence[Work], Report], None]
"""Does all of the work, in any order."""


def run_local(work: Sequence[Work], report: Report) -> None:
    """A `Runner` that does one after the other in this process."""
    for each in work:
        report(each, attempt(each))


def attempt(work: Work) -> str | None:
    """Does the work, and returns why it failed if its configuration is to blame, else None."""
    try:
        train_work(work.directory)
        if work.scored:
            write_scores(work.directory)
    except (UserError, jax.errors.JaxRuntimeError) as error:  # the latter is what a full device raises
        return " ".join(str(error).split())
    return None


def run_all(runs: Sequence[Run], workdir: pathlib.Path, runner: Runner, report: Report) -> dict[pathlib.Path, str]:
    """Trains and scores all runs that are not scored yet.

    Args:
      runs: of `plan.plan_runs`.
      workdir: of the sweep.
      runner: how work is done, such as `run_local`.
      report: called for all work that is done, or that failed because a stage before it did.

    Returns:
      Work directory to why its training, or its scoring, failed, of runs and shared stages.

    Raises:
      UserError: before any training, if the work directory of a run belongs to another configuration.
    """
    _prepare_directories(runs)
    left = [run for run in runs if not (run.directory / SCORES_FILE).exists()]
    levels = [*shared_stages(left, workdir), {run.directory: run.config for run in left}]
    failures: dict[pathlib.Path, str] = {}

    def note(work: Work, reason: str | None) -> None:
        if reason is not None:
            failures[work.directory] = reason
        report(work, reason)

    for level, trainings in enumerate(levels, 1):
        ready = []
        for directory, config in trainings.items():
            work = Work(directory, config.stages[-1], scored=level == len(levels))
            before = [failures.get(stage_directory(workdir, config, stage)) for stage in config.stages[:-1]]
            reason = next(filter(None, before), None)
            if reason is not None:
                note(work, reason)
            elif work.scored or not _is_trained(directory, config):
                prepare_work(workdir, directory, config)
                ready.append(work)
        runner(ready, note)
    return failures


def shared_stages(runs: Sequence[Run], workdir: pathlib.Path) -> list[dict[pathlib.Path, ConfigDict]]:
    """The work directories, and their configurations, of all stages but the last of all runs: first stages first.

    The work directories of one entry do not depend on each other, but on those of the entry before.
    """
    levels: list[dict[pathlib.Path, ConfigDict]] = []
    for run in runs:
        for level, stage in enumerate(run.config.stages[:-1]):
            if level == len(levels):
                levels.append({})
            config = run.config.copy_and_resolve_references()
            config.stages = tuple(config.stages[: level + 1])
            levels[level].setdefault(stage_directory(workdir, run.config, stage), config.lock())
    return levels


def prepare_work(workdir: pathlib.Path, directory: pathlib.Path, config: ConfigDict) -> None:
    """Makes a work directory in which only the last stage of the configuration is left to be trained."""
    for stage in config.stages[:-1]:
        link = run_directory.checkpoint_directory(directory, stage)
        target = run_directory.checkpoint_directory(stage_directory(workdir, config, stage), stage)
        link.parent.mkdir(parents=True, exist_ok=True)
        if not link.is_symlink():
            link.symlink_to(os.path.relpath(target, link.parent), target_is_directory=True)
    directory.mkdir(parents=True, exist_ok=True)
    # What a shared stage does not depend on may differ between the runs that share it: the last to come is written.
    atomic_write(directory / run_directory.CONFIG_FILE, to_json(config) + "\n")


def train_work(directory: pathlib.Path) -> None:
    """Trains the configuration of a prepared work directory to its end, and keeps how long that took.

    Raises:
      UserError: what `train` raises.
      Preempted: when SIGTERM asked for a stop, and all that was computed is saved.
    """
    config = run_directory.read_config(directory)
    if _is_trained(directory, config):
        return
    went_on = bool(saved_steps(run_directory.checkpoint_directory(directory, config.stages[-1])))
    began = time.perf_counter()
    with StopRequest() as stop:
        train(config, directory)
        timing = {"seconds": time.perf_counter() - began, "went_on": went_on}
        atomic_write(directory / TIMING_FILE, json.dumps(timing) + "\n")
        if stop.is_due(meeting=False):
            raise Preempted(f"{directory}: stopped as asked, after the last step of stage {config.stages[-1]}")


def _prepare_directories(runs: Sequence[Run]) -> None:
    """Makes the runs' work directories; UserError with a line for each that belongs to another configuration."""
    errors = []
    for run in runs:
        try:
            run_directory.prepare(run.directory, run.config)
        except UserError as error:
            errors.append(str(error))
    if errors:
        raise UserError("\n".join(errors))


def _is_trained(directory: pathlib.Path, config: ConfigDict) -> bool:
    """Whether the last stage of a configuration has its last checkpoint in a work directory."""
    stage = config.stages[-1]
    return (run_directory.checkpoint_directory(directory, stage) / str(config.stage[stage].steps)).is_dir()
