"""Preprocessed subjects on disk, as memory-mapped arrays of which slabs are read without reading the volume.

A subject lives in `<cache>/<fingerprint>-<version>/`, written aside and renamed, so that what is there is whole. The
fingerprint covers the source's content and the protocols: other data or other constants are other folders.
"""

import contextlib
import dataclasses
import functools
import json
import os
import pathlib
import shutil
import threading
import time
import types
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

from lift_jax.data.intensity import IntensityProtocol
from lift_jax.data.naming import MASK, SEGMENTATION
from lift_jax.data.subject import Subject, SubjectSource
from lift_jax.errors import UserError
from lift_jax.progress import progress

CACHE_VERSION = 3
"""Version of how subjects lie on disk, part of their folders' names: to be raised with any change to it."""

METADATA = "metadata.json"

_PARSING = threading.Lock()
"""Held while a file is opened: Python 3.11 counts the depth of its parser, which reads the headers, over all threads at
once, and now and then ends with "SystemError: AST constructor recursion depth mismatch" (gh-106905)."""


@dataclasses.dataclass(frozen=True)
class CachedSubject:
    """A subject on disk; arrays are opened anew at each reading, so that thousands of subjects hold no file handles.

    Arrays are memory-mapped, in the dtype in which their protocol is stored; see `Subject` for what they are.
    """

    directory: pathlib.Path

    @functools.cached_property
    def metadata(self) -> dict:
        """`name`; `affine`, a 4 x 4 list; `channels`, in order; `references`, those with one; `arrays`, all files."""
        return self._read(METADATA, lambda path: json.loads(path.read_text()))

    @property
    def name(self) -> str:
        """The subject's name."""
        return self.metadata["name"]

    @property
    def channels(self) -> tuple[str, ...]:
        """The channels that the subject has."""
        return tuple(self.metadata["channels"])

    @property
    def affine(self) -> np.ndarray:
        """`[4, 4]` float64, voxel to millimeters."""
        return np.array(self.metadata["affine"], dtype=np.float64)

    @property
    def shape(self) -> tuple[int, int, int]:
        """Slices, rows and columns `(D, H, W)`."""
        return tuple(self.metadata["shape"])

    def image(self, channel: str) -> np.ndarray:
        """The image of a channel, see `array`."""
        return self.array(f"image-{channel}")

    def reference(self, channel: str) -> np.ndarray:
        """What a prediction of a channel is compared with, see `array`."""
        return self.array(f"{'reference' if channel in self.metadata['references'] else 'image'}-{channel}")

    @property
    def mask(self) -> np.ndarray | None:
        """The mask, or None."""
        return self.array(MASK) if MASK in self.metadata["arrays"] else None

    @property
    def segmentation(self) -> np.ndarray | None:
        """The segmentation, or None."""
        return self.array(SEGMENTATION) if SEGMENTATION in self.metadata["arrays"] else None

    def load(self, channels: Sequence[str] | None = None) -> Subject:
        """The subject in memory, images float32; of its channels those that are named."""
        chosen = [channel for channel in self.channels if channels is None or channel in channels]
        compared = [channel for channel in chosen if channel in self.metadata["references"]]
        images = {channel: np.asarray(self.image(channel), np.float32) for channel in chosen}
        references = {channel: np.asarray(self.reference(channel), np.float32) for channel in compared}
        mask, labels = (None if array is None else np.array(array) for array in (self.mask, self.segmentation))
        return Subject(self.name, images, self.affine, mask, references, labels)

    def array(self, name: str) -> np.ndarray:
        """An array by the name of its file: `image-<channel>`, `reference-<channel>`, `mask`, `segmentation`.

        Raises:
          UserError: if the file is damaged or missing.
        """
        if name not in self.metadata["arrays"]:
            raise KeyError(f"{self.name} has no array {name}")
        return self._read(f"{name}.npy", lambda path: np.load(path, mmap_mode="r", allow_pickle=False))

    def _read(self, name: str, reader: Callable[[pathlib.Path], Any]) -> Any:
        path = self.directory / name
        try:
            with _PARSING:
                return reader(path)
        except (OSError, EOFError, ValueError) as error:
            raise UserError(f"{path}: damaged or missing ({error}); delete {self.directory} and start again") from None


