"""Which of a sweep's means is the best of its column, and whether a difference is better or worse than nothing."""

import dataclasses
from collections.abc import Mapping

from lift_jax.evaluation.aggregates import Column, Estimate
from lift_jax.evaluation.sweep_columns import BEST_AT_ZERO, COMPARED_AS_RATIOS, NOT_RANKED


def is_best(variant: str, estimates: Mapping[str, Estimate], column: Column) -> bool:
    """Whether no other variant has a better mean; never where all means are the same, or where they are not ranked."""
    losses = {name: _loss_of(e.mean, column) for name, e in estimates.items() if e.n}
    return (
        column.key not in NOT_RANKED
        and len(set(losses.values())) > 1
        and variant in losses
        and losses[variant] == min(losses.values())
    )


def verdict(difference: Estimate, column: Column) -> str:
    """`better` or `worse`, the side of no difference the whole interval is on; "" where it is on both, or unranked."""
    none = 1 if column.key in COMPARED_AS_RATIOS else 0
    if column.key in (*BEST_AT_ZERO, *NOT_RANKED) or not (difference.low > none or difference.high < none):
        return ""
    return "better" if (difference.low > none) == column.higher_is_better else "worse"


def of_differences(column: Column) -> Column:
    """The column as it heads differences: two decimals and a word where they are ratios."""
    if column.key not in COMPARED_AS_RATIOS:
        return column
    return dataclasses.replace(column, label=f"{column.label}, ratio", digits=2)


def _loss_of(mean: float, column: Column) -> float:
    """What is least for the best."""
    if column.key in BEST_AT_ZERO:
        return abs(mean)
    return -mean if column.higher_is_better else mean
