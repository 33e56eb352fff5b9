"""A run: the stages of a task in order, each from wherever it stopped."""

import contextlib
import hashlib

from ml_collections import ConfigDict

from lift_jax import hosts, run_directory
from lift_jax.config.common import flatten
from lift_jax.data.sources import resolve_paths
from lift_jax.paths import PathLike
from lift_jax.tasks import task_of


def train(config: ConfigDict, workdir: PathLike) -> None:
    """Trains all stages of a valid configuration in a work directory, going on from its checkpoints if it has any.

    Raises:
      UserError: before any training, if configuration, data, devices or work directory do not fit, or another
        process trains in that directory; later on a full disk, or when too many steps have no finite loss.
    """
    config = config.copy_and_resolve_references()
    resolve_paths(config.data)
    _assert_equal_configuration(config)
    run_directory.cache_directory(workdir, config)  # which refuses one in a bucket
    with run_directory.workdir_lock(workdir) if hosts.is_first() else contextlib.nullcontext():
        task_of(config).train(config, workdir)


def _assert_equal_configuration(config: ConfigDict) -> None:
    """Refuses processes of different configurations; where a host keeps its files is its own affair."""
    own = ("data.root", "data.manifest", "data.cache", "data.split_file", "data.threads")
    shared = {key: value for key, value in flatten(config).items() if key not in own}
    hosts.assert_equal_across_processes(
        "the configuration", hashlib.sha256(repr(sorted(shared.items())).encode()).hexdigest()
    )
