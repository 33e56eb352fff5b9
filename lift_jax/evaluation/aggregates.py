"""What a table holds: means over subjects with intervals, and the model's paired difference from every other method."""

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from lift_jax.evaluation.intervals import mean_interval, paired_difference
from lift_jax.evaluation.scores import MODEL

Row = Mapping[str, str | float]
"""The scores of one subject, channel and method: `{"subject", "channel", "method", metric: float, ...}`."""


@dataclasses.dataclass(frozen=True)
class Column:
    """One metric as a table shows it.

    Attributes:
      key: the metric's name in the rows.
      label: the column's heading; a unit goes in brackets.
      digits: decimals shown.
      higher_is_better: which way is good.
      headline: whether the report's first table holds it.
    """

    key: str
    label: str
    digits: int
    higher_is_better: bool
    headline: bool = False


class Estimate(NamedTuple):
    """A mean over `n` subjects and the ends of its interval; all nan for no subject, the ends alone for one."""

    mean: float
    low: float
    high: float
    n: int


Table = dict[str, dict[str, dict[str, Estimate]]]
"""`table[method][channel][metric]`."""


def aggregate(rows: Sequence[Row], columns: Sequence[Column]) -> Table:
    """The mean of every metric over the subjects of every method and channel; `n` counts the finite values alone."""

    def estimate(method: str, channel: str, key: str) -> Estimate:
        values = np.array(list(_values(rows, method, channel, key).values()))
        values = values[np.isfinite(values)]
        return Estimate(*mean_interval(values), values.size) if values.size else _nothing()

    return _tabulate(rows, distinct(rows, "method"), columns, estimate)


def model_differences(rows: Sequence[Row], columns: Sequence[Column]) -> Table:
    """The model minus every other method, paired by subject; `table[other method]`, empty where the model is not in."""

    def estimate(method: str, channel: str, key: str) -> Estimate:
        model, other = (_values(rows, name, channel, key) for name in (MODEL, method))
        pairs = np.array([(model[name], other[name]) for name in model if name in other]).reshape(-1, 2)
        pairs = pairs[np.isfinite(pairs).all(1)]
        return Estimate(*paired_difference(*pairs.T), len(pairs)) if len(pairs) else _nothing()

    methods = distinct(rows, "method")
    others = [method for method in methods if method != MODEL] if MODEL in methods else []
    return _tabulate(rows, others, columns, estimate)


def present_columns(rows: Sequence[Row], columns: Sequence[Column]) -> tuple[Column, ...]:
    """The columns of which at least one row has a value."""
    return tuple(column for column in columns if any(column.key in row for row in rows))


def rank_subjects(rows: Sequence[Row], channel: str, key: str = "psnr") -> dict[str, str]:
    """The subject in which the model did "best", "median" and "worst" by a metric of which more is better.

    Of two subjects there is no median; a single subject is the median.
    """
    values = {subject: value for subject, value in _values(rows, MODEL, channel, key).items() if not np.isnan(value)}
    ordered = sorted(values, key=lambda subject: (-values[subject], subject))
    places = {1: {"median": 0}, 2: {"best": 0, "worst": 1}}
    placed = places.get(len(ordered), {"best": 0, "median": len(ordered) // 2, "worst": len(ordered) - 1})
    return {rank: ordered[place] for rank, place in placed.items() if ordered}


def distinct(rows: Iterable[Row], key: str) -> list[str]:
    """The different values of a key of the rows, in order of appearance."""
    return list(dict.fromkeys(row[key] for row in rows))


def _values(rows: Sequence[Row], method: str, channel: str, key: str) -> dict[str, float]:
    chosen = (row for row in rows if row["method"] == method and row["channel"] == channel)
    return {row["subject"]: float(row[key]) for row in chosen if key in row}


def _tabulate(rows: Sequence[Row], methods: Sequence[str], columns: Sequence[Column], estimate) -> Table:
    channels = distinct(rows, "channel")
    return {m: {c: {column.key: estimate(m, c, column.key) for column in columns} for c in channels} for m in methods}


def _nothing() -> Estimate:
    return Estimate(float("nan"), float("nan"), float("nan"), 0)
