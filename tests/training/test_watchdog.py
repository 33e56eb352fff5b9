"""Processes that wait for one that does not come."""

import re

import pytest

from lift_jax import hosts
from lift_jax.training.watchdog import COMPILING, Stalls, stall_message
from tests.commands import REPOSITORY, SECONDS, free_port


@pytest.mark.parametrize(
    ("begun", "count", "message"),
    [
        ({0: 41, 1: 40}, 2, "process 1 has not begun step 41, for which the others wait"),
        ({0: 60, 1: 40, 2: 55, 3: 40}, 4, "processes 1, 3 have not begun step 41"),  # 2 reported earlier
        ({0: 1}, 2, "process 1 has not begun step 1,"),
        ({0: 1240, 1: 1240}, 2, "all processes have begun step 1,240 and none has finished it"),
        ({0: 5}, 12, "processes 1, 2, 3, 4, 5, 6, 7, 8 and 3 more have not begun step 1,"),
    ],
)
def test_the_line_names_the_processes_that_are_furthest_behind(begun, count, message):
    line = stall_message("mixer", begun, count, 1800)
    assert line.startswith("mixer: no step for 1,800 s (--hang_seconds): ") and message in line
    assert "\n" not in line and line.endswith("the same command resumes from the last checkpoint")


def watched(monkeypatch, begun):
    """Stalls of process 0, which is not watched by a thread here, and a clock that is moved by hand."""
    clock, texts = [100.0], {f"begun/mixer/{process}": str(step) for process, step in begun.items()}
    monkeypatch.setattr("lift_jax.training.watchdog.time.monotonic", lambda: clock[0])
    monkeypatch.setattr("lift_jax.training.watchdog.jax.process_count", lambda: 2)
    monkeypatch.setattr(hosts, "post", lambda topic, text: texts.update({f"{topic}/0": text}))
    monkeypatch.setattr(
        hosts, "posted", lambda topic: {int(k[-1]): v for k, v in texts.items() if k.startswith(f"{topic}/")}
    )
    return Stalls("mixer", 60.0), clock, texts


def test_only_a_process_that_takes_no_step_for_so_long_is_ended(monkeypatch):
    stalls, clock, texts = watched(monkeypatch, {1: 3})
    assert stalls._check() is None and "begun/mixer/0" not in texts
    stalls.mark(1)
    clock[0] += 60 * COMPILING - 1
    assert stalls._check() is None and texts["begun/mixer/0"] == "1"
    for step in range(1, 5):
        stalls.mark(step)
        clock[0] += 59
        assert stalls._check() is None
    assert texts["begun/mixer/0"] == "4"
    clock[0] += 1
    assert "process 1 has not begun step 4" in stalls._check()


def test_a_first_step_that_never_ends_is_reported_of_too(monkeypatch):
    stalls, clock, _ = watched(monkeypatch, {})
    stalls.mark(1)
    clock[0] += 60 * COMPILING
    assert (
        stalls._check().startswith("mixer: no step for 240 s") and "process 1 has not begun step 1" in stalls._check()
    )


def test_the_line_stays_true_when_the_process_that_keeps_the_posts_has_ended_first(monkeypatch):
    stalls, clock, texts = watched(monkeypatch, {1: 3})
    stalls.mark(1)
    stalls.mark(2)
    assert stalls._check() is None
    texts.clear()
    clock[0] += 60
    assert "process 0 has not begun step 3" in stalls._check()


def test_a_process_alone_is_not_watched():
    with Stalls("mixer", 0.01) as stalls:
        stalls.mark(1)
        assert stalls._watchdog is None
    assert hosts.posted("begun/mixer") == {} and hosts.hang_seconds() == hosts.HANG_SECONDS


def test_two_processes_of_which_one_stops_reading_end_by_the_time_out_and_name_it(tmp_path, begin):
    address = f"127.0.0.1:{free_port()}"
    running = [begin("tests/blocked_stage", address, i, tmp_path, PYTHONPATH=str(REPOSITORY)) for i in range(2)]
    try:
        outputs = [process.communicate(timeout=SECONDS) for process in running]
    finally:
        for process in running:
            process.kill()
    assert all(process.returncode != 0 for process in running)
    lines = [line for _, errors in outputs for line in errors.splitlines() if "--hang_seconds" in line]
    pattern = r"process [01]: joint: no step for 15 s \(--hang_seconds\): process 1 has not begun step 3, for which"
    assert lines and all(re.match(pattern, line) for line in lines), outputs
