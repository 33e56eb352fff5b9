"""Tables of a sweep: means over seeds, differences from the base paired by seed, and cost, with t-intervals."""

import dataclasses
import math
from collections.abc import Mapping, Sequence

import numpy as np

from lift_jax.evaluation.report.page import Table, estimates_row
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


def metric_columns(sweep: Sweep) -> Sequence[Column]:
    """The metrics of the sweep's runs."""
    return task_of(sweep.base).sweep.columns(sweep.base)


def means_table(sweep: Sweep, results: Sequence[Result]) -> Table:
    """Means over seeds of every variant, and below them those of the baselines, scored with the base's runs."""
    columns = metric_columns(sweep)
    means = {c.key: seed_means(metric_values(results, c.key), c.geometric) for c in columns}
    rows = []
    for name in sweep.variants:

        def mark(column: Column, name=name) -> str:
            return best_mark(name, means[column.key], column)

        rows.append(estimates_row([name], _of_variant(name, means), columns, mark=mark))
    base = [result for result in results if result.run.variant == sweep.base_variant]
    for position, method in enumerate(task_of(sweep.base).sweep.baselines(sweep.base)):
        scored = {c.key: seed_means(metric_values(base, c.key, method), c.geometric) for c in columns}
        rows.append(estimates_row([method], _of_variant(sweep.base_variant, scored), columns, first=position == 0))
    note = (
        f"Mean over seeds and its {LEVEL:.0%} t-interval. The best mean is bold. Below the line: baselines, as scored "
        f"with the runs of {sweep.base_variant}."
    )
    return Table("Means over seeds", ["variant", "seeds", *(c.label for c in columns)], rows, note)


def differences_table(sweep: Sweep, results: Sequence[Result]) -> Table | None:
    """Differences of every other variant from the base; None without another variant."""
    base, columns, differences = sweep.base_variant, [], {}
    for c in metric_columns(sweep):
        columns.append(dataclasses.replace(c, label=f"{c.label}, ratio", digits=2) if c.geometric else c)
        differences[c.key] = seed_differences(metric_values(results, c.key), base, c.geometric)
    rows = []
    for name in sweep.variants:
        if name != base:
            own = _of_variant(name, differences)

            def mark(column: Column, own=own) -> str:
                return difference_mark(own[column.key], column, none=1 if column.geometric else 0)

            rows.append(estimates_row([name], own, columns, mark=mark, signed=True))
    note = (
        f"Variant minus {base}, computed per seed, then averaged; {LEVEL:.0%} t-intervals. Distances above 0 are "
        "compared by ratios. Colored where the interval excludes no difference:"
    )
    heads = [f"minus {base}", "seeds", *(c.label for c in columns)]
    return Table("Paired differences", heads, rows, note, legend=True) if rows else None


def cost_table(sweep: Sweep, results: Sequence[Result]) -> Table | None:
    """Time per step and wall time of every stage; None before any run has logged."""
    columns, means = [], {}
    for stage in dict.fromkeys(stage for result in results for stage in result.logs):
        for key, label, attribute, factor in (
            (f"step_{stage}", f"{stage}: ms per step", "seconds_per_step", 1000),
            (f"wall_{stage}", f"{stage}: total s", "seconds", 1),
        ):
            columns.append(Column(key, label, 1, False))
            means[key] = seed_means(_by_variant(results, _seconds_of(stage, attribute, factor)))
    rows = [estimates_row([name], _of_variant(name, means), columns) for name in sweep.variants]
    note = (
        f"Means over seeds with {LEVEL:.0%} t-intervals. Time per step: median of the log's intervals without "
        "compilation. Total: wall time of the training with compilation and validation, for runs that were not "
        "interrupted. Runs in parallel slow each other. A shared stage is trained once and listed for every variant "
        "that uses it."
    )
    return Table("Cost", ["variant", "seeds", *(c.label for c in columns)], rows, note) if columns else None


def markdown_table(table: Table) -> str:
    """A table as Markdown; marked cells are bold, and names below the line, those of baselines, in italics."""
    lines = [f"| {' | '.join(map(escaped, table.heads))} |", "|---" * len(table.heads) + "|"]
    below = False
    for row in table.rows:
        below = below or row.first
        names = [f"*{escaped(name)}*" if below else escaped(name) for name in row.names]
        cells = []
        for cell in row.cells:
            interval = "" if cell.interval in ("", "–") else f" ({cell.interval})".replace("\N{NO-BREAK SPACE}", " ")
            text = f"{cell.mean}{interval}"
            cells.append(f"**{text}**" if cell.mark else text)
        lines.append(f"| {' | '.join(names)} | {row.count} | {' | '.join(cells)} |")
    return "\n".join(lines)


def escaped(text: str) -> str:
    """Without what would end a cell or a line of Markdown."""
    return str(text).replace("|", "\\|").replace("\n", " ")


def _of_variant(name: str, estimates: Mapping[str, Mapping[str, Estimate]]) -> dict[str, Estimate]:
    """`estimates[metric][variant]` of one variant."""
    return {metric: by_variant[name] for metric, by_variant in estimates.items() if name in by_variant}


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
