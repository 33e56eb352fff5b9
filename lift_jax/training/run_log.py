"""The log of a run: `metrics.jsonl`, TensorBoard's events, and traces of JAX's profiler."""

import json
import math
import os
import pathlib
import re
import tempfile
from collections.abc import Sequence

import jax
import numpy as np
from tensorboardX import SummaryWriter

from lift_jax.errors import UserError
from lift_jax.paths import PathLike, is_in_bucket, write_object

METRICS_FILE = "metrics.jsonl"


class RunLog:
    """Writes one JSON object a line, and the same numbers and pictures for TensorBoard, under `<stage>/<name>`.

    Opening the log drops lines that an interrupted run wrote after its checkpoint. Lines are on disk at once,
    TensorBoard's events after a second; in a bucket, after `publish`. Numbers that are not finite are left out: JSON
    has none. With `enabled` False (all processes but the first) nothing is written.
    """

    def __init__(self, workdir: PathLike, stage: str, step: int, enabled: bool = True):
        """Goes on with `stage` from after `step`."""
        self._stage = stage
        self._earlier: list[dict] = []
        self._folder = LogFolder(workdir, (METRICS_FILE,)) if enabled else None
        if self._folder is not None:
            path = self._folder.local / METRICS_FILE
            self._earlier = _drop_lines_after(path, stage, step)
            self._lines = path.open("a")
            self._events = SummaryWriter(str(self.events), purge_step=step + 1, flush_secs=1)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self._folder is not None:
            with self._folder:
                self._lines.close()
                self._events.close()

    @property
    def events(self) -> pathlib.Path | None:
        """The local folder of the stage's TensorBoard files; None if nothing is written."""
        return None if self._folder is None else self._folder.local / "tensorboard" / self._stage

    def publish(self) -> None:
        """Brings the work directory up to date, if it is in a bucket."""
        if self._folder is not None:
            self._events.flush()
            self._folder.publish()

    def earlier(self, name: str) -> list[float]:
        """The values of a scalar in the stage's log when it was opened."""
        return [record[name] for record in self._earlier if name in record]

    def scalars(self, step: int, values: dict[str, float]) -> None:
        """One line, and one TensorBoard scalar for each value."""
        if self._folder is None:
            return
        values = {name: float(value) for name, value in values.items() if math.isfinite(value)}
        self._lines.write(json.dumps({"stage": self._stage, "step": step, **values}) + "\n")
        self._lines.flush()
        for name, value in values.items():
            self._events.add_scalar(f"{self._stage}/{name}", value, step)

    def picture(self, step: int, name: str, picture: np.ndarray) -> None:
        """A TensorBoard picture, `[height, width, 3]` uint8."""
        if self._folder is not None:
            self._events.add_image(f"{self._stage}/{name}", picture, step, dataformats="HWC")


def _drop_lines_after(path: pathlib.Path, stage: str, step: int) -> list[dict]:
    """Rewrites the file without lines of `stage` after `step`, and without a last line cut off in the middle.

    Returns the lines of `stage` that stay.
    """
    if not path.exists():
        return []
    kept, earlier = [], []
    for line in path.read_text().splitlines():
        try:
            record = json.loads(line)
        except json.JSONDecodeError:
            continue
        if record["stage"] != stage or record["step"] <= step:
            kept.append(line + "\n")
            earlier += [record] if record["stage"] == stage else []
    aside = path.with_suffix(".aside")
    aside.write_text("".join(kept))
    os.replace(aside, path)
    return earlier


class LogFolder:
    """A context with a folder of this machine, `local`, for files that are appended to.

    It is the work directory, if that is a folder. Objects of a bucket are only written whole: `local` is then a
    temporary folder, and `publish` writes what changed in it, as does the end of the context.
    """

    def __init__(self, workdir: PathLike, names: tuple[str, ...] = ()):
        """Begins with the files of these names in the work directory, if there are any."""
        self._workdir, self._temporary = workdir, None
        self._published: dict[pathlib.Path, int] = {}
        self.local = pathlib.Path(workdir)
        if is_in_bucket(workdir):
            self._temporary = tempfile.TemporaryDirectory(prefix="lift_jax-log-")
            self.local = pathlib.Path(self._temporary.name)
            for path in (workdir / name for name in names):
                if path.exists():
                    (self.local / path.name).write_bytes(path.read_bytes())

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
        for path in sorted(path for path in self.local.rglob("*") if path.is_file()):
            content = path.read_bytes()
            if self._published.get(path) == len(content):
                continue
            target = self._workdir / path.relative_to(self.local).as_posix()
            try:
                write_object(target, content)
            except OSError as error:
                raise UserError(f"{target}: cannot be written ({error}); check the bucket's permissions") from None
            self._published[path] = len(content)


def steps_of(text: str) -> tuple[int, int]:
    """First and last step of `FIRST,LAST` or `FIRST-LAST`, as given by `--profile_steps`; UserError otherwise."""
    match = re.fullmatch(r"\s*(\d{1,18})\s*[,-]\s*(\d{1,18})\s*", text, re.ASCII)
    first, last = (int(number) for number in match.groups()) if match else (0, 0)
    if not 1 <= first <= last:
        raise UserError(f"--profile_steps: {text[:40]!r} is no first and last step, from 1; give them as 20,24")
    return first, last


class StepTrace:
    """A context that traces steps `first` to `last` for TensorBoard; none if `last` is 0, or without a folder."""

    def __init__(self, directory: pathlib.Path | None, steps: Sequence[int]):
        first, last = steps if directory else (0, 0)
        self._directory, self._first, self._last = directory, first, last
        self._running = False

    def __enter__(self) -> "StepTrace":
        return self

    def __exit__(self, *_):
        if self._running:
            jax.profiler.stop_trace()

    def before(self, step: int) -> None:
        """To be called before each step."""
        if self._first <= step <= self._last and not self._running:
            jax.profiler.start_trace(str(self._directory))
            self._running = True

    def after(self, step: int, result) -> None:
        """To be called after each step; waits for its result if it is the last one traced."""
        if self._running and step >= self._last:
            jax.block_until_ready(result)
            jax.profiler.stop_trace()
            self._running = False
