"""What a sweep has come to so far: the scores, logs and failures of its runs, as they lie on disk."""

import dataclasses
import math
import pathlib
from collections.abc import Mapping, Sequence

from lift_jax.evaluation.scores import MODEL
from lift_jax.sweeps.logs import StageLog, run_logs
from lift_jax.sweeps.plan import Run
from lift_jax.sweeps.scoring import read_scores
from lift_jax.sweeps.tables import Values


@dataclasses.dataclass(frozen=True)
class Result:
    """One run.

    Attributes:
      run: the run.
      scores: `scores[name][metric]`, see `scoring.write_scores`; empty if it has not been scored.
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
    """The results of all runs; `failures` are those of `course.follow`, by work directory."""
    results = []
    for run in runs:
        scored = read_scores(run.directory) or {"scores": {}, "n": 0, "hardware": ""}
        failure = "" if scored["scores"] else failures.get(run.directory, "")
        logs = run_logs(run, workdir)
        results.append(Result(run, scored["scores"], scored["n"], scored["hardware"], logs, failure))
    return results


def metric_values(results: Sequence[Result], metric: str, name: str = MODEL) -> Values:
    """One metric of all runs, variant to seed to value: of the model, or of what it is compared with."""
    values: dict[str, dict[int, float]] = {}
    for result in results:
        of_variant = values.setdefault(result.run.variant, {})
        value = result.scores.get(name, {}).get(metric)
        if value is not None:
            of_variant[result.run.seed] = value
    return values


def step_seconds(results: Sequence[Result], stage: str) -> Values:
    """The median seconds of a step of one stage, variant to seed to value."""
    return _of_logs(results, stage, "seconds_per_step")


def stage_seconds(results: Sequence[Result], stage: str) -> Values:
    """The wall time of one stage's training, variant to seed to value."""
    return _of_logs(results, stage, "seconds")


def _of_logs(results, stage, attribute):
    values: dict[str, dict[int, float]] = {}
    for result in results:
        of_variant = values.setdefault(result.run.variant, {})
        if stage in result.logs and math.isfinite(value := getattr(result.logs[stage], attribute)):
            of_variant[result.run.seed] = value
    return values
