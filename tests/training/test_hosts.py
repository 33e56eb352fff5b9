"""What a process does about others, as far as one process can show it; test_processes.py starts several."""

import pytest

from benchmarks.chips import Chips, efficiency
from lift_jax import hosts
from lift_jax.config import missing_mr
from lift_jax.errors import UserError
from lift_jax.training.inputs import assert_equal_subjects, cache_shared
from tests.data.test_cache import RandomSubjects


@pytest.mark.parametrize(
    ("environment", "shown"),
    [
        ({}, False),
        ({"SLURM_JOB_ID": "7", "SLURM_NTASKS": "16"}, False),  # a batch script outside srun
        ({"SLURM_JOB_ID": "7", "SLURM_STEP_NUM_TASKS": "1"}, False),
        ({"SLURM_JOB_ID": "7", "SLURM_STEP_NUM_TASKS": "16"}, True),
        ({"OMPI_COMM_WORLD_SIZE": "1"}, False),
        ({"OMPI_COMM_WORLD_SIZE": "4"}, True),
        ({"TPU_WORKER_HOSTNAMES": "localhost"}, False),
        ({"TPU_WORKER_HOSTNAMES": "a,b,c,d"}, True),
    ],
)
def test_several_processes_are_shown_by_what_started_them(environment, shown):
    assert hosts.shows_cluster(environment) is shown


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (("host:1", None, None), "--processes: not given; --coordinator, --processes and --process go together"),
        ((None, 2, 0), "--coordinator: not given"),
        (("host:1", 2, None), "--process: not given"),
        (("host:1", 2, 2), "--process: 2 is none of 0 to 1"),
        (("host", 2, 1), "host: names no port"),
        (("host:x", 2, 1), "host:x: names no port"),
    ],
)
def test_half_given_processes_are_refused_by_the_flag(given, message):
    with pytest.raises(UserError) as refusal:
        hosts.join(*given, seconds=1)
    assert message in str(refusal.value)


def test_one_process_runs_alone_whatever_it_is_reported_besides():
    hosts.join("host:1", 1, None, seconds=1)
    assert not hosts.are_many() and hosts.is_first()


def test_alone_everything_is_this_processs_own():
    assert list(hosts.own_share(5)) == [0, 1, 2, 3, 4]
    assert hosts.all_gather_json({2: "c", 0: "a", 1: "b"}) == ["a", "b", "c"]
    assert hosts.gathered({"x": 1.5}) == [{"x": 1.5}]
    assert hosts.any_process(True) and not hosts.any_process(False)
    hosts.assert_equal_across_processes("anything", "digest")
    hosts.wait_for_all("anywhere")


def others(monkeypatch, answers):
    """As if several processes had answered."""
    monkeypatch.setattr(hosts, "gathered", lambda value: answers)


def test_processes_that_differ_are_refused_by_the_number_of_the_first(monkeypatch):
    others(monkeypatch, ["aaaaaaaaaa", "aaaaaaaaaa", "bbbbbbbbbb", "cccccccccc"])
    with pytest.raises(
        UserError, match=r"^the subjects of process 2 is not that of process 0 \(hashes bbbbbbbb and aaaa"
    ):
        hosts.assert_equal_across_processes("the subjects", "aaaaaaaaaa")


def told_of(monkeypatch, look):
    """The hash of what a process has, which it sends to the others."""
    reported = []
    monkeypatch.setattr(hosts, "gathered", lambda value: reported.append(value) or [value])
    look()
    return reported[-1]


@pytest.mark.parametrize(
    ("other", "what"),
    [({"count": 3}, "the set of subjects"), ({"salt": "b"}, "the content of the subjects")],
    ids=["names", "content"],
)
def test_processes_with_other_subjects_or_subjects_of_other_content_are_refused(monkeypatch, tmp_path, other, what):
    config = missing_mr()

    def look(source, folder):
        assert_equal_subjects({"train": source})
        cache_shared(source, config, folder)

    theirs = told_of(monkeypatch, lambda: look(RandomSubjects(), tmp_path / "first"))
    names = told_of(monkeypatch, lambda: assert_equal_subjects({"train": RandomSubjects()}))
    answers = iter([names, theirs])
    monkeypatch.setattr(hosts, "gathered", lambda value: [next(answers), value])
    with pytest.raises(UserError, match=f"^{what} of process 1 is not that of process 0"):
        look(RandomSubjects(**other), tmp_path / "second")
    answers = iter([names, theirs])
    look(RandomSubjects(), tmp_path / "third")


def test_shares_are_merged_in_the_order_of_the_work(monkeypatch):
    others(monkeypatch, [{"0": "a", "2": "c"}, {"1": "b", "10": "e", "3": "d"}])
    assert hosts.all_gather_json({}) == ["a", "b", "c", "d", "e"]


def test_efficiency_on_paper_is_computing_over_computing_and_sending():
    chips = Chips("made up", 4, flops=1e12, bandwidth=1e9, latency=0.0)
    sent = {"all-reduce": (3, 2_000_000), "all-gather": (1, 8_000_000)}
    # 2 · 3/4 of 2 MB is reduced; what two devices gathered is twice as much over four, 16 MB, of which 3/4 are sent.
    seconds = (1.5 * 2e6 + 0.75 * 16e6) / 1e9
    assert efficiency(chips, 1e10, sent, devices=2) == pytest.approx(0.01 / (0.01 + seconds))
