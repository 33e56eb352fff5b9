"""A sweep on disk: `sweep.csv`, a row per variant, seed and metric; `sweep.html`, for people; `sweep.md`, tables."""

import csv
import io
import math
import pathlib
from collections.abc import Mapping, Sequence

from lift_jax.evaluation.report.files import atomic_write_file
from lift_jax.evaluation.scores import MODEL
from lift_jax.sweeps.definition import Sweep
from lift_jax.sweeps.markdown import sweep_markdown
from lift_jax.sweeps.page import sweep_page
from lift_jax.sweeps.plan import Run
from lift_jax.sweeps.results import Result, read_results

HEADS = ("variant", "seed", "status", "metric", "value", "message")


def write_sweep(
    sweep: Sweep, runs: Sequence[Run], workdir: pathlib.Path, failures: Mapping[pathlib.Path, str], *, title: str
) -> None:
    """Writes the files of a sweep as far as it has come, in place of those that are there.

    Args:
      sweep: the sweep.
      runs: of `plan.plan_runs`.
      workdir: of the sweep.
      failures: work directories of runs that failed, and why.
      title: heads the page and the tables.

    Raises:
      UserError: the folder cannot be written.
    """
    results = read_results(runs, workdir, failures)
    atomic_write_file(workdir / "sweep.csv", results_csv(results))
    atomic_write_file(workdir / "sweep.md", sweep_markdown(sweep, results, title))
    atomic_write_file(workdir / "sweep.html", sweep_page(sweep, results, title))


def results_csv(results: Sequence[Result]) -> str:
    """A row for every metric of every scored run, costs among them, and one row for every run that has none.

    `seconds_per_step_<stage>` is the median of the log's intervals; `seconds_<stage>` the wall time of the stage's
    training, the same for all runs that share it. What is not known, as the time of an interrupted training, is empty.
    """
    text = io.StringIO()
    writer = csv.DictWriter(text, HEADS, restval="", lineterminator="\n")
    writer.writeheader()
    for result in results:
        row = {"variant": result.run.variant, "seed": result.run.seed, "status": result.status}
        for metric, value in _metrics(result).items() if result.scores else ():
            writer.writerow(row | {"metric": metric, "value": "" if value is None else repr(value)})
        if not result.scores:
            writer.writerow(row | {"message": result.failure})
    return text.getvalue()


def _metrics(result: Result) -> dict[str, float | None]:
    costs = {}
    for stage, log in result.logs.items():
        named = {f"seconds_per_step_{stage}": log.seconds_per_step, f"seconds_{stage}": log.seconds}
        costs |= {name: value if math.isfinite(value) else None for name, value in named.items()}
    return {**result.scores[MODEL], **costs}
