"""A work directory: the configuration of a run beside all that the run makes.

`config.json`, `metrics.jsonl`, `tensorboard/`, `checkpoints/<stage>/<step>/`, and, unless they are shared, the
preprocessed volumes in `cache/`. Nothing in it is executed: networks are rebuilt from the JSON. It may be in a bucket.
"""

import contextlib
import fcntl
import pathlib
from collections.abc import Iterator

from ml_collections import ConfigDict

from lift_jax import hosts
from lift_jax.config import differences, from_json, to_json
from lift_jax.errors import UserError
from lift_jax.paths import PathLike, atomic_write, is_in_bucket, resolve_local_path

CONFIG_FILE, LOCK_FILE, SPLIT_FILE = "config.json", ".lock", "split.json"

MAY_DIFFER = (
    "log.",
    "checkpoint.",
    "inference.",
    "optimizer.max_nonfinite_steps",
    "optimizer.shard_state",
    "data.threads",
    "data.cache",
    "data.root",
    "data.manifest",
)
"""Keys that do not change what a run computes, so that a run may go on with other values of them."""


@contextlib.contextmanager
def workdir_lock(workdir: PathLike) -> Iterator[None]:
    """A context in which no other process trains in a work directory; the lock ends with the process in any case.

    The directory is made if it is not there, and removed again if nothing was prepared in it. In a bucket, which has no
    locks, it does nothing.

    Raises:
      UserError: if another process trains there, or the directory cannot be written.
    """
    if is_in_bucket(workdir):
        yield
        return
    made = [path for path in (workdir, *workdir.parents) if not path.exists()]
    lock = workdir / LOCK_FILE
    try:
        workdir.mkdir(parents=True, exist_ok=True)
        file = lock.open("a")
    except OSError as error:
        raise UserError(f"{workdir}: cannot be written ({error.strerror}); name another --workdir") from None
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UserError(f"{workdir}: another process trains there; let it end, or name another --workdir") from None
        except OSError:
            pass  # a file system without locks
        try:
            yield
        finally:
            if not (workdir / CONFIG_FILE).exists():
                lock.unlink(missing_ok=True)
                with contextlib.suppress(OSError):  # something else is there by now
                    for path in made:
                        path.rmdir()


def prepare(workdir: PathLike, config: ConfigDict) -> None:
    """Makes the work directory of a new run, or checks that it is one of a run with the same configuration.

    Of several processes the first writes, and all return when it has.

    Raises:
      UserError: if the directory belongs to another run, naming the keys that differ, or cannot be written.
    """
    path = workdir / CONFIG_FILE
    if path.exists():
        changed = [line for line in differences(read_config(workdir), config) if not line.startswith(MAY_DIFFER)]
        if changed:
            more = f" and {len(changed) - 3} more" if len(changed) > 3 else ""
            raise UserError(
                f"{workdir}: belongs to a run with another configuration: {', '.join(changed[:3])}{more}; "
                "name another --workdir, or remove this one"
            )
    try:
        if hosts.is_first():
            workdir.mkdir(parents=True, exist_ok=True)
            atomic_write(path, to_json(config) + "\n")
    except OSError as error:
        raise UserError(f"{workdir}: cannot be written ({error.strerror or error}); name another --workdir") from None
    hosts.wait_for_all("work directory")
    if not path.exists():
        raise UserError(
            f"{workdir}: process 0 wrote {CONFIG_FILE} and it is not here; --workdir must be one for all hosts"
        )


def read_config(workdir: PathLike, named_by: str = "--workdir") -> ConfigDict:
    """The configuration of the run in a work directory, which the user has named by a flag or key.

    Raises:
      UserError: if there is no run there, or its configuration cannot be read.
    """
    path = workdir / CONFIG_FILE
    try:
        text = path.read_text()
    except OSError as error:
        reason = error.strerror or error
        raise UserError(f"{path}: {reason}; {named_by} must name the work directory of a run of train.py") from None
    return from_json(text, str(path))


def checkpoint_directory(workdir: PathLike, stage: str) -> PathLike:
    """Where a stage keeps its checkpoints."""
    return workdir / "checkpoints" / stage


def cache_directory(workdir: PathLike, config: ConfigDict) -> pathlib.Path:
    """Where preprocessed volumes are kept, of which slabs are read as parts of files.

    Raises:
      UserError: if that would be in a bucket.
    """
    if config.data.cache:
        return resolve_local_path(config.data.cache)
    if is_in_bucket(workdir):
        raise UserError(f"config.data.cache: empty, and {workdir} is a bucket; name a folder of this machine")
    return workdir / "cache"
