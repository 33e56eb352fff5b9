"""Means with intervals: the percentile bootstrap over cases."""

from typing import NamedTuple

import numpy as np

LEVEL = 0.95
"""Coverage of every interval that is reported."""

RESAMPLES = 10_000
"""Bootstrap resamples: the ends of a 95 % interval are then stable to about 2 % of its width."""

BLOCK = 2_000_000
"""Values resampled at a time, so that memory does not grow with the number of cases (16 MB of indices)."""


class Interval(NamedTuple):
    """A mean and the ends of its bootstrap interval, which are nan where one case leaves nothing to resample."""

    mean: float
    low: float
    high: float


def bootstrap_mean(values, *, seed: int, resamples: int = RESAMPLES, level: float = LEVEL) -> Interval:
    """The mean of `[n]` values, one a case, with its percentile bootstrap interval.

    Cases are drawn with replacement, `n` at a time; the ends are the `(1 - level) / 2` and `(1 + level) / 2` quantiles
    of the resampled means (Efron and Tibshirani, An Introduction to the Bootstrap, 1993, section 13.3).

    Raises:
      ValueError: no values, values that are not finite, or a level outside (0, 1).
    """
    values = np.asarray(values, np.float64)
    if values.ndim != 1 or values.size == 0 or not np.isfinite(values).all():
        raise ValueError(f"an interval needs finite values [n], n at least 1, got {values!r}")
    if not 0 < level < 1:
        raise ValueError(f"the level of an interval lies between 0 and 1, got {level}")
    mean = float(values.mean())
    if values.size == 1:
        return Interval(mean, float("nan"), float("nan"))
    means = _resampled_means(values, np.random.default_rng(seed), resamples)
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    return Interval(mean, float(low), float(high))


def paired_difference(a, b, *, seed: int, resamples: int = RESAMPLES, level: float = LEVEL) -> Interval:
    """The mean of `a - b` over cases with its interval; `a [n]` and `b [n]` hold the same cases in the same order.

    Differences are formed within a case first, so that what makes a case hard for both cancels.
    """
    a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
    if a.shape != b.shape:
        raise ValueError(f"paired values must be of the same cases, got {a.shape} and {b.shape}")
    return bootstrap_mean(a - b, seed=seed, resamples=resamples, level=level)


def _resampled_means(values: np.ndarray, generator: np.random.Generator, resamples: int) -> np.ndarray:
    rows = max(1, BLOCK // values.size)
    blocks = [min(rows, resamples - start) for start in range(0, resamples, rows)]
    return np.concatenate([values[generator.integers(values.size, size=(n, values.size))].mean(1) for n in blocks])
