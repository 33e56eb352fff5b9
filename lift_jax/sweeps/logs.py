"""What the runs of a sweep logged while they trained: curves of every stage, and what its steps cost."""

import dataclasses
import json
import pathlib
import re
import statistics

from lift_jax.sweeps.plan import Run
from lift_jax.sweeps.work import TIMING_FILE, stage_directory
from lift_jax.training.run_log import METRICS_FILE

UNDRAWN = re.compile(
    r".*(_per_second|_real|distance_scale)|gradient_norm|skipped|loss_spike|(.*_)?(field_square|neighbors)_.*"
)
"""Logged numbers that no curve is drawn of: rates, what real volumes score, and diagnostics of the drifting loss."""


@dataclasses.dataclass(frozen=True)
class StageLog:
    """The log of one stage.

    Attributes:
      directory: the work directory that the stage was trained in.
      curves: name to `[(step, value), …]`: the loss, its terms, and figures of validation.
      seconds_per_step: median of the logged intervals, nan where there is none.
      seconds: wall time of the training, validation and compilation included; nan if it was interrupted, or goes on.
    """

    directory: pathlib.Path
    curves: dict[str, list[tuple[int, float]]]
    seconds_per_step: float
    seconds: float


def run_logs(run: Run, workdir: pathlib.Path) -> dict[str, StageLog]:
    """The log of every stage of a run, wherever the stage was trained; stages without a log are left out."""
    directories = {stage: stage_directory(workdir, run.config, stage) for stage in run.config.stages[:-1]}
    directories[run.config.stages[-1]] = run.directory
    return {name: read_stage(path, name) for name, path in directories.items() if (path / METRICS_FILE).exists()}


def read_stage(directory: pathlib.Path, stage: str) -> StageLog:
    """The log of the stage that was trained in a work directory."""
    curves: dict[str, list[tuple[int, float]]] = {}
    rates = []
    for line in (directory / METRICS_FILE).read_text().splitlines():
        try:
            record = json.loads(line)
        except json.JSONDecodeError:
            continue  # a line that was cut off
        if record.pop("stage") != stage:
            continue
        step = record.pop("step")
        rates += [record["steps_per_second"]] if "steps_per_second" in record else []
        for name, value in record.items():
            if not UNDRAWN.fullmatch(name):
                curves.setdefault(name, []).append((step, value))
    median = statistics.median(1 / rate for rate in rates) if rates else float("nan")
    return StageLog(directory, curves, median, _seconds(directory / TIMING_FILE))


def _seconds(path: pathlib.Path) -> float:
    timing = json.loads(path.read_text()) if path.exists() else {"went_on": True}
    return float("nan") if timing["went_on"] else timing["seconds"]
