"""The cases of a run, the same on all of its processes."""

import hashlib
from collections.abc import Mapping

import jax
from ml_collections import ConfigDict

from lift_jax import hosts, run_directory
from lift_jax.data.cache import CachedCase, cache_cases
from lift_jax.data.cases import CaseSource
from lift_jax.places import Place


def agree_on_cases(sources: Mapping[str, CaseSource]) -> None:
    """Refuses processes whose splits hold cases of other names, before anything is read of them."""
    names = [(split, list(source.names)) for split, source in sorted(sources.items())]
    hosts.agree("the set of cases", _hash(names))


def cache_shared(source: CaseSource, config: ConfigDict, workdir: Place) -> list[CachedCase]:
    """The cached cases of a source; processes that share the cache share the work.

    Raises:
      UserError: as `cache_cases`, or if cases of the same names differ in content between processes.
    """
    cases = cache_cases(
        source,
        run_directory.cache_directory(workdir, config),
        config.data.threads,
        process_index=jax.process_index(),
        process_count=jax.process_count(),
    )
    hosts.agree("the content of the cases", _hash([case.directory.name for case in cases]))
    return cases


def _hash(value) -> str:
    return hashlib.sha256(repr(value).encode()).hexdigest()
