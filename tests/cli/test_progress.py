import io
import sys

import pytest

from lift_jax.progress import progress


class Terminal(io.StringIO):
    def isatty(self):
        return True


@pytest.fixture
def errors(monkeypatch):
    def replaced(stream):
        monkeypatch.setattr(sys, "stderr", stream)
        return stream

    return replaced


def test_a_log_gets_whole_lines_without_carriage_returns(errors, monkeypatch):
    monkeypatch.setattr("lift_jax.progress.LINE_SECONDS", 0.0)
    log = errors(io.StringIO())
    assert list(progress(range(3), description="reading", unit="subject")) == [0, 1, 2]
    text = log.getvalue()
    assert "\r" not in text and "\x1b" not in text
    lines = text.splitlines()
    assert all(line.startswith("reading: ") for line in lines)
    assert lines[-1].startswith("reading: 3/3 subjects, ")


def test_short_work_is_one_line_of_a_log(errors):
    log = errors(io.StringIO())
    with progress(description="joint", unit="step", total=5, initial=2) as counter:
        for _ in range(3):
            counter.update()
            counter.set_postfix(loss="0.5")
    assert log.getvalue().count("\n") <= 2
    assert "joint: 5/5 steps" in log.getvalue()


def test_a_terminal_gets_a_bar(errors):
    terminal = errors(Terminal())
    list(progress(range(3), description="reading", unit="subject"))
    assert "\r" in terminal.getvalue()


def test_other_processes_say_nothing(errors):
    log = errors(io.StringIO())
    list(progress(range(3), description="reading", unit="subject", enabled=False))
    assert log.getvalue() == ""
