import pytest

from benchmarks.training_memory import medians


@pytest.mark.slow
def test_memory_does_not_grow_over_two_thousand_steps():
    found = medians(2000)
    assert found[-1] - found[2] < 20, found  # MiB, of several hundred
