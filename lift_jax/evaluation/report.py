"""An evaluation on disk: `metrics.json` for programs, `cases.csv` for statistics, `report.html` for people."""

import os
from collections.abc import Iterable, Mapping, Sequence

from lift_jax.errors import UserError
from lift_jax.evaluation.aggregates import (
    Column,
    Row,
    Table,
    aggregate,
    distinct,
    model_differences,
    present_columns,
)
from lift_jax.evaluation.intervals import LEVEL
from lift_jax.evaluation.report_files import write_report
from lift_jax.evaluation.report_page import Picture, Report, page

KEYS = ("case", "contrast", "method")
"""What names a row; the rest of it is scores."""


def write_evaluation(
    directory: str | os.PathLike,
    rows: Sequence[Row],
    pictures: Iterable[Picture],
    *,
    title: str,
    facts: Mapping[str, str | float],
    columns: Sequence[Column],
) -> None:
    """Writes an evaluation's three files, each aside first, so that none is ever half there.

    `metrics.json` holds the facts, the interval's definition, `aggregates[method][contrast][metric]` and
    `model_minus[method][contrast][metric]`, each of `mean`, `low`, `high` and `n`; a value that is not finite is null.
    `cases.csv` has one line per row. `report.html` shows both with pictures and loads nothing from anywhere.

    Args:
      directory: made if it does not exist; an evaluation that it holds is replaced.
      rows: `{"case", "contrast", "method", metric: float, ...}`, one per case, contrast and method.
      pictures: drawn one after the other, so that an iterator keeps one case in memory.
      title: heads the page.
      facts: what the numbers rest on (data set, protocol, steps, hardware, checkpoint, cost) by name, in this order.
      columns: the metrics of the tables, in their order; one that no row has is left out.

    Raises:
      UserError: there is nothing to report, or the directory cannot be written.
    """
    if not rows:
        raise UserError(f"{directory}: no case was scored, so there is nothing to report; give at least one case")
    columns = present_columns(rows, columns)
    aggregates, differences = aggregate(rows, columns), model_differences(rows, columns)
    report = Report(title, facts, columns, rows, aggregates, differences)
    metrics = {
        "title": title,
        "facts": dict(facts),
        "cases": len(distinct(rows, "case")),
        "interval": {"method": "Student's t over cases", "level": LEVEL},
        "aggregates": _plain(aggregates),
        "model_minus": _plain(differences),
    }
    write_report(directory, metrics, rows, KEYS, page(report, pictures))


def _plain(table: Table) -> dict:
    return {
        method: {
            contrast: {metric: estimate._asdict() for metric, estimate in estimates.items()}
            for contrast, estimates in contrasts.items()
        }
        for method, contrasts in table.items()
    }
