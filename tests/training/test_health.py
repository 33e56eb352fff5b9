"""The health of a stage, by numbers and a clock that stands still until it is moved."""

import dataclasses
import json
import re
import threading

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lift_jax.errors import DataWarning, UserError
from lift_jax.training.health import ENOUGH, RECENT, SHORTEST, SLOW, SkippedSteps, Spikes, StepTimes
from lift_jax.training.loop import run_stage
from lift_jax.training.run_log import METRICS_FILE
from lift_jax.training.watchdog import Watchdog
from tests.small_stage import descent, small_run


def noted(counts, *, first=1, limit=3, skipped=0, batch_names=None):
    steps = SkippedSteps("mixer", limit, skipped, batch_names)
    for step, count in enumerate(counts, first):
        steps.note(step, jnp.int32(count))
    return steps


def test_each_skipped_step_is_reported_once_with_the_subjects_of_its_batch():
    steps = noted([0, 1, 1, 2, 2], batch_names=lambda step: [f"b-{step}", "a", "a"])
    lines = steps.read()
    assert [line.split(" was skipped")[0] for line in lines] == ["step 2", "step 4"]
    assert lines[0].endswith("its batch is of a, b-2")
    assert steps.read() == []
    steps.note(6, jnp.int32(3))
    assert len(steps.read()) == 1


def test_of_many_subjects_the_first_are_named():
    (line,) = noted([1], batch_names=lambda step: [f"case-{i:02}" for i in range(30)]).read()
    assert line.endswith("case-07 and 22 more") and "\n" not in line


def test_where_batches_are_made_of_no_subjects_the_step_is_reported():
    (line,) = noted([5], first=1200, skipped=4).read()
    assert line.startswith("step 1,200 was skipped") and line.endswith("drawn from the feature bank")


def test_nothing_is_skipped_where_the_count_of_earlier_steps_stays():
    assert noted([7, 7, 7, 7], skipped=7).read() == []


def test_so_many_in_a_row_stop_the_stage_even_over_several_readings():
    steps = noted([1, 2, 2, 3, 4], limit=3)
    assert len(steps.read()) == 4
    steps.note(6, jnp.int32(5))
    with pytest.raises(UserError) as error:
        steps.read()
    message = str(error.value)
    assert (
        message.startswith("mixer: step 6 was skipped")
        and "3 in a row (config.optimizer.max_nonfinite_steps)" in message
    )
    assert "\n" not in message


def test_nothing_is_looked_at_while_steps_are_skipped_and_a_stage_does_not_end_so():
    steps = noted([0, 0, 1])
    assert steps.newest_was_taken(at_end=False)  # nothing is read yet
    steps.read()
    assert not steps.newest_was_taken(at_end=False)
    with pytest.raises(UserError, match=r"^mixer: its last steps were skipped, 1 of them"):
        steps.newest_was_taken(at_end=True)
    steps.note(4, jnp.int32(1))
    steps.read()
    assert steps.newest_was_taken(at_end=True)


def test_noting_a_step_does_not_wait_for_it(monkeypatch):
    def fail(*_):
        raise AssertionError("was read")

    monkeypatch.setattr(jax, "device_get", fail)
    steps = noted([0, 1, 2])
    with pytest.raises(AssertionError, match="was read"):
        steps.read()


def spikes_in(losses, before=()):
    spikes = Spikes(before)
    return {i: ratio for i, ratio in enumerate(map(spikes.read, losses)) if ratio is not None}


def test_a_loss_far_above_its_running_median_is_a_spike_by_its_ratio():
    rng = np.random.default_rng(0)
    losses = 2 + 0.1 * rng.normal(size=200)
    losses[120] = 10
    found = spikes_in(losses)
    assert list(found) == [120]
    assert found[120] == pytest.approx(10 / np.median(losses[70:120]))


