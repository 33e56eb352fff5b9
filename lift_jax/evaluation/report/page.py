"""HTML pages from the Jinja2 templates of this package, with autoescape, and the files of a report, written whole."""

import base64
import csv
import dataclasses
import functools
import io
import json
import math
import os
from collections.abc import Callable, Mapping, Sequence
from importlib import resources

import jinja2

from lift_jax.errors import UserError
from lift_jax.evaluation.statistics import LEVEL, Column, Estimate
from lift_jax.paths import PathLike, atomic_write, resolve_path


@dataclasses.dataclass(frozen=True)
class Figure:
    """A PNG on a page: `label` in bold and `caption` above it, `alt` for screen readers."""

    png: bytes
    alt: str
    label: str
    caption: str = ""

    @property
    def base64(self) -> str:
        """The PNG in base64."""
        return base64.b64encode(self.png).decode("ascii")


@dataclasses.dataclass(frozen=True)
class Cell:
    """A mean, the interval below it, and its mark: "best", "better", "worse" or ""."""

    mean: str
    interval: str = ""
    mark: str = ""


@dataclasses.dataclass(frozen=True)
class TableRow:
    """Names, then the number of subjects, volumes or seeds, then cells; `first` starts a group of rows."""

    names: Sequence[str]
    count: int
    cells: Sequence[Cell]
    first: bool = False


@dataclasses.dataclass(frozen=True)
class Table:
    """A table under a heading; `heads` are those of the names, of the count, and of the cells.

    `legend` puts a legend of the marks "better" and "worse" after the note.
    """

    heading: str
    heads: Sequence[str]
    rows: Sequence[TableRow]
    note: str = ""
    legend: bool = False

    @property
    def name_columns(self) -> int:
        """Columns that hold names."""
        return len(self.rows[0].names)


def estimates_row(
    names: Sequence[str],
    estimates: Mapping[str, Estimate],
    columns: Sequence[Column],
    *,
    mark: Callable[[Column], str] = lambda column: "",
    signed: bool = False,
    first: bool = False,
) -> TableRow:
    """A row of a table: under each column its estimate, or a dash where there is none.

    Args:
      names: that begin the row.
      estimates: by the columns' keys.
      columns: of the table.
      mark: the mark of a column's cell.
      signed: positive differences have a sign; ratios, of geometric columns, have none.
      first: the row starts a group.
    """
    count = max((estimate.n for estimate in estimates.values()), default=0)
    cells = [_cell(estimates.get(column.key), column, count, signed, mark) for column in columns]
    return TableRow(names, count, cells, first)


def _cell(estimate: Estimate | None, column: Column, count: int, signed: bool, mark: Callable[[Column], str]) -> Cell:
    """A mean with its interval, and its own n where that is below the `count` of the row."""
    if estimate is None or estimate.n == 0:
        return Cell("–")
    sign = "+" if column.best_at_zero or (signed and not column.geometric) else ""
    mean, low, high = (f"{value:{sign}.{column.digits}f}".replace("-", "−") for value in estimate[:3])
    interval = "–" if math.isnan(estimate.low) else f"{low} to\N{NO-BREAK SPACE}{high}"
    interval += f", n = {estimate.n}".replace(" = ", "\N{NO-BREAK SPACE}=\N{NO-BREAK SPACE}") * (estimate.n < count)
    return Cell(mean, interval, mark(column))


def render(template: str, **context) -> str:
    """A page from one of `templates/`; every value is escaped, `viewer` is that of `encode_scenes` or None."""
    return _environment().get_template(template).render({"viewer": None, "level": f"{LEVEL:.0%}"} | context)


@functools.cache
def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.PackageLoader("lift_jax.evaluation.report"),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals["static"] = static_file
    return environment


@functools.cache
def static_file(name: str) -> str:
    """The text of one of `static/`."""
    return (resources.files("lift_jax.evaluation.report") / "static" / name).read_text(encoding="utf-8")


def write_report(
    directory: str | os.PathLike, metrics: Mapping, rows: Sequence[Mapping], keys: Sequence[str], page: str
) -> None:
    """Writes `metrics.json`, `cases.csv` and `report.html`, each atomically; replaces any that exist.

    Args:
      directory: created if it does not exist.
      metrics: content of `metrics.json`; a number that is not finite is null.
      rows: the lines of `cases.csv`; what a row lacks stays empty.
      keys: the columns that come first and name a row.
      page: the HTML.

    Raises:
      UserError: the directory cannot be written.
    """
    names = list(dict.fromkeys([*keys, *(key for row in rows for key in row)]))
    files = {
        "metrics.json": json.dumps(_finite(metrics), indent=2, ensure_ascii=False, allow_nan=False) + "\n",
        "cases.csv": csv_text(rows, names),
        "report.html": page,
    }
    folder: PathLike = resolve_path(os.fspath(directory))
    for name, text in files.items():
        write_text(folder / name, text)


def csv_text(rows: Sequence[Mapping], names: Sequence[str]) -> str:
    """Rows as CSV under the names of the columns."""
    text = io.StringIO()
    writer = csv.DictWriter(text, names, restval="", lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def write_text(path: PathLike, text: str) -> None:
    """Writes a UTF-8 file atomically and creates its folder; UserError if that fails."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        atomic_write(path, text)
    except OSError as error:
        raise UserError(
            f"{path}: cannot be written ({error.strerror or error}); check the folder, its permissions and free space"
        ) from None


def _finite(value):
    """The same nested dictionaries with None in place of numbers that JSON does not know."""
    if isinstance(value, dict):
        return {key: _finite(inner) for key, inner in value.items()}
    return None if isinstance(value, float) and not math.isfinite(value) else value
