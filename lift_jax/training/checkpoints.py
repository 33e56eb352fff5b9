"""Checkpoints of a stage, by Orbax: written in the background, whole or not at all.

One checkpoint holds `state` (step, parameters, optimiser, average, random key), `ema` (the averaged parameters again,
for those who need no more), `data` (the position of Grain's iterator) and `config` (the configuration, JSON).
"""

import pathlib

import grain
import jax
import orbax.checkpoint as ocp
from ml_collections import ConfigDict
from orbax.checkpoint import checkpoint_managers

from lift_jax.errors import UserError
from lift_jax.training.step import TrainState


def open_checkpoints(directory: pathlib.Path, *, every: int, keep: int, last: int) -> ocp.CheckpointManager:
    """A manager, also a context manager, that saves at multiples of `every` and at step `last`, and keeps `keep`.

    Leaving the context waits for the write under way.
    """
    saving = [checkpoint_managers.FixedIntervalPolicy(every), checkpoint_managers.SpecificStepsPolicy([last])]
    options = ocp.CheckpointManagerOptions(
        save_decision_policy=checkpoint_managers.AnySavePolicy(saving),
        preservation_policy=checkpoint_managers.LatestN(keep),
    )
    return ocp.CheckpointManager(directory.absolute(), options=options)


def save_checkpoint(
    manager: ocp.CheckpointManager,
    state: TrainState,
    batches: grain.DatasetIterator,
    config: ConfigDict,
    step: int,
    *,
    now: bool = False,
) -> None:
    """Begins to write a checkpoint if one is due at `step`, or in any case `now`, and returns before it is on disk.

    Raises:
      UserError: if this write or the one before failed, as on a full disk; older checkpoints are whole.
    """
    parts = ocp.args.Composite(
        state=ocp.args.StandardSave(state),
        ema=ocp.args.StandardSave(state.ema),
        data=ocp.args.JsonSave(batches.get_state()),
        config=ocp.args.JsonSave(config.to_dict()),
    )
    try:
        manager.save(step, args=parts, force=now)
    except (OSError, ValueError) as error:
        raise UserError(f"{manager.directory}: cannot save step {step} ({_one_line(error)}); free space") from None


def restore_checkpoint(manager: ocp.CheckpointManager, state: TrainState, batches: grain.DatasetIterator) -> TrainState:
    """The newest checkpoint, laid out over devices as `state` is; `batches` is moved to its position.

    Raises:
      UserError: if the checkpoint is damaged or of another network.
    """
    step = manager.latest_step()
    parts = ocp.args.Composite(
        state=ocp.args.StandardRestore(jax.tree.map(ocp.utils.to_shape_dtype_struct, state)),
        data=ocp.args.JsonRestore(),
    )
    restored = _restore(manager, step, parts)
    _check_shapes(restored["state"].params, state.params, manager.directory / str(step))
    batches.set_state(restored["data"])
    return restored["state"]


def has_checkpoint(directory: pathlib.Path) -> bool:
    """Whether a stage has a checkpoint; one that is, or was, in the writing has another name than its step's."""
    return any(path.name.isdigit() for path in directory.glob("*"))


def restore_ema(directory: pathlib.Path, like: dict) -> tuple[dict, int]:
    """The averaged parameters of a stage's newest checkpoint, and its step.

    Args:
      directory: the stage's checkpoints.
      like: parameters, or their shapes and dtypes, that are expected.

    Raises:
      UserError: if there is no checkpoint yet, or it is damaged or of another network.
    """
    if not directory.is_dir():
        raise UserError(f"{directory}: no checkpoint there yet; let train.py get to its first one")
    with ocp.CheckpointManager(directory.absolute()) as manager:
        step = manager.latest_step()
        if step is None:
            raise UserError(f"{directory}: no checkpoint there yet; let train.py get to its first one")
        # On this process's own device, wherever the checkpoint's arrays lay.
        here = jax.sharding.SingleDeviceSharding(jax.local_devices()[0])
        like = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=here), like)
        ema = _restore(manager, step, ocp.args.Composite(ema=ocp.args.StandardRestore(like)))["ema"]
        _check_shapes(ema, like, directory / str(step))
    return ema, step


def _restore(manager, step, parts):
    try:
        return manager.restore(step, args=parts)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(
            f"{manager.directory / str(step)}: cannot be restored ({_one_line(error)}); it is damaged or of another "
            "network: remove it to go on from an older one"
        ) from None


def _check_shapes(restored, expected, path):
    """Orbax can return arrays of a checkpoint's own shapes: these must be the network's."""
    for (name, found), (_, wanted) in zip(
        jax.tree_util.tree_leaves_with_path(restored), jax.tree_util.tree_leaves_with_path(expected), strict=True
    ):
        if found.shape != wanted.shape:
            key = jax.tree_util.keystr(name, simple=True, separator="/")
            raise UserError(f"{path}: parameter {key} has shape {found.shape}, the network's has {wanted.shape}")


def _one_line(error: Exception) -> str:
    text = " ".join(str(error).split())
    return text if len(text) <= 200 else text[:200] + " …"
