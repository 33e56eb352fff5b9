"""Preprocessed cases on disk, as memory-mapped arrays of which windows are read without reading the volume.

A case lives in `<cache>/<fingerprint>/`, written aside and renamed, so that what is there is whole. The fingerprint
covers the source's content and the protocol: other data or other constants are other folders.
"""

import dataclasses
import functools
import json
import os
import pathlib
import shutil
import threading
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from tqdm import tqdm

from lift_jax.data.cases import Case, CaseSource
from lift_jax.errors import UserError

STORED_DTYPE = np.float16
"""Half precision resolves 1/2048 of an intensity near 1, below the noise of any scanner, in half the space."""

_PARSING = threading.Lock()
"""Held while a file is opened: Python 3.11 counts the depth of its parser, which reads the headers, over all threads at
once, and now and then ends with "SystemError: AST constructor recursion depth mismatch" (gh-106905)."""


@dataclasses.dataclass(frozen=True)
class CachedCase:
    """A case on disk; arrays are opened anew at each reading, so that thousands of cases hold no file handles."""

    directory: pathlib.Path

    @functools.cached_property
    def facts(self) -> dict:
        """`name`, `available` (list of bool), `affine` (4 x 4 list), `gained`: whether sources differ from targets."""
        return self._read("facts.json", lambda path: json.loads(path.read_text()))

    def array(self, name: str) -> np.ndarray:
        """`sources` or `targets`, `[D, H, W, C]` float16 in [0, 1], memory-mapped; and what oracles are told:
        `acquisition`, `levels` and `gains`, as in `Case`.

        Raises:
          UserError: if the file is damaged or missing.
        """
        if name == "targets" and not self.facts["gained"]:
            name = "sources"
        return self._read(f"{name}.npy", lambda path: np.load(path, mmap_mode="r", allow_pickle=False))

    def _read(self, name: str, reader: Callable[[pathlib.Path], Any]) -> Any:
        path = self.directory / name
        try:
            with _PARSING:
                return reader(path)
        except (OSError, EOFError, ValueError) as error:
            raise UserError(f"{path}: damaged or missing ({error}); delete {self.directory} and start again") from None


def cache_cases(source: CaseSource, directory: os.PathLike, threads: int) -> list[CachedCase]:
    """Makes sure that every case of a source is in the cache, several at a time, with a progress bar.

    Args:
      source: the cases.
      directory: the cache; made if it is not there.
      threads: cases in the making at once (the arrays of each are in memory meanwhile).

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
    paths = [directory / source.fingerprint(i) for i in range(len(source.names))]
    missing = [i for i, path in enumerate(paths) if not path.exists()]
    if missing:
        with ThreadPoolExecutor(threads) as pool:
            tasks = pool.map(lambda i: _store(source.load(i), paths[i]), missing)
            for _ in tqdm(tasks, total=len(missing), desc="preparing cases", unit="case"):
                pass
    return [CachedCase(path) for path in paths]


def _store(case: Case, path: pathlib.Path) -> None:
    gained = case.targets is not case.sources
    facts = {
        "name": case.name,
        "available": case.available.tolist(),
        "affine": case.affine.tolist(),
        "gained": gained,
    }
    arrays = {"sources": case.sources.astype(STORED_DTYPE)}
    if gained:
        arrays["targets"] = case.targets.astype(STORED_DTYPE)
    if case.acquisition is not None:
        arrays |= {"acquisition": case.acquisition, "levels": case.levels, "gains": case.gains}
    aside = path.with_name(f".writing-{uuid.uuid4().hex}")
    try:
        aside.mkdir()
        for name, array in arrays.items():
            np.save(aside / f"{name}.npy", array, allow_pickle=False)
        (aside / "facts.json").write_text(json.dumps(facts))
        os.replace(aside, path)
    except OSError as error:
        shutil.rmtree(aside, ignore_errors=True)
        if not path.exists():  # else another process was faster, and what it wrote is the same
            raise UserError(
                f"{path}: cannot write the cache ({error.strerror or error}); free space or set config.data.cache"
            ) from None
