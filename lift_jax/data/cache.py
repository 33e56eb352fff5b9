"""Preprocessed cases on disk, as memory-mapped arrays of which windows are read without reading the volume.

A case lives in `<cache>/<fingerprint>-<layout>/`, written aside and renamed, so that what is there is whole. The
fingerprint covers the source's content and the protocol: other data or other constants are other folders.
"""

import dataclasses
import functools
import json
import os
import pathlib
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np

from lift_jax.data.array_folders import remove_leftovers, save_array, whole_folder
from lift_jax.data.cases import CaseSource, StoredCase
from lift_jax.errors import UserError
from lift_jax.progress import progress

LAYOUT = 2
"""Version of how cases lie on disk, part of their folders' names: to be raised with any change to it."""

_PARSING = threading.Lock()
"""Held while a file is opened: Python 3.11 counts the depth of its parser, which reads the headers, over all threads at
once, and now and then ends with "SystemError: AST constructor recursion depth mismatch" (gh-106905)."""


@dataclasses.dataclass(frozen=True)
class CachedCase:
    """A case on disk; arrays are opened anew at each reading, so that thousands of cases hold no file handles."""

    directory: pathlib.Path

    @functools.cached_property
    def facts(self) -> dict:
        """What the case's kind stores beside its arrays, among it `name` and `affine` (4 x 4 list)."""
        return self._read("facts.json", lambda path: json.loads(path.read_text()))

    def array(self, name: str) -> np.ndarray:
        """One of the arrays that the case's kind stores (see its `stored`), memory-mapped.

        Raises:
          UserError: if the file is damaged or missing.
        """
        name = self.facts.get("same", {}).get(name, name)
        return self._read(f"{name}.npy", lambda path: np.load(path, mmap_mode="r", allow_pickle=False))

    def _read(self, name: str, reader: Callable[[pathlib.Path], Any]) -> Any:
        path = self.directory / name
        try:
            with _PARSING:
                return reader(path)
        except (OSError, EOFError, ValueError) as error:
            raise UserError(f"{path}: damaged or missing ({error}); delete {self.directory} and start again") from None


def cache_cases(
    source: CaseSource, directory: os.PathLike, threads: int, *, process_index: int = 0, process_count: int = 1
) -> list[CachedCase]:
    """Makes sure that every case of a source is in the cache, several at a time, with a progress bar.

    Args:
      source: the cases.
      directory: the cache; made if it is not there.
      threads: cases in the making at once (the arrays of each are in memory meanwhile).
      process_index, process_count: this process, of how many that do the same: each begins elsewhere, and those that
        share a cache share the work.

    Returns:
      The cached cases in the source's order.

    Raises:
      UserError: if a case cannot be read or the disk is full; what was cached before stays.
    """
    directory = pathlib.Path(directory)
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"{directory}: cannot make the cache ({error.strerror}); set config.data.cache") from None
    remove_leftovers(directory)
    paths = [directory / f"{source.fingerprint(i)}-{LAYOUT}" for i in range(len(source.names))]
    missing = [i for i, path in enumerate(paths) if not path.exists()]
    if missing:
        begin = process_index * len(missing) // process_count

        def make(i):
            if not paths[i].exists():
                _store(source.load(i), paths[i])

        with ThreadPoolExecutor(threads) as pool:
            tasks = pool.map(make, missing[begin:] + missing[:begin])
            for _ in progress(tasks, total=len(missing), description="preparing subjects", unit="subject"):
                pass
    return [CachedCase(path) for path in paths]


def _store(case: StoredCase, path: pathlib.Path) -> None:
    facts, arrays = case.stored()
    with whole_folder(path) as folder:
        for name, array in arrays.items():
            save_array(folder / f"{name}.npy", array)
        (folder / "facts.json").write_text(json.dumps(facts))
