"""Checkpoints of a stage, by Orbax: written in the background, whole or not at all.

One checkpoint holds `state` (step, parameters, optimizer, average, random key), `ema` (the averaged parameters again,
for those who need no more), `data` (the position of Grain's iterator), `config` (the configuration, JSON) and `checks`
(how many steps were skipped, and sums by which damage is seen).
"""

import contextlib
import warnings
from typing import TYPE_CHECKING

import jax
import jax.numpy as jnp
import numpy as np
import orbax.checkpoint as ocp
from jax.experimental import multihost_utils
from ml_collections import ConfigDict
from orbax.checkpoint import checkpoint_managers

from lift_jax.errors import DataWarning, UserError
from lift_jax.paths import PathLike, is_in_bucket

if TYPE_CHECKING:
    import grain

    from lift_jax.training.step import TrainState


def open_checkpoints(directory: PathLike, *, every: int, keep: int, last: int) -> ocp.CheckpointManager:
    """A manager, also a context manager, that saves at multiples of `every` and at step `last`, and keeps `keep`.

    Leaving the context waits for the write under way.
    """
    saving = [checkpoint_managers.FixedIntervalPolicy(every), checkpoint_managers.SpecificStepsPolicy([last])]
    options = ocp.CheckpointManagerOptions(
        save_decision_policy=checkpoint_managers.AnySavePolicy(saving),
        preservation_policy=checkpoint_managers.LatestN(keep),
    )
    return ocp.CheckpointManager(_absolute(directory), options=options)


def save_checkpoint(
    manager: ocp.CheckpointManager,
    state: "TrainState",
    batches: "grain.DatasetIterator",
    config: ConfigDict,
    step: int,
    *,
    now: bool = False,
) -> None:
    """Begins to write a checkpoint if one is due at `step`, or in any case `now`, and returns before it is on disk.

    Raises:
      UserError: if this write or the one before failed, as on a full disk; older checkpoints are whole.
    """
    if not (now or manager.should_save(step)):
        return
    saved, position = _saved(state), batches.get_state()
    sums = {"state": bit_sum(saved), "ema": bit_sum(state.ema)}
    parts = ocp.args.Composite(
        state=ocp.args.StandardSave(saved),
        ema=ocp.args.StandardSave(state.ema),
        data=ocp.args.JsonSave(position),
        config=ocp.args.JsonSave(config.to_dict()),
        checks=ocp.args.JsonSave({"skipped": int(state.skipped), "data": position, "sums": sums}),
    )
    with _told(manager):
        manager.save(step, args=parts, force=now)


def save_parameters(directory: PathLike, params: dict) -> None:
    """Writes parameters as the averaged ones of a checkpoint of step 0, for `restore_ema`; returns when it is on disk.

    Raises:
      UserError: if they cannot be written, as on a full disk.
    """
    parts = ocp.args.Composite(
        ema=ocp.args.StandardSave(params), checks=ocp.args.JsonSave({"sums": {"ema": bit_sum(params)}})
    )
    with ocp.CheckpointManager(_absolute(directory)) as manager, _told(manager):
        manager.save(0, args=parts)
        manager.wait_until_finished()


def finish_saving(manager: ocp.CheckpointManager) -> None:
    """Waits until all checkpoints are on disk.

    Raises:
      UserError: if the last write failed, as on a full disk; older checkpoints are whole.
    """
    with _told(manager):
        manager.wait_until_finished()


@contextlib.contextmanager
def _told(manager):
    try:
        yield
    except Exception as error:  # what a write in the background ended with, of any kind
        raise UserError(f"{manager.directory}: cannot save a checkpoint ({_one_line(error)}); free space") from None


def restore_checkpoint(
    manager: ocp.CheckpointManager, state: "TrainState", batches: "grain.DatasetIterator"
) -> "TrainState":
    """The newest whole checkpoint, laid out over devices as `state` is; `batches` is moved to its position.

    Newer ones, which are damaged, are renamed to `<step>.damaged`, each with a warning.

    Raises:
      UserError: if all checkpoints are damaged or of another network.
    """
    step, (restored, position), refused = _newest_whole(manager, lambda step: _restore_state(manager, step, state))
    for newer, error in refused.items():
        _put_aside(manager, newer, f"{error}; going on from step {step}")
    batches.set_state(position)
    return restored


def saved_steps(directory: PathLike) -> set[int]:
    """The steps of which a stage has checkpoints; not those that are, or were, in the writing.

    They have other names than their steps' or, in a bucket, lack the object that Orbax writes last.
    """
    paths = [path for path in directory.glob("*") if path.name.isdigit()]
    return {int(path.name) for path in paths if not is_in_bucket(path) or ocp.utils.is_checkpoint_finalized(path)}


def restore_ema(directory: PathLike, like: dict) -> tuple[dict, int]:
    """The averaged parameters of a stage's newest whole checkpoint, and its step; newer ones are warned of.

    Args:
      directory: the stage's checkpoints.
      like: parameters, or their shapes and dtypes, that are expected.

    Raises:
      UserError: if there is no checkpoint yet, or all are damaged or of another network.
    """
    if not directory.is_dir():
        raise UserError(f"{directory}: no checkpoint there yet; let train.py get to its first one")
    with ocp.CheckpointManager(_absolute(directory)) as manager:
        if not manager.all_steps():
            raise UserError(f"{directory}: no checkpoint there yet; let train.py get to its first one")
        # On this process's own device, wherever the checkpoint's arrays lay.
        here = jax.sharding.SingleDeviceSharding(jax.local_devices()[0])
        like = jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=here), like)
        step, ema, refused = _newest_whole(manager, lambda step: _restore_average(manager, step, like))
        for error in refused.values():
            warnings.warn(f"{error}; using step {step}", DataWarning, stacklevel=2)
    return ema, step


