"""The folder in which a run's log grows, wherever its work directory is."""

import pathlib
import tempfile

from lift_jax.errors import UserError
from lift_jax.paths import PathLike, is_in_bucket, write_object


class LogFolder:
    """A context with a folder of this machine, `here`, for files that are appended to, and `publish`.

    A file system takes them in place: `here` is the work directory. Objects of a bucket are only written whole: `here`
    is a temporary folder, and `publish` writes anew what changed in it. What is left after the last `publish` is
    published when the context ends, but not when the process is killed.
    """

    def __init__(self, workdir: PathLike, names: tuple[str, ...] = ()):
        """Begins with the files of these names as they are in the work directory, if they are."""
        self._workdir, self._published, self._temporary = workdir, {}, None
        self.here = workdir
        if is_in_bucket(workdir):
            self._temporary = tempfile.TemporaryDirectory(prefix="lift_jax-log-")
            self.here = pathlib.Path(self._temporary.name)
            for path in (workdir / name for name in names):
                if path.exists():
                    (self.here / path.name).write_bytes(path.read_bytes())

    def __enter__(self) -> "LogFolder":
        return self

    def __exit__(self, *_):
        if self._temporary is not None:
            with self._temporary:
                self.publish()

    def publish(self) -> None:
        """Brings the work directory up to date.

        Raises:
          UserError: if the bucket cannot be written.
        """
        if self._temporary is None:
            return
        for path in sorted(path for path in self.here.rglob("*") if path.is_file()):
            content = path.read_bytes()
            if self._published.get(path) == len(content):
                continue
            target = self._workdir / path.relative_to(self.here).as_posix()
            try:
                write_object(target, content)
            except OSError as error:
                raise UserError(f"{target}: cannot be written ({error}); see to the bucket's permissions") from None
            self._published[path] = len(content)
