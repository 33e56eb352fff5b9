"""Intervals cover what they say at any number of subjects, shrink with it, and pair by subject."""

import numpy as np
import pytest
from scipy.stats import ttest_1samp

from lift_jax.evaluation.distribution import FEWEST_VOLUMES, centered_interval, relative_estimate
from lift_jax.evaluation.statistics import mean_interval, paired_difference


def coverage(samples, truth):
    intervals = [mean_interval(values) for values in samples]
    return np.mean([low <= truth <= high for _, low, high, _ in intervals])


def test_an_interval_is_scipys_confidence_interval_of_the_t_test():
    values = np.random.default_rng(0).gamma(2.0, 3.0, 7)
    expected = ttest_1samp(values, 0).confidence_interval(0.9)
    mean, low, high, n = mean_interval(values, level=0.9)
    assert n == 7
    assert mean == pytest.approx(np.mean(values), rel=1e-12)
    np.testing.assert_allclose((low, high), (expected.low, expected.high), rtol=1e-12)


@pytest.mark.parametrize("n", [2, 3, 4, 8, 36])
def test_nineteen_of_twenty_intervals_hold_the_true_mean_however_few_the_subjects(n):
    generator = np.random.default_rng(n)
    held = coverage(generator.normal(1.0, 2.0, (4000, n)), 1.0)
    assert held == pytest.approx(0.95, abs=0.012)  # three standard deviations of 4,000 samples


@pytest.mark.slow
@pytest.mark.parametrize("n", [2, 4, 8, 36])
@pytest.mark.parametrize(("shape", "least"), [(0.25, 0.935), (0.5, 0.90)])
def test_intervals_of_skewed_values_hold_the_true_mean_nearly_as_often(n, shape, least):
    generator = np.random.default_rng(n)
    held = coverage(generator.lognormal(0, shape, (20_000, n)), np.exp(shape**2 / 2))
    assert least < held < 0.96


def test_a_lower_level_gives_a_narrower_interval_inside_the_wider_one():
    values = np.random.default_rng(0).normal(size=30)
    wide, narrow = mean_interval(values), mean_interval(values, level=0.5)
    assert wide.low < narrow.low < narrow.high < wide.high


def test_one_subject_has_a_mean_and_no_interval():
    mean, low, high, n = mean_interval([4.0])
    assert (mean, n) == (4.0, 1) and np.isnan(low) and np.isnan(high)


def test_no_subject_has_no_mean():
    mean, low, high, n = mean_interval([])
    assert np.isnan([mean, low, high]).all() and n == 0


def test_pairing_removes_what_subjects_share():
    generator = np.random.default_rng(0)
    hardness = generator.normal(0, 10, 50)
    a, b = hardness + 1 + generator.normal(0, 0.1, 50), hardness + generator.normal(0, 0.1, 50)
    mean, low, high, _ = paired_difference(a, b)
    assert mean == pytest.approx(a.mean() - b.mean(), rel=1e-9)
    assert 0.9 < low < high < 1.1


@pytest.mark.parametrize("values", [[1.0, np.nan], [1.0, np.inf], [[1.0, 2.0]]])
def test_values_without_a_mean_are_refused(values):
    with pytest.raises(ValueError, match="finite values"):
        mean_interval(values)


def test_unpaired_values_are_refused():
    with pytest.raises(ValueError, match="same subjects"):
        paired_difference([1.0, 2.0], [1.0])


def test_a_level_outside_the_unit_interval_is_refused():
    with pytest.raises(ValueError, match="between 0 and 1"):
        mean_interval([1.0, 2.0], level=95)


@pytest.mark.parametrize("n", [FEWEST_VOLUMES, 8, 36])
def test_bootstrap_intervals_of_a_ratio_hold_the_true_one_in_nineteen_of_twenty_sets(n):
    generator = np.random.default_rng(n)
    held = 0
    for seed in range(1000):
        made, real = generator.normal(5.0, 1.0, n), generator.normal(5.0, 1.0, 64)
        _, low, high, _ = relative_estimate(made, real, seed=seed)
        held += low <= 0 <= high
    assert held / 1000 == pytest.approx(0.95, abs=0.021)


def test_a_bootstrap_of_too_few_volumes_gives_no_interval():
    value, low, high, n = centered_interval(1.0, np.linspace(0, 2, 100), FEWEST_VOLUMES - 1)
    assert (value, n) == (1.0, FEWEST_VOLUMES - 1) and np.isnan([low, high]).all()
