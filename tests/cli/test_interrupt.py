"""Ctrl-C: saves where something can be saved, and stops with status 130."""

import signal
import time

import pytest

from lift_jax.cli.process import saving_interrupts
from lift_jax.training.watchdog import StopRequest
from tests.commands import SECONDS


def test_the_first_asks_to_save_and_the_second_stops_at_once(capsys):
    with saving_interrupts() as is_interrupted, StopRequest() as request:
        assert not is_interrupted()
        signal.raise_signal(signal.SIGINT)
        assert is_interrupted() and request.is_due(meeting=True)
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(signal.SIGINT)
        request._asked = False  # else the context's end passes it on
    assert "Ctrl-C again" in capsys.readouterr().err


def test_where_nothing_can_be_saved_it_stops_at_once():
    with pytest.raises(KeyboardInterrupt), saving_interrupts():
        signal.raise_signal(signal.SIGINT)
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


@pytest.mark.slow
def test_a_run_that_is_interrupted_has_saved_and_goes_on(tmp_path, begin):
    workdir = tmp_path / "run"
    arguments = ["--config=quickstart:tiny", f"--workdir={workdir}", "--config.checkpoint.every_steps=100"]
    arguments += [f"--config.stage.joint.{key}" for key in ("steps=2000", "window=8")]
    process = begin("train", *arguments)
    deadline = time.monotonic() + SECONDS
    log = workdir / "metrics.jsonl"
    while not (log.exists() and log.read_text()) and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=SECONDS)
    assert process.returncode == 130, errors
    assert errors.splitlines()[-1].endswith("the same command resumes from there")
    (step,) = [int(path.name) for path in (workdir / "checkpoints/joint").iterdir()]  # whole, and nothing beside it
    assert 1 <= step < 100
    again = begin("train", *arguments)
    while len(log.read_text().splitlines()) <= step and again.poll() is None and time.monotonic() < deadline + SECONDS:
        time.sleep(0.1)
    again.send_signal(signal.SIGINT)
    assert again.communicate(timeout=SECONDS) and again.returncode == 130
    assert len(log.read_text().splitlines()) > step