@pytest.mark.parametrize(
    "losses",
    [
        np.geomspace(10, 0.01, 300),  # falling
        np.linspace(1, 3, 300),  # rising slowly
        np.random.default_rng(1).lognormal(sigma=0.2, size=300),  # noisy
        np.full(300, 4.0),
        np.r_[np.full(30, 1.0), np.full(30, 1.4)],  # a step up by less than half
        np.zeros(40),
        np.full(300, np.nan),
    ],
)
def test_losses_that_fall_or_scatter_hold_no_spike(losses):
    assert spikes_in(losses) == {}


def test_nothing_is_a_spike_before_there_is_a_median_and_earlier_losses_give_one():
    assert spikes_in([1.0] * (ENOUGH - 1) + [100.0]) == {}
    assert list(spikes_in([100.0], before=[1.0] * ENOUGH)) == [0]


def test_a_new_level_is_no_spike_for_long():
    found = spikes_in([1.0] * RECENT + [5.0] * RECENT)
    assert RECENT in found and max(found) < RECENT + RECENT // 2 + 2


def timed(seconds=2.0, readings=ENOUGH, steps=4):
    """Times of so many readings, `steps` apart, all steps alike; and the clock and the step after them."""
    times, now = StepTimes(), 100.0
    for i in range(readings):
        times.begin(i * steps, now)
        now += steps * seconds
        times.read((i + 1) * steps, now)
        now += 1000  # a validation, which is not timed
    times.begin(readings * steps, now)
    return times, now, readings * steps


def test_a_step_is_slow_when_it_takes_ten_times_the_median():
    times, now, step = timed(2.0)
    expected = 3 * 2.0 + SLOW * 2.0  # three steps as ever, and one slow one
    assert times.slow(4, now + expected - 0.01) is None
    assert times.slow(4, now + expected) == f"a step after {step} takes over 10 times as long as the 2 s of usual steps"


def test_short_steps_are_not_slow_for_a_pause_of_a_second():
    times, now, _ = timed(0.001)
    assert times.slow(4, now + SHORTEST - 0.01) is None
    assert times.slow(4, now + SHORTEST) is not None


def test_nothing_is_slow_while_nothing_is_timed_or_known():
    times, now, step = timed(readings=ENOUGH - 1)
    assert times.slow(4, now + 1e6) is None
    times, now, step = timed()
    times.read(step + 4, now + 8)
    assert times.slow(4, now + 1e6) is None


def test_a_clock_that_goes_backwards_times_nothing():
    times, now, step = timed()
    times.read(step + 4, now - 50)
    times.begin(step + 4, now - 50)
    assert times.slow(4, now - 100) is None
    assert "2 s" in times.slow(4, now)


def test_the_watchdog_reports_each_line_once_while_the_main_thread_waits():
    readings = iter([None, "slow", "slow", None, "slow", "slower", None])
    over, reported = threading.Event(), []

    def look():
        line = next(readings, "end")
        if line == "end":
            over.set()
            return None
        return line

    with Watchdog(look, reported.append, seconds=0.001):
        assert over.wait(20)
    assert reported == ["slow", "slower"]


class Disturbed:
    """Batches of ones, but for one of nan and one of a large number."""

    def __init__(self):
        self.step = 0

    def __next__(self):
        self.step += 1
        return {"y": np.full(8, {3: np.nan, ENOUGH + 4: 1e3}.get(self.step, 2.0), np.float32)}

    def get_state(self):
        return {"step": self.step}

    def set_state(self, state):
        self.step = state["step"]


def test_a_stage_warns_of_skipped_steps_and_spikes_and_logs_them(tmp_path):
    stage = dataclasses.replace(descent(ENOUGH + 5, Disturbed()), batch_names=lambda step: [f"phantom-{step}"])
    with pytest.warns(DataWarning) as warned:
        run_stage(stage, small_run(), tmp_path)
    lines = [str(warning.message) for warning in warned]
    assert any(re.match(r"joint: step 3 was skipped.*phantom-3$", line) for line in lines)
    assert any(
        re.match(rf"joint: the loss of step {ENOUGH + 4} is .* times its running median$", line) for line in lines
    )
    logged = [json.loads(line) for line in (tmp_path / METRICS_FILE).read_text().splitlines()]
    assert next(line["step"] for line in logged if "loss_spike" in line) == ENOUGH + 4
