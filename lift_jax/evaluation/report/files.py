"""The three files of an evaluation, each written atomically."""

import csv
import io
import json
import math
import os
from collections.abc import Mapping, Sequence

from lift_jax.errors import UserError
from lift_jax.paths import PathLike, atomic_write, resolve_path


def write_report(
    directory: str | os.PathLike, metrics: Mapping, rows: Sequence[Mapping], keys: Sequence[str], page: str
) -> None:
    """Writes `metrics.json`, `cases.csv` and `report.html`; replaces any that exist.

    Args:
      directory: made if it does not exist.
      metrics: content of `metrics.json`; a number that is not finite is null.
      rows: the lines of `cases.csv`; what a row lacks stays empty.
      keys: the columns that come first and name a row.
      page: the HTML.

    Raises:
      UserError: the directory cannot be written.
    """
    files = {
        "metrics.json": json.dumps(_finite(metrics), indent=2, ensure_ascii=False, allow_nan=False) + "\n",
        "cases.csv": _cases_csv(rows, keys),
        "report.html": page,
    }
    for name, text in files.items():
        atomic_write_file(resolve_path(os.fspath(directory)) / name, text)


def _finite(value):
    """The same nested dictionaries with None in place of numbers that JSON does not know."""
    if isinstance(value, dict):
        return {key: _finite(inner) for key, inner in value.items()}
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _cases_csv(rows: Sequence[Mapping], keys: Sequence[str]) -> str:
    metrics = list(dict.fromkeys(key for row in rows for key in row if key not in keys))
    text = io.StringIO()
    writer = csv.DictWriter(text, [*keys, *metrics], restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def atomic_write_file(path: PathLike, text: str) -> None:
    """Writes a UTF-8 file atomically and makes its folder; UserError if that fails."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        atomic_write(path, text)
    except OSError as error:
        raise UserError(
            f"{path}: cannot be written ({error.strerror or error}); check the folder, its permissions and free space"
        ) from None
