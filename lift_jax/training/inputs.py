"""What training starts from: subjects, batches and parameters, the same on all processes of a run."""

import hashlib
import json
import warnings
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

import grain
import jax
from ml_collections import ConfigDict

from lift_jax import hosts, run_directory
from lift_jax.checkpoints import restore_ema, save_parameters, saved_steps
from lift_jax.data.cache import CachedSubject, cache_subjects
from lift_jax.data.channels import Channels
from lift_jax.data.check import subject_warnings
from lift_jax.data.datasets import DATASETS
from lift_jax.data.slabs import batch_subjects, training_batches
from lift_jax.data.sources import data_split
from lift_jax.data.statistics import (
    STATISTICS_FILE,
    describe_training,
    foreground_statistics,
    outliers,
    read_description,
)
from lift_jax.data.subject import Subject, SubjectSource
from lift_jax.errors import DataWarning, UserError
from lift_jax.paths import PathLike, atomic_write
from lift_jax.trained import is_exported, newest_stage, read_weights, trained_folder

START = "start"
"""The folder among the stages' checkpoints for the first parameters of a run with `config.start_from`."""


def record_split(config: ConfigDict, workdir: PathLike) -> str:
    """Writes the split of the data set into the work directory, `split.json`; returns its description."""
    split = data_split(config.data)
    if hosts.is_first():
        atomic_write(workdir / run_directory.SPLIT_FILE, json.dumps(split.to_dict(), indent=2) + "\n")
    return split.describe()


def process_batches(
    subjects: Sequence, transform: grain.transforms.RandomMap, *, seed: int, batch: int, threads: int
) -> grain.DatasetIterator:
    """This process's share of endless random batches, see `training_batches`."""
    process = {"process_index": jax.process_index(), "process_count": jax.process_count()}
    return training_batches(subjects, transform, seed=seed, batch=batch, threads=threads, **process)


def batch_names(names: Sequence[str], *, seed: int, batch: int) -> Callable[[int], list[str]]:
    """A function of a step, from 1, to the names of the subjects in its `process_batches`, over all processes."""
    return lambda step: [names[i] for i in batch_subjects(len(names), seed=seed, batch=batch, number=step - 1)]


def assert_equal_subjects(sources: Mapping[str, SubjectSource]) -> None:
    """Raises UserError if processes have other subjects, by their names."""
    names = [(split, list(source.names)) for split, source in sorted(sources.items())]
    hosts.assert_equal_across_processes("the set of subjects", _hash(names))


def cache_shared(source: SubjectSource, config: ConfigDict, workdir: PathLike) -> list[CachedSubject]:
    """The cached subjects of a source; processes that share the cache share the work, and scans are checked.

    Raises:
      UserError: as `cache_subjects`, or if subjects of the same names differ in content between processes.
    """
    subjects = cache_subjects(
        source,
        run_directory.cache_directory(workdir, config),
        config.data.threads,
        inspect=_inspect_with(source) if is_scanned(config) else lambda subject: None,
        process_index=jax.process_index(),
        process_count=jax.process_count(),
    )
    hosts.assert_equal_across_processes(
        "the content of the subjects", _hash([subject.directory.name for subject in subjects])
    )
    return subjects


def record_statistics(
    source: SubjectSource, subjects: Sequence[CachedSubject], channels: Channels, config: ConfigDict, workdir: PathLike
) -> None:
    """Writes statistics of the training data into the work directory, `data_statistics.json`, once in a run.

    Subjects unlike all others are warned about.

    Args:
      source: the subjects that train; subjects: the same from the cache.
      channels: of the run.
      config: of the run.
      workdir: of the run.
    """
    names = list(source.names)
    known = read_description(workdir) if hosts.is_first() else None
    if not hosts.is_first() or (known and known["subjects"] == names):
        return

    def statistics(subject: CachedSubject) -> dict[str, float]:
        return foreground_statistics(subject.load(channels.sources), channels.sources, channels.protocols)

    measured = {}
    if is_scanned(config):
        with ThreadPoolExecutor(config.data.threads) as pool:
            measured = dict(zip(names, pool.map(statistics, subjects), strict=True))
        measured = {name: values for name, values in measured.items() if values}  # of those with a source
        for line in outliers(measured):
            warnings.warn(line, DataWarning, stacklevel=2)
    grids = {name: source.geometry(index) for index, name in enumerate(names)}
    atomic_write(workdir / STATISTICS_FILE, json.dumps(describe_training(grids, measured), indent=2) + "\n")


def is_scanned(config: ConfigDict) -> bool:
    """Whether the subjects of a run are scans, and not phantoms."""
    return not DATASETS[config.data.dataset].scanned_as


def _inspect_with(source: SubjectSource):
    def inspect(subject: Subject) -> None:
        for line in subject_warnings(subject, source.protocols):
            warnings.warn(line, DataWarning, stacklevel=2)

    return inspect


def _hash(value) -> str:
    return hashlib.sha256(repr(value).encode()).hexdigest()


def starting_parameters(
    config: ConfigDict, workdir: PathLike, fresh: dict, held: Callable[[str], dict] | None = None
) -> dict:
    """`fresh`, or the averaged parameters of the run, or of the shipped weights, that `config.start_from` names.

    A run that has kept its first parameters (`keep_start`) takes those.

    Args:
      config: of the new run.
      workdir: of the new run.
      fresh: its random parameters, all of them.
      held: name of a stage to parameters like those in its checkpoints; None: all stages hold `fresh`.

    Returns:
      The kept parameters, which are complete, or those of the other run's checkpoint.

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
    """Whether a work directory holds the first parameters of its run."""
    return bool(saved_steps(run_directory.checkpoint_directory(workdir, START)))


def keep_start(config: ConfigDict, workdir: PathLike, params: dict) -> None:
    """Writes the complete first parameters of a run with `config.start_from`, once: the other run may be deleted.

    Raises:
      UserError: if they cannot be written.
    """
    if config.start_from and not is_kept(workdir):
        save_parameters(run_directory.checkpoint_directory(workdir, START), jax.device_get(params))
        hosts.wait_for_all("parameters to begin with")
