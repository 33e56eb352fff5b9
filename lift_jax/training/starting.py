"""What training begins with: random parameters, or those of another run, which are kept in the work directory."""

from collections.abc import Callable

import jax
from ml_collections import ConfigDict

from lift_jax import hosts, run_directory
from lift_jax.checkpoints import restore_ema, save_parameters, saved_steps
from lift_jax.errors import UserError
from lift_jax.paths import PathLike
from lift_jax.trained import newest_stage
from lift_jax.weights import is_exported, read_weights, trained_folder

START = "start"
"""The folder among the stages' checkpoints that holds what a run of `config.start_from` began with."""


def starting_parameters(
    config: ConfigDict, workdir: PathLike, fresh: dict, held: Callable[[str], dict] | None = None
) -> dict:
    """`fresh`, or the averaged parameters of the run, or of the shipped weights, that `config.start_from` names.

    A run that has kept what it began with takes that: the other run may be gone, or have been trained further.

    Args:
      config: of the run that begins.
      workdir: of the run that begins.
      fresh: its random parameters, all of them.
      held: name of a stage to parameters like those that a checkpoint of it holds; None: all stages hold `fresh`.

    Returns:
      What was kept, which is complete, or what the other run's checkpoint holds.

    Raises:
      UserError: if there is no such run, or it is of another task or network, or has no checkpoint yet.
    """
    if not config.start_from:
        return fresh
    if is_kept(workdir):
        return restore_ema(run_directory.checkpoint_directory(workdir, START), fresh)[0]
    origin = trained_folder(config.start_from)
    try:
        other = run_directory.read_config(origin, named_by="it")
        if other.task != config.task:
            raise UserError(f"{origin}: is a run of task {other.task}, not {config.task}")
        if is_exported(origin):
            return read_weights(origin, fresh)[0]
        stage = newest_stage(origin, other)
        directory = run_directory.checkpoint_directory(origin, stage)
        params, _ = restore_ema(directory, fresh if held is None else held(stage))
    except UserError as error:
        raise UserError(f"config.start_from: {error}") from None
    return params


def is_kept(workdir: PathLike) -> bool:
    """Whether a work directory holds what its run began with."""
    return bool(saved_steps(run_directory.checkpoint_directory(workdir, START)))


def keep_start(config: ConfigDict, workdir: PathLike, params: dict) -> None:
    """Writes the complete parameters that a run of `config.start_from` begins with, once.

    Checkpoints of an early stage need not hold the networks of later ones, and the other run may be gone by then.

    Raises:
      UserError: if they cannot be written.
    """
    if config.start_from and not is_kept(workdir):
        save_parameters(run_directory.checkpoint_directory(workdir, START), jax.device_get(params))
        hosts.wait_for_all("parameters to begin with")
