"""What training begins with: random parameters, or those of another run."""

from collections.abc import Callable

from ml_collections import ConfigDict

from lift_jax import run_directory
from lift_jax.errors import UserError
from lift_jax.places import Place, place
from lift_jax.trained import newest_stage
from lift_jax.training.checkpoints import restore_ema, saved_steps


def starting_parameters(
    config: ConfigDict, workdir: Place, fresh: dict, held: Callable[[str], dict] | None = None
) -> dict:
    """`fresh`, or, if `config.start_from` names a run, the averaged parameters of its newest checkpoint.

    A run that has a checkpoint of its own takes them from there: the one that it began with may be gone.

    Args:
      config: of the run that begins.
      workdir: of the run that begins.
      fresh: its random parameters.
      held: name of a stage to parameters like those that a checkpoint of it holds; None: all stages hold `fresh`.

    Raises:
      UserError: if there is no such run, or it is of another task or network, or has no checkpoint yet.
    """
    if not config.start_from:
        return fresh
    begun = any(saved_steps(run_directory.checkpoint_directory(workdir, name)) for name in config.stages)
    origin = workdir if begun else place(config.start_from)
    try:
        other = run_directory.read_config(origin, named_by="it")
        if other.task != config.task:
            raise UserError(f"{origin}: is a run of task {other.task}, not {config.task}")
        stage = newest_stage(origin, other)
        directory = run_directory.checkpoint_directory(origin, stage)
        params, _ = restore_ema(directory, fresh if held is None else held(stage))
    except UserError as error:
        raise UserError(f"config.start_from: {error}") from None
    return params
