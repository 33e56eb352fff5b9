"""An evaluation on disk: `metrics.json` for programs, `cases.csv` for statistics, `report.html` for people."""

import csv
import io
import json
import math
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from lift_jax.errors import UserError
from lift_jax.evaluation.aggregates import (
    BOOTSTRAP_SEED,
    Column,
    Row,
    Table,
    aggregate,
    distinct,
    model_differences,
    present_columns,
)
from lift_jax.evaluation.intervals import LEVEL, RESAMPLES
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
        "interval": {
            "method": "percentile bootstrap over cases",
            "level": LEVEL,
            "resamples": RESAMPLES,
            "seed": BOOTSTRAP_SEED,
        },
        "aggregates": _plain(aggregates),
        "model_minus": _plain(differences),
    }
    files = {
        "metrics.json": json.dumps(_finite(metrics), indent=2, ensure_ascii=False, allow_nan=False) + "\n",
        "cases.csv": _cases_csv(rows),
        "report.html": page(report, pictures),
    }
    for name, text in files.items():
        _write_whole(Path(directory) / name, text)


def _plain(table: Table) -> dict:
    return {
        method: {
            contrast: {metric: estimate._asdict() for metric, estimate in estimates.items()}
            for contrast, estimates in contrasts.items()
        }
        for method, contrasts in table.items()
    }


def _finite(value):
    """The same nested dictionaries with None in place of numbers that JSON does not know."""
    if isinstance(value, dict):
        return {key: _finite(inner) for key, inner in value.items()}
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _cases_csv(rows: Sequence[Row]) -> str:
    metrics = list(dict.fromkeys(key for row in rows for key in row if key not in KEYS))
    text = io.StringIO()
    writer = csv.DictWriter(text, [*KEYS, *metrics], restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def _write_whole(path: Path, text: str) -> None:
    aside = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            aside.write_text(text, encoding="utf-8")
            os.replace(aside, path)
        finally:
            aside.unlink(missing_ok=True)
    except OSError as error:
        raise UserError(
            f"{path}: cannot be written ({error.strerror or error}); check the folder, its permissions and free space"
        ) from None
