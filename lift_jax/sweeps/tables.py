"""The numbers of a sweep: means over seeds, and differences from the base paired by seed, with t-intervals."""

from collections.abc import Mapping

import numpy as np
from scipy.stats import t as student

from lift_jax.evaluation.aggregates import Estimate
from lift_jax.evaluation.intervals import LEVEL
from lift_jax.sweeps.columns import COMPARED_AS_RATIOS

Values = Mapping[str, Mapping[int, float]]
"""One metric: variant to seed to value; what failed, or is not yet there, is missing."""


def t_interval(values, level: float = LEVEL) -> Estimate:
    """The mean of `[n]` values with its t-interval, mean ± t s / √n of n - 1 degrees of freedom.

    For runs with different seeds, of which there are few: unlike the bootstrap it does not come out too narrow for
    three of them, but takes their distribution to be normal. One value has no interval; none, not even a mean.

    Raises:
      ValueError: values that are not finite.
    """
    values = np.asarray(values, np.float64)
    if values.ndim != 1 or not np.isfinite(values).all():
        raise ValueError(f"an interval needs finite values [n], got {values!r}")
    nan = float("nan")
    if values.size < 2:
        return Estimate(*(values if values.size else (nan,)), nan, nan, values.size)
    mean = float(values.mean())
    half = float(student.ppf((1 + level) / 2, values.size - 1) * values.std(ddof=1) / values.size**0.5)
    return Estimate(mean, mean - half, mean + half, values.size)


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
        return t_interval, float

    def of_logarithms(values):
        mean, low, high, n = t_interval(values)
        return Estimate(*np.exp([mean, low, high]).tolist(), n)

    return of_logarithms, lambda value: np.log(value) if value > 0 else np.nan  # a distance of 0 has no ratio


def _finite(of_seeds: Mapping[int, float], change) -> dict[int, float]:
    changed = {seed: change(value) for seed, value in of_seeds.items()}
    return {seed: value for seed, value in changed.items() if np.isfinite(value)}
