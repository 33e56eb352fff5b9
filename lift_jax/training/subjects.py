"""The subjects of a run, the same on all of its processes."""

import hashlib
import json
from collections.abc import Mapping

import jax
from ml_collections import ConfigDict

from lift_jax import hosts, run_directory
from lift_jax.data.cache import CachedSubject, cache_subjects
from lift_jax.data.sources import data_split
from lift_jax.data.subject import SubjectSource
from lift_jax.places import Place, write_aside

SPLIT_FILE = "split.json"


def record_split(config: ConfigDict, workdir: Place) -> str:
    """Writes how the data set is split into the work directory, `split.json`; returns it in one line.

    Of several processes the first writes.
    """
    split = data_split(config.data)
    if hosts.is_first():
        write_aside(workdir / SPLIT_FILE, json.dumps(split.to_dict(), indent=2) + "\n")
    return split.describe()


def assert_equal_subjects(sources: Mapping[str, SubjectSource]) -> None:
    """Refuses processes whose splits hold subjects of other names, before anything is read of them."""
    names = [(split, list(source.names)) for split, source in sorted(sources.items())]
    hosts.agree("the set of subjects", _hash(names))


def cache_shared(source: SubjectSource, config: ConfigDict, workdir: Place) -> list[CachedSubject]:
    """The cached subjects of a source; processes that share the cache share the work.

    Raises:
      UserError: as `cache_subjects`, or if subjects of the same names differ in content between processes.
    """
    subjects = cache_subjects(
        source,
        run_directory.cache_directory(workdir, config),
        config.data.threads,
        process_index=jax.process_index(),
        process_count=jax.process_count(),
    )
    hosts.agree("the content of the subjects", _hash([subject.directory.name for subject in subjects]))
    return subjects


def _hash(value) -> str:
    return hashlib.sha256(repr(value).encode()).hexdigest()
