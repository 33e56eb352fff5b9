"""The tables of an evaluation of translations."""

import math
from collections.abc import Mapping, Sequence

from lift_jax.evaluation.aggregates import Column, Estimate
from lift_jax.evaluation.aggregates import Table as Aggregates
from lift_jax.evaluation.report.html import Table, TableRow, estimate_cell
from lift_jax.evaluation.scores import BEST_SOURCE, MODEL


def headline_table(columns: Sequence[Column], aggregates: Aggregates, differences: Aggregates) -> Table:
    """A row per channel: the first method's headline metrics, and its difference from the best source."""
    method = _methods(aggregates)[0]
    columns = [column for column in columns if column.headline]
    ahead = differences.get(BEST_SOURCE) if columns else None
    heads = ["channel", "subjects", *(column.label for column in columns)]
    heads += [f"{columns[0].label}, minus {BEST_SOURCE}"] if ahead else []
    rows = []
    for channel, estimates in aggregates[method].items():
        count = _count(estimates)
        cells = [estimate_cell(estimates[column.key], column, count) for column in columns]
        if ahead:
            estimate = ahead[channel][columns[0].key]
            cells.append(estimate_cell(estimate, columns[0], count, True, _verdict(estimate, columns[0])))
        rows.append(TableRow([channel], count, cells))
    return Table("Result", heads, rows, f"Mean over subjects of the {method}; below it the interval.")


def metrics_table(columns: Sequence[Column], aggregates: Aggregates) -> Table:
    """All metrics of all methods, by channel; the best mean of a channel is marked."""
    rows = []
    for channel in next(iter(aggregates.values())):
        for position, method in enumerate(_methods(aggregates)):
            estimates = aggregates[method][channel]
            count = _count(estimates)
            cells = [
                estimate_cell(estimates[c.key], c, count, mark=_best(aggregates, channel, method, c)) for c in columns
            ]
            rows.append(TableRow(["" if position else channel, method], count, cells, first=not position))
    heads = ["channel", "method", "subjects", *(column.label for column in columns)]
    return Table("All metrics", heads, rows, "Mean over subjects and its interval. The best mean is bold.")


def difference_table(columns: Sequence[Column], differences: Aggregates) -> Table | None:
    """The model minus every other method, paired by subject; None without another method."""
    rows = []
    for channel in next(iter(differences.values()), ()):
        for position, (method, channels) in enumerate(differences.items()):
            estimates = channels[channel]
            count = _count(estimates)
            cells = [estimate_cell(estimates[c.key], c, count, True, _verdict(estimates[c.key], c)) for c in columns]
            rows.append(TableRow(["" if position else channel, method], count, cells, first=not position))
    if not rows:
        return None
    heads = ["channel", f"{MODEL} minus", "subjects", *(column.label for column in columns)]
    note = "Differences are computed per subject, then averaged. Colored where the interval excludes zero:"
    return Table("Paired differences", heads, rows, note, legend=True)


def _methods(aggregates: Aggregates) -> list[str]:
    """The model first, then the others in their order."""
    return sorted(aggregates, key=lambda method: method != MODEL)


def _best(aggregates: Aggregates, channel: str, method: str, column: Column) -> str:
    means = {m: aggregates[m][channel][column.key].mean for m in aggregates}
    means = {m: mean if column.higher_is_better else -mean for m, mean in means.items() if not math.isnan(mean)}
    return "best" if len(means) > 1 and means.get(method) == max(means.values()) else ""


def _verdict(difference: Estimate, column: Column) -> str:
    """Returns "better" or "worse" if the whole interval is on one side of zero, else ""."""
    if not (difference.low > 0 or difference.high < 0):
        return ""
    return "better" if (difference.low > 0) == column.higher_is_better else "worse"


def _count(estimates: Mapping[str, Estimate]) -> int:
    return max((estimate.n for estimate in estimates.values()), default=0)
