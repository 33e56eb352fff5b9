"""The subjects of a run, the same on all of its processes."""

import hashlib
import json
import warnings
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

import jax
from ml_collections import ConfigDict

from lift_jax import hosts, run_directory
from lift_jax.data.cache import CachedSubject, cache_subjects
from lift_jax.data.channels import Channels
from lift_jax.data.check import subject_warnings
from lift_jax.data.datasets import DATASETS
from lift_jax.data.sources import data_split
from lift_jax.data.statistics import (
    STATISTICS_FILE,
    describe_training,
    foreground_statistics,
    outliers,
    read_description,
)
from lift_jax.data.subject import Subject, SubjectSource
from lift_jax.errors import DataWarning
from lift_jax.paths import PathLike, atomic_write

SPLIT_FILE = "split.json"


def record_split(config: ConfigDict, workdir: PathLike) -> str:
    """Writes how the data set is split into the work directory, `split.json`; returns it in one line.

    Of several processes the first writes.
    """
    split = data_split(config.data)
    if hosts.is_first():
        atomic_write(workdir / SPLIT_FILE, json.dumps(split.to_dict(), indent=2) + "\n")
    return split.describe()


def assert_equal_subjects(sources: Mapping[str, SubjectSource]) -> None:
    """Refuses processes whose splits hold subjects of other names, before anything is read of them."""
    names = [(split, list(source.names)) for split, source in sorted(sources.items())]
    hosts.assert_equal_across_processes("the set of subjects", _hash(names))


def cache_shared(source: SubjectSource, config: ConfigDict, workdir: PathLike) -> list[CachedSubject]:
    """The cached subjects of a source; processes that share the cache share the work.

    Scans are inspected when they get into the cache, see `channel_checks`.

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
    """Writes what the training data are like into the work directory, `data_statistics.json`, once in a run.

    Subjects unlike all others are warned about. Of several processes the first does it.

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
    """Whether the subjects of a run are scans, and not made."""
    return not DATASETS[config.data.dataset].scanned_as


def _inspect_with(source: SubjectSource):
    def inspect(subject: Subject) -> None:
        for line in subject_warnings(subject, source.protocols):
            warnings.warn(line, DataWarning, stacklevel=2)

    return inspect


def _hash(value) -> str:
    return hashlib.sha256(repr(value).encode()).hexdigest()
