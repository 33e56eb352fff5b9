import json

import numpy as np
import pytest

from lift_jax.training.run_log import METRICS_FILE, RunLog


def lines(workdir):
    return [json.loads(line) for line in (workdir / METRICS_FILE).read_text().splitlines()]


def write(workdir, stage, steps, after=0):
    with RunLog(workdir, stage, after) as log:
        for step in steps:
            log.scalars(step, {"loss": 1 / step})


def steps(workdir, stage):
    return [line["step"] for line in lines(workdir) if line["stage"] == stage]


def test_each_reading_is_one_json_line_in_plain_numbers(tmp_path):
    with RunLog(tmp_path, "joint", 0) as log:
        log.scalars(1, {"loss": np.float32(0.5), "pixel": 2})
        log.scalars(2, {"loss": 0.25})
    assert lines(tmp_path) == [
        {"stage": "joint", "step": 1, "loss": 0.5, "pixel": 2.0},
        {"stage": "joint", "step": 2, "loss": 0.25},
    ]


def test_lines_can_be_read_while_the_run_goes_on(tmp_path):
    with RunLog(tmp_path, "joint", 0) as log:
        log.scalars(1, {"loss": 0.5})
        assert len(lines(tmp_path)) == 1


def test_going_on_drops_what_came_after_the_checkpoint(tmp_path):
    write(tmp_path, "joint", [1, 2, 3, 4, 5])
    write(tmp_path, "joint", [4, 5, 6], after=3)
    assert steps(tmp_path, "joint") == [1, 2, 3, 4, 5, 6]


def test_going_on_leaves_other_stages_alone(tmp_path):
    write(tmp_path, "translator", [1, 2, 3, 4])
    write(tmp_path, "mixer", [1, 2, 3])
    write(tmp_path, "mixer", [2], after=1)
    assert steps(tmp_path, "translator") == [1, 2, 3, 4]
    assert steps(tmp_path, "mixer") == [1, 2]


def test_a_stage_from_its_start_drops_all_its_lines(tmp_path):
    write(tmp_path, "joint", [1, 2])
    write(tmp_path, "joint", [])
    assert lines(tmp_path) == []


@pytest.mark.parametrize("cut", ['{"stage": "joi', '{"stage": "joint", "step": 4, "loss": 0.', "{"])
def test_a_last_line_that_was_cut_off_is_dropped(tmp_path, cut):
    write(tmp_path, "joint", [1, 2, 3])
    with (tmp_path / METRICS_FILE).open("a") as file:
        file.write(cut)
    write(tmp_path, "joint", [4], after=3)
    assert steps(tmp_path, "joint") == [1, 2, 3, 4]


def test_a_last_line_that_lacks_only_its_end_of_line_is_kept(tmp_path):
    write(tmp_path, "joint", [1, 2])
    path = tmp_path / METRICS_FILE
    path.write_text(path.read_text().rstrip("\n"))
    write(tmp_path, "joint", [3], after=2)
    assert steps(tmp_path, "joint") == [1, 2, 3]


def test_a_number_that_is_not_finite_is_left_out(tmp_path):
    with RunLog(tmp_path, "joint", 0) as log:
        log.scalars(1, {"loss": float("nan"), "gradient_norm": float("inf"), "skipped": 1})
    assert lines(tmp_path) == [{"stage": "joint", "step": 1, "skipped": 1.0}]


def test_what_the_stage_had_logged_before_is_known_when_it_goes_on(tmp_path):
    write(tmp_path, "translator", [1, 2])
    write(tmp_path, "mixer", [1, 2, 3, 4])
    with RunLog(tmp_path, "mixer", 3) as log:
        assert log.earlier("loss") == [1, 1 / 2, 1 / 3]
        assert log.earlier("skipped") == []


def test_only_the_first_process_writes(tmp_path):
    with RunLog(tmp_path, "joint", 0, enabled=False) as log:
        log.scalars(1, {"loss": 1.0})
        log.picture(1, "validation", np.zeros((4, 4, 3), np.uint8))
    assert list(tmp_path.iterdir()) == []


def test_tensorboard_gets_the_numbers_and_pictures_under_the_stage(tmp_path):
    with RunLog(tmp_path, "joint", 0) as log:
        log.scalars(1, {"loss": 1.0})
        log.picture(1, "validation", np.zeros((4, 6, 3), np.uint8))
    (events,) = (tmp_path / "tensorboard" / "joint").iterdir()
    content = events.read_bytes()
    assert b"joint/loss" in content
    assert b"joint/validation" in content


def test_nothing_but_the_log_is_left(tmp_path):
    write(tmp_path, "joint", [1, 2])
    write(tmp_path, "joint", [2], after=1)
    assert sorted(path.name for path in tmp_path.iterdir()) == [METRICS_FILE, "tensorboard"]
