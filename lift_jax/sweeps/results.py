"""What the runs of a sweep have left on disk so far: scores, images, logs and failures."""

import dataclasses
import io
import json
import math
import os
import pathlib
import re
import statistics
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from lift_jax import run_directory
from lift_jax.evaluation.cost import hardware
from lift_jax.paths import atomic_write
from lift_jax.sweeps.plan import Run, stage_directory
from lift_jax.tasks import task_of
from lift_jax.tasks.base import Example
from lift_jax.training.run_log import METRICS_FILE

SCORES_FILE, PICTURES_FILE, TIMING_FILE = "scores.json", "pictures.npz", "timing.json"

NOT_DRAWN = re.compile(
    r".*(_per_second|_real|distance_scale)|gradient_norm|skipped|loss_spike|(.*_)?(field_square|neighbors)_.*"
)
"""Logged numbers without a curve: rates, what real volumes score, and diagnostics of the drifting loss."""


@dataclasses.dataclass(frozen=True)
class StageLog:
    """The log of one stage.

    Attributes:
      directory: the work directory that the stage was trained in.
      curves: name to `[(step, value), …]`: the loss, its terms, and metrics of validation.
      seconds_per_step: median of the logged intervals, nan where there is none.
      seconds: wall time of the training, validation and compilation included; nan if it was interrupted, or goes on.
    """

    directory: pathlib.Path
    curves: dict[str, list[tuple[int, float]]]
    seconds_per_step: float
    seconds: float


@dataclasses.dataclass(frozen=True)
class Result:
    """One run.

    Attributes:
      run: the run.
      scores: `scores[method][metric]`, see `write_scores`; empty if it has not been scored.
      count: volumes, or subjects, that were scored.
      hardware: that scored it, "" if it has not been scored.
      logs: of its stages, by name.
      failure: why it failed, or "".
    """

    run: Run
    scores: Mapping[str, Mapping[str, float | None]]
    count: int
    hardware: str
    logs: Mapping[str, StageLog]
    failure: str

    @property
    def status(self) -> str:
        """`scored`, `failed`, or `waiting`."""
        return "scored" if self.scores else "failed" if self.failure else "waiting"


def read_results(runs: Sequence[Run], workdir: pathlib.Path, failures: Mapping[pathlib.Path, str]) -> list[Result]:
    """The results of all runs; `failures` are those of `scheduler.run_all`, by work directory."""
    results = []
    for run in runs:
        scored = read_scores(run.directory) or {"scores": {}, "n": 0, "hardware": ""}
        failure = "" if scored["scores"] else failures.get(run.directory, "")
        logs = _run_logs(run, workdir)
        results.append(Result(run, scored["scores"], scored["n"], scored["hardware"], logs, failure))
    return results


def write_scores(workdir: pathlib.Path) -> None:
    """Scores a trained run, and writes `pictures.npz` and, last, `scores.json` into its work directory.

    `scores.json` holds `scores[method][metric]` of the model and its baselines, `n` (volumes, or subjects, that were
    scored) and `hardware`.
    """
    scored = task_of(run_directory.read_config(workdir)).sweep.score(workdir)
    write_examples(workdir, scored.examples, scored.spacing)
    record = {"scores": scored.scores, "n": scored.count, "hardware": hardware()}
    atomic_write(workdir / SCORES_FILE, json.dumps(record, indent=2) + "\n")


def read_scores(workdir: pathlib.Path) -> dict | None:
    """What `write_scores` wrote, or None."""
    path = workdir / SCORES_FILE
    return json.loads(path.read_text()) if path.exists() else None


def write_examples(workdir: pathlib.Path, examples: Sequence[Example], spacing: tuple[float, float, float]) -> None:
    """Writes volumes for the page, in float16, atomically."""
    arrays: dict[str, Any] = {"spacing": np.array(spacing)}
    for each in examples:
        for label, volume in {**each.references, "": each.volume}.items():
            arrays[f"volume|{each.name}|{label}"] = np.asarray(volume, np.float16)
        for label, window in each.windows.items():
            arrays[f"window|{each.name}|{label}"] = np.array(window)
    written = io.BytesIO()
    np.savez_compressed(written, **arrays)
    path = workdir / PICTURES_FILE
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        temporary.write_bytes(written.getvalue())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def read_examples(workdir: pathlib.Path) -> tuple[list[Example], tuple[float, float, float]]:
    """What `write_examples` wrote: volumes in float32, and their spacing in mm along `(D, H, W)`."""
    with np.load(workdir / PICTURES_FILE, allow_pickle=False) as arrays:
        depth, height, width = arrays["spacing"].tolist()
        parts = {tuple(key.split("|")): arrays[key].astype(np.float32) for key in arrays if key != "spacing"}
    examples = []
    for name in dict.fromkeys(key[1] for key in parts):
        volumes = {key[2]: array for key, array in parts.items() if key[:2] == ("volume", name)}
        windows = {key[2]: (float(a[0]), float(a[1])) for key, a in parts.items() if key[:2] == ("window", name)}
        volume = volumes.pop("")
        examples.append(Example(name, volumes, volume, windows))
    return examples, (depth, height, width)


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
            if not NOT_DRAWN.fullmatch(name):
                curves.setdefault(name, []).append((step, value))
    median = statistics.median(1 / rate for rate in rates) if rates else math.nan
    path = directory / TIMING_FILE
    timing = json.loads(path.read_text()) if path.exists() else {"went_on": True}
    return StageLog(directory, curves, median, math.nan if timing["went_on"] else timing["seconds"])


def _run_logs(run: Run, workdir: pathlib.Path) -> dict[str, StageLog]:
    """The log of every stage of a run, wherever the stage was trained; stages without a log are left out."""
    directories = {stage: stage_directory(workdir, run.config, stage) for stage in run.config.stages[:-1]}
    directories[run.config.stages[-1]] = run.directory
    return {name: read_stage(path, name) for name, path in directories.items() if (path / METRICS_FILE).exists()}
