"""Subject after subject: order, overlap, and what happens to the others when one fails."""

import pathlib
import threading

import pytest

from lift_jax.errors import UserError
from lift_jax.inference.output import work_through


class Recorded:
    """Work on numbers, which notes what began and ended, and fails where a test asks for it."""

    def __init__(self, count: int, folder: pathlib.Path, fails=()):
        self.count, self.folder, self.fails, self.events = count, folder, set(fails), []

    def __len__(self):
        return self.count

    def outputs(self, index):
        self._note("outputs", index)
        return [self.folder / str(index)]

    def is_done(self, index):
        return all(path.exists() for path in self.outputs(index))

    def read(self, index):
        self._note("read", index)
        return index

    def predict(self, work):
        self._note("predict", work)
        return work

    def write(self, result, seconds):
        assert seconds >= 0
        self._note("write", result)
        path = self.folder / str(result)
        path.write_text(str(result))
        return [path]

    def _note(self, what, index):
        self.events.append((what, index))
        if (what, index) in self.fails:
            raise UserError(f"{what} {index}")


@pytest.mark.parametrize("count", [0, 1, 2, 5])
def test_all_subjects_are_done_in_their_order(tmp_path, count):
    work = Recorded(count, tmp_path)
    outcomes = list(work_through(work))
    assert [outcome.paths for outcome in outcomes] == [[tmp_path / str(index)] for index in range(count)]
    assert not any(outcome.error or outcome.skipped for outcome in outcomes)
    for what in ("read", "predict", "write"):
        assert [index for event, index in work.events if event == what] == list(range(count))


@pytest.mark.parametrize("stage", ["outputs", "read", "predict", "write"])
@pytest.mark.parametrize("failing", [0, 1, 3])
def test_a_subject_that_fails_is_reported_in_its_turn_and_the_others_are_done(tmp_path, stage, failing):
    outcomes = list(work_through(Recorded(4, tmp_path, {(stage, failing)}), skip_existing=True))
    assert [index for index, outcome in enumerate(outcomes) if outcome.error] == [failing]
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted({"0", "1", "2", "3"} - {str(failing)})


def test_what_is_there_is_left_alone_only_if_asked(tmp_path):
    (tmp_path / "1").write_text("before")
    work = Recorded(3, tmp_path)
    assert [outcome.skipped for outcome in work_through(work, skip_existing=True)] == [False, True, False]
    assert (tmp_path / "1").read_text() == "before"
    assert ("read", 1) not in work.events
    outcomes = list(work_through(work))
    assert not any(outcome.skipped for outcome in outcomes) and all(outcome.replaced for outcome in outcomes)
    assert (tmp_path / "1").read_text() == "1"


def test_a_subject_of_which_only_some_results_are_there_is_done_again(tmp_path):
    class TwoFiles(Recorded):
        def outputs(self, index):
            return [*super().outputs(index), self.folder / f"{index}-metadata"]

    for name in ("0", "1", "1-metadata"):
        (tmp_path / name).write_text("before")
    outcomes = list(work_through(TwoFiles(2, tmp_path), skip_existing=True))
    assert [outcome.skipped for outcome in outcomes] == [False, True]
    assert (tmp_path / "0").read_text() == "0"


def test_the_next_subject_is_read_while_one_is_computed(tmp_path):
    reading = threading.Event()

    class Waits(Recorded):
        def read(self, index):
            if index == 1:
                reading.set()
            return super().read(index)

        def predict(self, work):
            if work == 0:
                assert reading.wait(timeout=30), "the next subject was not read ahead"
            return super().predict(work)

    assert len(list(work_through(Waits(2, tmp_path)))) == 2


def test_a_fault_of_the_program_is_not_taken_for_bad_input(tmp_path):
    class Broken(Recorded):
        def predict(self, work):
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        list(work_through(Broken(2, tmp_path)))
