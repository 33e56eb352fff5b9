"""The course of a sweep: shared stages first, then runs, each unless it is done; what fails stops no other."""

import dataclasses
import pathlib
from collections.abc import Callable, Mapping, Sequence

import jax
from ml_collections import ConfigDict

from lift_jax.errors import UserError
from lift_jax.sweeps.plan import Run
from lift_jax.sweeps.work import (
    claim,
    finish_run,
    is_scored,
    is_trained,
    prepare_work,
    shared_stages,
    stage_directory,
    train_work,
)

Failures = dict[pathlib.Path, str]
"""Work directory to why its training, or its scoring, failed."""


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


Tell = Callable[[Work, str | None], None]
"""Is told of work that is done what made it fail, or None."""

Carry = Callable[[Sequence[Work], Tell], None]
"""Does all of the work, in any order."""


def run_local(work: Sequence[Work], tell: Tell) -> None:
    """Does one after the other in this process."""
    for each in work:
        tell(each, attempt(each))


def attempt(work: Work) -> str | None:
    """Does the work, and returns why it failed if its configuration is to blame, else None."""
    try:
        (finish_run if work.scored else train_work)(work.directory)
    except (UserError, jax.errors.JaxRuntimeError) as error:  # the latter is what a full device raises
        return " ".join(str(error).split())
    return None


def follow(runs: Sequence[Run], workdir: pathlib.Path, carry: Carry, tell: Tell) -> Failures:
    """Trains and scores all runs that are not scored yet, and returns what failed, runs and shared stages.

    Args:
      runs: of `plan.plan_runs`.
      workdir: of the sweep.
      carry: how work is done, such as `run_local`.
      tell: is told of all work that is done, or failed because a stage did that it needs.

    Raises:
      UserError: before any training, if the work directory of a run belongs to another configuration.
    """
    claim(runs)
    left = [run for run in runs if not is_scored(run)]
    levels = [*shared_stages(left, workdir), {run.directory: run.config for run in left}]
    failures: Failures = {}

    def note(work: Work, reason: str | None) -> None:
        if reason is not None:
            failures[work.directory] = reason
        tell(work, reason)

    for level, trainings in enumerate(levels, 1):
        ready = []
        for directory, config in trainings.items():
            work = Work(directory, config.stages[-1], scored=level == len(levels))
            reason = _inherited(config, workdir, failures)
            if reason is not None:
                note(work, reason)
            elif work.scored or not is_trained(directory, config):
                prepare_work(workdir, directory, config)
                ready.append(work)
        carry(ready, note)
    return failures


def _inherited(config: ConfigDict, workdir: pathlib.Path, failures: Mapping[pathlib.Path, str]) -> str | None:
    """Why a stage before the last of a configuration failed, or None."""
    for stage in config.stages[:-1]:
        if (directory := stage_directory(workdir, config, stage)) in failures:
            return failures[directory]
    return None
