"""Files of results: their names, and whether they can be written, before anything is computed."""

import os
import pathlib
import tempfile
from collections.abc import Iterable

from lift_jax.errors import UserError

LONGEST_NAME = 255
"""Bytes of a file name that usual file systems hold."""


def output_path(folder: pathlib.Path, name: str, ending: str) -> pathlib.Path:
    """The file of a result that is named after a subject; it lies in `folder`, whatever the subject is called.

    Raises:
      UserError: the name would lead elsewhere, or is too long for a file.
    """
    if name in ("", ".", "..") or pathlib.PurePath(name).name != name or "\0" in name:
        raise UserError(f"{name!r}: is no name of a subject, which results could be named after")
    if len(os.fsencode(f"{name}{ending}")) > LONGEST_NAME:
        raise UserError(f"{name[:40]}…{ending}: the name of the result is too long for a file; rename the subject")
    return folder / f"{name}{ending}"


def check_writable(folder: pathlib.Path, flag: str = "--output") -> None:
    """Refuses a folder that cannot be made or written; nothing is left behind.

    Raises:
      UserError: naming the flag.
    """
    existing = next(path for path in (folder, *folder.absolute().parents) if path.exists())
    if not existing.is_dir():
        raise UserError(f"{flag}: {existing} is a file; name a folder")
    try:
        with tempfile.TemporaryFile(dir=existing):
            pass
    except OSError as error:
        raise UserError(f"{flag}: {folder} cannot be written ({error.strerror}); name another folder") from None


def check_sources_kept(folders: Iterable[pathlib.Path], files: Iterable[pathlib.Path], flag: str = "--output") -> None:
    """Refuses folders of results in which source files lie.

    Raises:
      UserError: naming the flag.
    """
    holding = {path.resolve().parent for path in files}
    for folder in folders:
        if folder.resolve() in holding:
            raise UserError(f"{flag}: {folder} holds the sources; name another folder")


def make_folder(folder: pathlib.Path) -> None:
    """Makes a folder for results.

    Raises:
      UserError: it cannot be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"{folder}: cannot be made ({error.strerror}); name another --output") from None
