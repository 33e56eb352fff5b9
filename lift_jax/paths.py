"""Where files lie: in folders of this machine, or in a bucket, `gs://bucket/…`, through etils.epath.

A bucket has neither locks nor renaming nor appending, and its folders are but the beginnings of names; an object is
there whole or not at all.
"""

import importlib.util
import os
import pathlib
import uuid
from typing import TypeAlias

from etils import epath

from lift_jax.errors import UserError

BUCKET = "gs://"

CLIENTS = "gcsfs", "tensorflow"
"""Modules of which etils.epath needs one to open a bucket."""

PathLike: TypeAlias = pathlib.Path | epath.Path
"""A folder or file; the two kinds share the methods that are used of them."""


def resolve_path(name: str) -> PathLike:
    """The folder or file of a name.

    Raises:
      UserError: if it is in a bucket that nothing installed here can open, or is another kind of address.
    """
    if not name.startswith(BUCKET):
        return resolve_local_path(name)
    if not any(importlib.util.find_spec(client) for client in CLIENTS):
        raise UserError(f"{name}: a bucket needs gcsfs; pip install gcsfs")
    return epath.Path(name)


def resolve_local_path(name: str) -> pathlib.Path:
    """The folder or file of a name that must be one of this machine; UserError if it is an address."""
    scheme, separator, _ = name.partition("://")
    if separator and scheme.isalnum():
        raise UserError(f"{name}: must be a path of this machine; copy it here, or mount the bucket (gcsfuse)")
    return pathlib.Path(name)


def is_in_bucket(path: os.PathLike) -> bool:
    """Whether a path is in a bucket."""
    return os.fspath(path).startswith(BUCKET)


def atomic_write(path: PathLike, text: str) -> None:
    """Writes a text file, in UTF-8, under a temporary name and renames it, so that it is there whole or not at all.

    Raises:
      OSError: if it cannot be written.
    """
    if is_in_bucket(path):
        return write_object(path, text.encode())
    aside = path.with_name(f".{uuid.uuid4().hex}.part")  # short, so that every name that fits can be written
    try:
        aside.write_text(text, encoding="utf-8")
        os.replace(aside, path)
    finally:
        aside.unlink(missing_ok=True)


def write_object(path: epath.Path, content: bytes) -> None:
    """Writes an object of a bucket; whatever its client raises becomes an OSError."""
    try:
        path.write_bytes(content)
    except Exception as error:
        raise OSError(" ".join(str(error).split())[:200] or type(error).__name__) from error
