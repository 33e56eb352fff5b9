"""Bootstrap intervals cover, shrink with n, and pair by case."""

import numpy as np
import pytest

from lift_jax.evaluation.intervals import bootstrap_mean, paired_difference


def test_mean_is_the_plain_mean_and_lies_within_its_interval():
    values = np.random.default_rng(0).gamma(2.0, 3.0, 40)
    mean, low, high = bootstrap_mean(values, seed=1)
    assert mean == pytest.approx(np.mean(values), rel=1e-12)
    assert low < mean < high


def test_interval_of_a_large_sample_is_the_normal_one():
    values = np.random.default_rng(0).normal(5.0, 2.0, 2000)
    interval = bootstrap_mean(values, seed=1)
    half_width = 1.959964 * values.std(ddof=1) / np.sqrt(values.size)
    assert interval.low == pytest.approx(values.mean() - half_width, abs=0.05 * half_width)
    assert interval.high == pytest.approx(values.mean() + half_width, abs=0.05 * half_width)


def test_nineteen_of_twenty_intervals_hold_the_true_mean():
    generator = np.random.default_rng(3)
    held = 0
    for seed in range(400):
        _, low, high = bootstrap_mean(generator.exponential(1.0, 60), seed=seed, resamples=1000)
        held += low <= 1.0 <= high
    assert 0.90 <= held / 400 <= 0.98


def test_a_lower_level_gives_a_narrower_interval_inside_the_wider_one():
    values = np.random.default_rng(0).normal(size=30)
    wide, narrow = bootstrap_mean(values, seed=2), bootstrap_mean(values, seed=2, level=0.5)
    assert wide.low < narrow.low < narrow.high < wide.high


def test_the_seed_alone_determines_the_interval():
    values = np.random.default_rng(0).normal(size=30)
    np.random.seed(1)  # noqa: NPY002 - the global state must not matter
    first = bootstrap_mean(values, seed=2)
    np.random.seed(2)  # noqa: NPY002
    assert bootstrap_mean(values, seed=2) == first != bootstrap_mean(values, seed=3)


def test_blocks_do_not_change_the_distribution(monkeypatch):
    values = np.random.default_rng(0).normal(size=50)
    whole = bootstrap_mean(values, seed=2)
    monkeypatch.setattr("lift_jax.evaluation.intervals.BLOCK", 777)
    assert bootstrap_mean(values, seed=2) == pytest.approx(whole, abs=1e-12)


def test_one_case_has_a_mean_and_no_interval():
    mean, low, high = bootstrap_mean([4.0], seed=0)
    assert mean == 4.0 and np.isnan(low) and np.isnan(high)


def test_pairing_removes_what_cases_share():
    generator = np.random.default_rng(0)
    hardness = generator.normal(0, 10, 50)
    a, b = hardness + 1 + generator.normal(0, 0.1, 50), hardness + generator.normal(0, 0.1, 50)
    mean, low, high = paired_difference(a, b, seed=0)
    assert mean == pytest.approx(a.mean() - b.mean(), rel=1e-9)
    assert 0.9 < low < high < 1.1


@pytest.mark.parametrize("values", [[], [1.0, np.nan], [1.0, np.inf], [[1.0, 2.0]]])
def test_values_without_a_mean_are_refused(values):
    with pytest.raises(ValueError, match="finite values"):
        bootstrap_mean(values, seed=0)


def test_unpaired_values_are_refused():
    with pytest.raises(ValueError, match="same cases"):
        paired_difference([1.0, 2.0], [1.0], seed=0)


def test_a_level_outside_the_unit_interval_is_refused():
    with pytest.raises(ValueError, match="between 0 and 1"):
        bootstrap_mean([1.0, 2.0], seed=0, level=95)
