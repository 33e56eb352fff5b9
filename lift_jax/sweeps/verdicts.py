"""Which of a sweep's means is the best of its column, and whether a difference is better or worse than nothing."""

from collections.abc import Mapping

from lift_jax.evaluation.aggregates import Column, Estimate
from lift_jax.sweeps.columns import BEST_AT_ZERO, NOT_RANKED


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
    """`better` or `worse`, the side of zero the whole interval is on; "" where it holds zero, or neither is better."""
    if column.key in (*BEST_AT_ZERO, *NOT_RANKED) or not (difference.low > 0 or difference.high < 0):
        return ""
    return "better" if (difference.low > 0) == column.higher_is_better else "worse"


def _loss_of(mean: float, column: Column) -> float:
    """What is least for the best."""
    if column.key in BEST_AT_ZERO:
        return abs(mean)
    return -mean if column.higher_is_better else mean
