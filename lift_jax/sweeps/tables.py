"""Tables of a sweep: means over seeds, differences from the base paired by seed, and cost, with t-intervals."""

import math
from collections.abc import Mapping, Sequence

import numpy as np

from lift_jax.evaluation.report.page import Table, TableRow, estimate_cell
from lift_jax.evaluation.statistics import (
    LEVEL,
    MODEL,
    Column,
    Estimate,
    best_mark,
    difference_mark,
    mean_interval,
)
from lift_jax.sweeps import Sweep
from lift_jax.sweeps.results import Result
from lift_jax.tasks import task_of

Values = Mapping[str, Mapping[int, float]]
"""One metric: variant to seed to value; what failed, or is not yet there, is missing."""

Estimates = Mapping[str, Mapping[str, Estimate]]
"""`estimates[metric][variant]`."""


def metric_values(results: Sequence[Result], metric: str, method: str = MODEL) -> Values:
    """One metric of all runs, of the model or of a baseline."""
    return _by_variant(results, lambda result: result.scores.get(method, {}).get(metric))


def seed_means(values: Values, geometric: bool = False) -> dict[str, Estimate]:
    """The mean over seeds of every variant, or the geometric one; values that are not finite are left out."""
    return {v: _interval(_finite(of_seeds, geometric).values(), geometric) for v, of_seeds in values.items()}


def seed_differences(values: Values, base: str, geometric: bool = False) -> dict[str, Estimate]:
    """Every variant but the base minus the base, or divided by it, seed by seed, over the seeds that both have."""
    ours = _finite(values.get(base, {}), geometric)
    differences = {}
    for variant, of_seeds in values.items():
        if variant != base:
            theirs = _finite(of_seeds, geometric)
            differences[variant] = _interval([theirs[s] - ours[s] for s in theirs if s in ours], geometric)
    return differences


def sweep_columns(sweep: Sweep) -> Sequence[Column]:
    """The metrics of the sweep's runs."""
    return task_of(sweep.base).sweep.columns(sweep.base)


def means_table(sweep: Sweep, results: Sequence[Result]) -> Table:
    """Means over seeds of every variant, and below them those of the baselines, scored with the base's runs."""
    columns = sweep_columns(sweep)
    means = {c.key: seed_means(metric_values(results, c.key), c.geometric) for c in columns}
    rows = [
        _row(name, name, columns, means, lambda c, n=name: best_mark(n, means[c.key], c)) for name in sweep.variants
    ]
    base = [result for result in results if result.run.variant == sweep.base_variant]
    for position, method in enumerate(task_of(sweep.base).sweep.baselines(sweep.base)):
        beside = {c.key: seed_means(metric_values(base, c.key, method), c.geometric) for c in columns}
        rows.append(_row(method, sweep.base_variant, columns, beside, first=position == 0))
    note = (
        f"Mean over seeds and its {LEVEL:.0%} t-interval. The best mean is bold. Below the line: baselines, as scored "
        f"with the runs of {sweep.base_variant}."
    )
    return Table("Means over seeds", ["variant", "seeds", *(c.label for c in columns)], rows, note)


def differences_table(sweep: Sweep, results: Sequence[Result]) -> Table | None:
    """Differences of every other variant from the base; None without another variant."""
    others = [name for name in sweep.variants if name != sweep.base_variant]
    if not others:
        return None
    columns = sweep_columns(sweep)
    estimates = {
        c.key: seed_differences(metric_values(results, c.key), sweep.base_variant, c.geometric) for c in columns
    }

    def mark(name: str, column: Column) -> str:
        return difference_mark(estimates[column.key][name], column, none=1 if column.geometric else 0)

    rows = [_row(n, n, columns, estimates, lambda c, n=n: mark(n, c), difference=True) for n in others]
    note = (
        f"Variant minus {sweep.base_variant}, computed per seed, then averaged; {LEVEL:.0%} t-intervals. Distances "
        "above 0 are compared by ratios. Colored where the interval excludes no difference:"
    )
    labels = (f"{c.label}, ratio" if c.geometric else c.label for c in columns)
    return Table("Paired differences", [f"minus {sweep.base_variant}", "seeds", *labels], rows, note, legend=True)


