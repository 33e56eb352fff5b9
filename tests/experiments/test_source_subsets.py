"""The study of three sources, two and one: what is shown, and how differences are written."""

import itertools

import numpy as np
import pytest

from experiments.source_subsets import COUNTS, METRICS, drawn_sources, table

OTHERS = ("t1c", "t2w", "t2f")


@pytest.mark.parametrize("number", range(4))
def test_fewer_sources_are_some_of_the_more_in_their_order(number):
    for index in range(8):
        drawn = drawn_sources(OTHERS, (index, number))
        assert [len(drawn[count]) for count in COUNTS] == list(COUNTS) and drawn[3] == OTHERS
        for more, fewer in itertools.pairwise(COUNTS):
            assert [name for name in drawn[more] if name in drawn[fewer]] == list(drawn[fewer])


def test_single_sources_differ_between_subjects():
    assert {drawn_sources(OTHERS, (index, 0))[1] for index in range(16)} == {(name,) for name in OTHERS}


def found(*means):
    """What runs of these mean scores would give, `[subjects]` for every number of sources and metric."""
    noise = np.random.default_rng(0).normal(size=32)
    return {
        name: {(count, metric): mean + noise for count in COUNTS for metric in METRICS}
        for name, mean in zip(("no_mixer", "stem_2"), means, strict=True)
    }


def test_differences_are_paired_by_subject():
    rows = dict(line.strip("| ").split(" | ", 1) for line in table(found(20.0, 20.5)).splitlines()[2:])
    assert rows["**stem_2 - no_mixer**"].startswith("0.50 [0.50, 0.50]")
