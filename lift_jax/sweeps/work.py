"""The work of a sweep: work directories for shared stages and for runs, each trained, and runs scored.

`<sweep>/stages/<digest>/` is the work directory of a stage that is not the last of its run, trained once for all runs
that agree in what it depends on; `<sweep>/runs/<variant>-<seed>/` is that of a run, in which the earlier stages'
checkpoints are links to those. Both are work directories as `train.py` makes them.
"""

import json
import os
import pathlib
import time

from ml_collections import ConfigDict

from lift_jax import run_directory
from lift_jax.checkpoints import saved_steps
from lift_jax.config import to_json
from lift_jax.errors import UserError
from lift_jax.paths import atomic_write
from lift_jax.sweeps.dependence import stage_digest
from lift_jax.sweeps.plan import Run
from lift_jax.sweeps.scoring import SCORES_FILE, write_scores
from lift_jax.tasks.run import train
from lift_jax.training.preemption import Preempted, StopRequest

TIMING_FILE = "timing.json"


def stage_directory(workdir: pathlib.Path, config: ConfigDict, stage: str) -> pathlib.Path:
    """The work directory of the sweep's stage that a run with this configuration takes."""
    return workdir / "stages" / stage_digest(config, stage)


def shared_stages(runs: list[Run], workdir: pathlib.Path) -> list[dict[pathlib.Path, ConfigDict]]:
    """The work directories, and their configurations, of all stages but the last of all runs: first stages first.

    The work directories of one entry do not depend on each other, but on those of the entry before.
    """
    levels: list[dict[pathlib.Path, ConfigDict]] = []
    for run in runs:
        for level, stage in enumerate(run.config.stages[:-1]):
            if level == len(levels):
                levels.append({})
            levels[level].setdefault(stage_directory(workdir, run.config, stage), _up_to(run.config, level))
    return levels


def is_trained(directory: pathlib.Path, config: ConfigDict) -> bool:
    """Whether the last stage of a configuration has its last checkpoint in a work directory."""
    stage = config.stages[-1]
    return (run_directory.checkpoint_directory(directory, stage) / str(config.stage[stage].steps)).is_dir()


def is_scored(run: Run) -> bool:
    """Whether a run has been trained and scored."""
    return (run.directory / SCORES_FILE).exists()


def claim(runs: list[Run]) -> None:
    """Makes the runs' work directories, or checks that they are these runs'.

    Raises:
      UserError: a line for each that belongs to a run with another configuration, or cannot be written.
    """
    errors = []
    for run in runs:
        try:
            run_directory.prepare(run.directory, run.config)
        except UserError as error:
            errors.append(str(error))
    if errors:
        raise UserError("\n".join(errors))


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
    if is_trained(directory, config):
        return
    went_on = bool(saved_steps(run_directory.checkpoint_directory(directory, config.stages[-1])))
    began = time.perf_counter()
    with StopRequest() as stop:
        train(config, directory)
        timing = {"seconds": time.perf_counter() - began, "went_on": went_on}
        atomic_write(directory / TIMING_FILE, json.dumps(timing) + "\n")
        if stop.is_due(meeting=False):
            raise Preempted(f"{directory}: stopped as asked, after the last step of stage {config.stages[-1]}")


def finish_run(directory: pathlib.Path) -> None:
    """Trains and scores the run of a prepared work directory."""
    train_work(directory)
    write_scores(directory)


def _up_to(config: ConfigDict, level: int) -> ConfigDict:
    """The configuration of a run that ends with its stage number `level`."""
    config = config.copy_and_resolve_references()
    config.stages = tuple(config.stages[: level + 1])
    return config.lock()
