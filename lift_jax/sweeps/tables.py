"""The numbers of a sweep: means over seeds, and differences from the base paired by seed, with t-intervals."""

from collections.abc import Mapping

import numpy as np

from lift_jax.evaluation.aggregates import Estimate
from lift_jax.evaluation.intervals import mean_interval
from lift_jax.evaluation.sweep_columns import COMPARED_AS_RATIOS

Values = Mapping[str, Mapping[int, float]]
"""One metric: variant to seed to value; what failed, or is not yet there, is missing."""


def seed_interval(values) -> Estimate:
    """The mean of `[n]` values, one a seed, with its t-interval; no values have no mean.

    Raises:
      ValueError: values that are not finite.
    """
    nan = float("nan")
    return Estimate(*mean_interval(values), len(values)) if len(values) else Estimate(nan, nan, nan, 0)


def seed_means(values: Values, metric: str = "") -> dict[str, Estimate]:
    """The mean over seeds of every variant: the geometric one where the metric is among `COMPARED_AS_RATIOS`."""
    interval, change = _scale_of(metric)
    return {v: interval(list(_finite(of_seeds, change).values())) for v, of_seeds in values.items()}


def seed_differences(values: Values, base: str, metric: str = "") -> dict[str, Estimate]:
    """Every variant but the base minus the base, seed by seed, over the seeds that both have.

    Divided by the base where the metric is among `COMPARED_AS_RATIOS`: 1 is no difference then.
    """
    interval, change = _scale_of(metric)
    ours = _finite(values.get(base, {}), change)
    differences = {}
    for variant, of_seeds in values.items():
        if variant != base:
            theirs = _finite(of_seeds, change)
            differences[variant] = interval([theirs[seed] - ours[seed] for seed in theirs if seed in ours])
    return differences


def _scale_of(metric: str):
    """How intervals of a metric are made, and of what function of its values."""
    if metric not in COMPARED_AS_RATIOS:
        return seed_interval, float

    def of_logarithms(values):
        mean, low, high, n = seed_interval(values)
        return Estimate(*np.exp([mean, low, high]).tolist(), n)

    return of_logarithms, lambda value: np.log(value) if value > 0 else np.nan  # a distance of 0 has no ratio


def _finite(of_seeds: Mapping[int, float], change) -> dict[int, float]:
    changed = {seed: change(value) for seed, value in of_seeds.items()}
    return {seed: value for seed, value in changed.items() if np.isfinite(value)}
