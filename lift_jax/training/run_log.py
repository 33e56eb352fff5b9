"""The log of a run: `metrics.jsonl`, TensorBoard scalars and pictures."""

import json
import math
import os
import pathlib

import numpy as np
from tensorboardX import SummaryWriter

from lift_jax.paths import PathLike
from lift_jax.training.log_folder import LogFolder

METRICS_FILE = "metrics.jsonl"


class RunLog:
    """Writes one JSON object a line, and the same numbers and pictures for TensorBoard, under `<stage>/<name>`.

    Lines that an interrupted run wrote after the checkpoint it goes on from are dropped when the log is opened, so that
    the file reads as if it had never been interrupted. What is written outlives a process that is killed: a line at
    once, TensorBoard's events after a second; in a bucket, what was published. Numbers that are not finite are left
    out: JSON has none. With `enabled` False (all processes but the first) it is silent.
    """

    def __init__(self, workdir: PathLike, stage: str, step: int, enabled: bool = True):
        """Goes on with `stage` from after `step`."""
        self._stage = stage
        self._lines = self._events = self._folder = None
        self._earlier: list[dict] = []
        if enabled:
            self._folder = LogFolder(workdir, (METRICS_FILE,))
            path = self._folder.here / METRICS_FILE
            self._earlier = _drop_lines_after(path, stage, step)
            self._lines = path.open("a")
            self._events = SummaryWriter(str(self.events), purge_step=step + 1, flush_secs=1)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        if self._lines is not None:
            with self._folder:
                self._lines.close()
                self._events.close()

    @property
    def events(self) -> pathlib.Path | None:
        """The folder of this machine that TensorBoard's files of the stage are written to, if any are."""
        return self._folder and self._folder.here / "tensorboard" / self._stage

    def publish(self) -> None:
        """Sees to it that what was written is in the work directory, which is so at any time if that is a folder."""
        if self._folder is not None:
            self._events.flush()
            self._folder.publish()

    def earlier(self, name: str) -> list[float]:
        """The values of a scalar that the stage had logged when the log was opened."""
        return [record[name] for record in self._earlier if name in record]

    def scalars(self, step: int, values: dict[str, float]) -> None:
        """One line, and one TensorBoard scalar for each value."""
        if self._lines is None:
            return
        values = {name: float(value) for name, value in values.items() if math.isfinite(value)}
        self._lines.write(json.dumps({"stage": self._stage, "step": step, **values}) + "\n")
        self._lines.flush()
        for name, value in values.items():
            self._events.add_scalar(f"{self._stage}/{name}", value, step)

    def picture(self, step: int, name: str, picture: np.ndarray) -> None:
        """A TensorBoard picture, `[height, width, 3]` uint8."""
        if self._events is not None:
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