def cost_table(sweep: Sweep, results: Sequence[Result]) -> Table | None:
    """Time per step and wall time of every stage; None before any run has logged."""
    columns, estimates = [], {}
    for stage in dict.fromkeys(stage for result in results for stage in result.logs):
        for key, label, attribute, factor in (
            (f"step_{stage}", f"{stage}: ms per step", "seconds_per_step", 1000),
            (f"wall_{stage}", f"{stage}: total s", "seconds", 1),
        ):
            columns.append(Column(key, label, 1, False))
            estimates[key] = seed_means(_by_variant(results, _seconds_of(stage, attribute, factor)))
    if not columns:
        return None
    rows = [_row(name, name, columns, estimates) for name in sweep.variants]
    note = (
        f"Means over seeds with {LEVEL:.0%} t-intervals. Time per step: median of the log's intervals without "
        "compilation. Total: wall time of the training with compilation and validation, for runs that were not "
        "interrupted. Runs in parallel slow each other. A shared stage is trained once and listed for every variant "
        "that uses it."
    )
    return Table("Cost", ["variant", "seeds", *(c.label for c in columns)], rows, note)


def markdown_table(table: Table) -> str:
    """A table as Markdown; marked cells are bold."""
    lines = [f"| {' | '.join(map(escaped, table.heads))} |", "|---" * len(table.heads) + "|"]
    for row in table.rows:
        cells = []
        for cell in row.cells:
            interval = "" if cell.interval in ("", "–") else f" ({cell.interval})".replace("\N{NO-BREAK SPACE}", " ")
            text = f"{cell.mean}{interval}"
            cells.append(f"**{text}**" if cell.mark else text)
        lines.append(f"| {' | '.join(map(escaped, row.names))} | {row.count} | {' | '.join(cells)} |")
    return "\n".join(lines)


def escaped(text: str) -> str:
    """Without what would end a cell or a line of Markdown."""
    return str(text).replace("|", "\\|").replace("\n", " ")


def _row(name, variant, columns, estimates: Estimates, mark=lambda column: "", *, difference=False, first=False):
    """A row of a table: the estimates of one variant under all columns."""
    own = {c.key: estimates[c.key].get(variant, mean_interval([])) for c in columns}
    count = max(estimate.n for estimate in own.values())
    cells = []
    for c in columns:
        is_ratio = difference and c.geometric
        shown = Column(c.key, c.label, 2, False) if is_ratio else c
        cells.append(estimate_cell(own[c.key], shown, count, signed=difference and not is_ratio, mark=mark(c)))
    return TableRow([name], count, cells, first=first)


def _by_variant(results: Sequence[Result], value_of) -> Values:
    values: dict[str, dict[int, float]] = {}
    for result in results:
        of_variant = values.setdefault(result.run.variant, {})
        value = value_of(result)
        if value is not None:
            of_variant[result.run.seed] = value
    return values


def _seconds_of(stage: str, attribute: str, factor: float):
    return lambda result: factor * getattr(result.logs[stage], attribute) if stage in result.logs else None


def _interval(values, geometric: bool) -> Estimate:
    estimate = mean_interval(list(values))
    if not geometric:
        return estimate
    mean, low, high = np.exp(estimate[:3]).tolist()
    return Estimate(mean, low, high, estimate.n)


def _finite(of_seeds: Mapping[int, float], geometric: bool) -> dict[int, float]:
    """The finite values; their logarithms if `geometric`, without 0, which has none."""
    if geometric:
        of_seeds = {seed: math.log(value) for seed, value in of_seeds.items() if value > 0}
    return {seed: value for seed, value in of_seeds.items() if math.isfinite(value)}
