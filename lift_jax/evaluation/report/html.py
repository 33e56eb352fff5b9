"""HTML pages from the Jinja2 templates of this package, with autoescape; tables of estimates for them."""

import base64
import dataclasses
import functools
import math
from collections.abc import Sequence
from importlib import resources

import jinja2

from lift_jax.evaluation.aggregates import Column, Estimate
from lift_jax.evaluation.intervals import LEVEL


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
    """A table under a heading; `heads` are those of the names, of the count, and of the cells."""

    heading: str
    heads: Sequence[str]
    rows: Sequence[TableRow]
    note: str = ""
    legend: bool = False
    """Whether a legend of the marks "better" and "worse" follows the note."""

    @property
    def name_columns(self) -> int:
        """Columns that hold names."""
        return len(self.rows[0].names)


def estimate_cell(estimate: Estimate, column: Column, count: int, signed: bool = False, mark: str = "") -> Cell:
    """A mean with its interval, and its own n where that is below the `count` of the row."""
    if estimate.n == 0:
        return Cell("–")
    sign = "+" if signed else ""
    mean, low, high = (f"{value:{sign}.{column.digits}f}".replace("-", "−") for value in estimate[:3])
    interval = "–" if math.isnan(estimate.low) else f"{low} to\N{NO-BREAK SPACE}{high}"
    interval += f", n = {estimate.n}".replace(" = ", "\N{NO-BREAK SPACE}=\N{NO-BREAK SPACE}") * (estimate.n < count)
    return Cell(mean, interval, mark)


def render(template: str, **context) -> str:
    """A page from one of `templates/`; every value is escaped, `viewer` is that of `volumes.encode_scenes` or None."""
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
