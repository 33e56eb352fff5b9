"""Folders of arrays that are there whole or not at all."""

import contextlib
import os
import pathlib
import shutil
import time
import types
import uuid
from collections.abc import Iterator

import numpy as np

from lift_jax.errors import UserError

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