def cache_subjects(
    source: SubjectSource,
    directory: os.PathLike,
    threads: int,
    *,
    inspect: Callable[[Subject], None] = lambda subject: None,
    process_index: int = 0,
    process_count: int = 1,
) -> list[CachedSubject]:
    """Makes sure that every subject of a source is in the cache, several at a time, with a progress bar.

    Args:
      source: the subjects.
      directory: the cache; made if it is not there.
      threads: subjects in the making at once (the arrays of each are in memory meanwhile).
      inspect: called with every subject that is not yet in the cache.
      process_index, process_count: this process, of how many that do the same: each begins elsewhere, and those that
        share a cache share the work.

    Returns:
      The cached subjects in the source's order.

    Raises:
      UserError: if a subject cannot be read or the disk is full; what was cached before stays.
    """
    directory = pathlib.Path(directory)
    try:
        directory.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"{directory}: cannot make the cache ({error.strerror}); set config.data.cache") from None
    remove_leftovers(directory)
    paths = [directory / f"{source.fingerprint(i)}-{CACHE_VERSION}" for i in range(len(source.names))]
    missing = [i for i, path in enumerate(paths) if not path.exists()]
    if missing:
        begin = process_index * len(missing) // process_count

        def make(i):
            if not paths[i].exists():
                subject = source.load(i)
                inspect(subject)
                _store(subject, source.protocols, paths[i])

        # BLAS threads of several subjects wait for each other and take the cores: twice the time for phantoms on two.
        with threadpool_limits(1, "blas"), ThreadPoolExecutor(threads) as pool:
            tasks = pool.map(make, missing[begin:] + missing[:begin])
            for _ in progress(tasks, total=len(missing), description="preparing subjects", unit="subject"):
                pass
    return [CachedSubject(path) for path in paths]


def stored_arrays(subject: Subject, protocols: Mapping[str, IntensityProtocol]) -> dict[str, np.ndarray]:
    """The arrays of a subject as they are stored, by file name; references only where they differ from the image."""
    arrays = {}
    for channel, image in subject.images.items():
        dtype = protocols[channel].stored_dtype
        arrays[f"image-{channel}"] = _as_stored(image, dtype)
        reference = _as_stored(subject.reference(channel), dtype)
        if not np.array_equal(reference, arrays[f"image-{channel}"]):
            arrays[f"reference-{channel}"] = reference
    others = {MASK: subject.mask, SEGMENTATION: subject.segmentation}
    return arrays | {name: array for name, array in others.items() if array is not None}


def _as_stored(array: np.ndarray, dtype: np.dtype) -> np.ndarray:
    """CT numbers are rounded to whole ones: half precision would round those of bone to 2, and files hold no other."""
    if np.issubdtype(dtype, np.integer):
        limits = np.iinfo(dtype)
        array = np.rint(array).clip(limits.min, limits.max)
    return array.astype(dtype)


def _store(subject: Subject, protocols: Mapping[str, IntensityProtocol], path: pathlib.Path) -> None:
    arrays = stored_arrays(subject, protocols)
    metadata = {
        "name": subject.name,
        "affine": subject.affine.tolist(),
        "shape": list(subject.shape),
        "channels": list(subject.images),
        "references": [channel for channel in subject.images if f"reference-{channel}" in arrays],
        "arrays": sorted(arrays),
    }
    with atomic_directory(path) as folder:
        for name, array in arrays.items():
            save_array(folder / f"{name}.npy", array)
        (folder / METADATA).write_text(json.dumps(metadata))


ASIDE = ".writing-"
"""What the name of a folder in the writing begins with."""

LEFT_AFTER = 24 * 3600.0
"""Seconds after which a folder in the writing is what a process that was killed has left."""


@contextlib.contextmanager
def atomic_directory(path: pathlib.Path) -> Iterator[pathlib.Path]:
    """A folder to write into, which has the name `path` at the end of the context, and never before.

    If another process has made `path` meanwhile, that one stays: what both write is the same.

    Raises:
      UserError: if it cannot be written.
    """
    aside = path.with_name(f"{ASIDE}{uuid.uuid4().hex}")
    try:
        aside.mkdir(parents=True)
        yield aside
        os.replace(aside, path)
    except OSError as error:
        if not path.is_dir():
            raise UserError(
                f"{path}: cannot write the cache ({error.strerror or error}); free space or set config.data.cache"
            ) from None
    finally:
        shutil.rmtree(aside, ignore_errors=True)


def remove_leftovers(directory: pathlib.Path) -> None:
    """Removes what processes that were killed have left in a directory, of which others may be writing into it."""
    for aside in directory.glob(f"{ASIDE}*"):
        with contextlib.suppress(FileNotFoundError):
            if time.time() - aside.stat().st_mtime > LEFT_AFTER:
                shutil.rmtree(aside, ignore_errors=True)


def save_array(path: pathlib.Path, array: np.ndarray) -> None:
    """Writes a `.npy` file, or raises OSError.

    Given a file of the system's, NumPy does not see that the last few kilobytes found no room on the disk; Python does.
    """
    with path.open("wb") as file:
        np.save(types.SimpleNamespace(write=file.write), array, allow_pickle=False)