def bit_sum(tree) -> int:
    """A sum, modulo 2³², over all bits of all arrays of a tree, that any one flipped bit changes."""
    return int(_bit_sum(tree))


@jax.jit
def _bit_sum(tree):
    def one(x):
        x = jax.random.key_data(x) if jnp.issubdtype(x.dtype, jax.dtypes.prng_key) else x
        bits = jax.lax.bitcast_convert_type(x, f"uint{8 * x.dtype.itemsize}").astype(jnp.uint32).ravel()
        return (bits * (2 * jnp.arange(bits.size, dtype=jnp.uint32) + 1)).sum(dtype=jnp.uint32)

    total = jnp.zeros((), jnp.uint32)
    for leaf in jax.tree.leaves(tree):
        total = 31 * total + one(leaf)
    return total


def _newest_whole(manager, restore):
    """The newest step that `restore` does not refuse, what it gives, and the refusals of those after it."""
    refused = {}
    for step in sorted(manager.all_steps(), reverse=True):
        try:
            return step, restore(step), refused
        except UserError as error:
            refused[step] = error
    raise next(iter(refused.values()))


def _saved(state: "TrainState") -> dict:
    """What of a state is saved as arrays."""
    return {name: value for name, value in vars(state).items() if name != "skipped"}


def _restore_state(manager, step, state):
    """State and data position of a checkpoint of which the average too can be read, as inference will."""
    shapes = jax.tree.map(ocp.utils.to_shape_dtype_struct, _saved(state))
    parts = {
        "state": ocp.args.StandardRestore(shapes),
        "ema": ocp.args.StandardRestore(shapes["ema"]),
        "data": ocp.args.JsonRestore(),
    }
    _check_network(manager.directory / str(step), state.ema)
    restored, checks = _restore(manager, step, parts)
    # An array like the first state's, so that the step is not compiled again.
    skipped = jax.device_put(np.int32(checks["skipped"]), state.skipped.sharding)
    return state.replace(**restored["state"], skipped=skipped), restored["data"]


def _restore_average(manager, step, like):
    _check_network(manager.directory / str(step), like)
    return _restore(manager, step, {"ema": ocp.args.StandardRestore(like)})[0]["ema"]


def _restore(manager, step, parts):
    """Parts of a checkpoint, and the checks that were saved with it, to which they answer."""
    path = manager.directory / str(step)
    has_checks = (path / "checks").is_dir()  # else it is of before there were any
    try:
        asked = parts | ({"checks": ocp.args.JsonRestore()} if has_checks else {})
        restored = manager.restore(step, args=ocp.args.Composite(**asked))
        checks = restored["checks"] if has_checks else {"skipped": 0, "sums": {}}
        if has_checks and "data" in parts and restored["data"] != checks["data"]:
            raise ValueError("the position in the data differs from what was saved")
        for name, saved in checks["sums"].items():
            if name in parts and bit_sum(restored[name]) != saved:
                raise ValueError(f"the numbers in {name} differ from those that were saved")
    except Exception as error:  # Orbax raises just that where a file is shorter than it should be
        raise UserError(
            f"{path}: cannot be restored ({_one_line(error)}); it is damaged or of another network"
        ) from None
    return restored, checks


def _put_aside(manager, step, line):
    """Renames a damaged checkpoint, so that its step can be saved again, with a warning."""
    path = manager.directory / str(step)
    aside = path.with_name(f"{step}.damaged")
    if jax.process_index() == 0:
        aside.rmtree(missing_ok=True)
        path.rename(aside)
    if jax.process_count() > 1:
        multihost_utils.sync_global_devices(f"{aside}")  # before any process looks again
    manager.reload()
    warnings.warn(line, DataWarning, stacklevel=2)


def _absolute(directory: PathLike) -> PathLike:
    return directory if is_in_bucket(directory) else directory.absolute()


def _check_network(path, expected):
    """Refuses a checkpoint whose averaged parameters have other names or shapes, before any of them is read.

    Orbax would refuse some of these with a page of errors, and return others in the checkpoint's own shapes.
    """
    try:
        stored = _shapes(ocp.StandardCheckpointHandler().metadata(path / "ema").tree)
    except Exception:  # of any kind where files are damaged; restoring raises it again
        return
    required = _shapes(expected)
    odd = sorted(set(stored) ^ set(required))
    if odd:
        which = f"lacks parameter {odd[0]} of the" if odd[0] in required else f"holds parameter {odd[0]}, unlike the"
        raise UserError(f"{path}: is of another network; it {which} configured network")
    for key, shape in stored.items():
        if shape != required[key]:
            raise UserError(f"{path}: parameter {key} has shape {shape}, the network's has {required[key]}")


def _shapes(tree) -> dict[str, tuple[int, ...]]:
    leaves = jax.tree_util.tree_leaves_with_path(tree)
    return {jax.tree_util.keystr(name, simple=True, separator="/"): tuple(leaf.shape) for name, leaf in leaves}


def _one_line(error: Exception) -> str:
    text = " ".join(str(error).split())
    return text if len(text) <= 200 else text[:200] + " …"
