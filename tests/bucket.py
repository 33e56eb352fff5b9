"""A stand-in for buckets: objects as files of a local folder, which is as strict as a bucket about what can be done.

Folders are there while there are objects in them, nothing is renamed, nothing is appended to. It takes the place of
etils.epath's client and of TensorStore's, through which Orbax writes arrays.
"""

import os
import pathlib
import shutil

from etils.epath import backend, gpath
from orbax.checkpoint._src.path import gcs_utils

PREFIX = "gs://"


class Bucket(type(backend.os_backend)):
    """The calls of a bucket's client, by file."""

    def __init__(self, root):
        self.root = root

    def file(self, path):
        return pathlib.Path(self.root, os.fspath(path).removeprefix(PREFIX))

    def open(self, path, mode):
        if "a" in mode:
            raise ValueError("objects are not appended to")
        if "w" in mode:
            self.file(path).parent.mkdir(parents=True, exist_ok=True)
        return super().open(self.file(path), mode)

    def exists(self, path):
        return self.file(path).is_file() or self.isdir(path)

    def isdir(self, path):
        return any(each.is_file() for each in self.file(path).rglob("*"))

    def listdir(self, path):
        return [each.name for each in self.file(path).iterdir() if each.is_file() or self.isdir(each)]

    def glob(self, path):
        found = sorted(self.root.glob(os.fspath(path).removeprefix(PREFIX)))
        return [f"{PREFIX}{each.relative_to(self.root)}" for each in found if each.is_file() or self.isdir(each)]

    def mkdir(self, path, *, exist_ok=False, mode=None):
        pass

    makedirs = mkdir

    def rmtree(self, path):
        if not self.isdir(path):
            raise FileNotFoundError(path)
        shutil.rmtree(self.file(path))

    def remove(self, path):
        self.file(path).unlink()

    def stat(self, path):
        return super().stat(self.file(path))

    def rename(self, path, target):
        raise OSError("objects are not renamed")

    replace = rename

    def store(self, path):
        """What TensorStore writes to in place of a bucket: an object, or all below a name."""
        return {"driver": "file", "path": str(self.file(path))}


def stand_in(monkeypatch, root) -> Bucket:
    """All buckets, from now on."""
    bucket = Bucket(root)
    monkeypatch.setitem(gpath._PREFIX_TO_BACKEND, "gs", bucket)
    monkeypatch.setattr(gcs_utils, "get_kvstore_for_gcs", bucket.store)
    monkeypatch.setattr(gcs_utils, "is_hierarchical_namespace_enabled", lambda path: False)
    return bucket
