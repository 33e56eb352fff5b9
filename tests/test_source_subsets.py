"""The study of three sources, two and one: what is shown, and how differences are told."""

import itertools

import numpy as np
import pytest

from experiments.source_subsets import COUNTS, METRICS, drawn_sources, table
from lift_jax.data.cases import CONTRASTS, Case


@pytest.fixture
def case():
    volumes = np.ones((2, 2, 2, len(CONTRASTS)), np.float32)
    return Case("complete", volumes, volumes, np.ones(len(CONTRASTS), bool), np.eye(4))


@pytest.mark.parametrize("target", CONTRASTS)
def test_fewer_sources_are_some_of_the_more_and_never_the_target(case, target):
    for index in range(8):
        drawn = drawn_sources(case, target, index)
        assert [drawn[count].sum() for count in COUNTS] == list(COUNTS)
        assert not any(available[CONTRASTS.index(target)] for available in drawn.values())
        for more, fewer in itertools.pairwise(COUNTS):
            assert np.all(drawn[more] | ~drawn[fewer])


def test_single_sources_differ_between_cases(case):
    singles = {int(np.argmax(drawn_sources(case, "t1n", index)[1])) for index in range(16)}
    assert singles == {1, 2, 3}


def found(*means):
    """What runs of these mean scores would give, `[cases]` for every number of sources and metric."""
    noise = np.random.default_rng(0).normal(size=32)
    return {
        name: {(count, metric): mean + noise for count in COUNTS for metric in METRICS}
        for name, mean in zip(("no_mixer", "stem_2"), means, strict=True)
    }


def test_differences_are_paired_by_case():
    rows = dict(line.strip("| ").split(" | ", 1) for line in table(found(20.0, 20.5)).splitlines()[2:])
    assert rows["**stem_2 - no_mixer**"].startswith("0.50 [0.50, 0.50]")
