"""A work directory in a bucket, of which only a stand-in is at hand: see tests/bucket.py."""

import json

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from etils import epath

from lift_jax import paths as places
from lift_jax import run_directory
from lift_jax.checkpoints import restore_ema, saved_steps
from lift_jax.errors import UserError
from lift_jax.evaluation.report.page import write_report
from lift_jax.paths import resolve_local_path, resolve_path
from lift_jax.tasks.run import train
from lift_jax.training.loop import finished_parameters, run_stage
from lift_jax.training.run_log import METRICS_FILE
from tests.bucket import stand_in
from tests.small_stage import descent, small_run

STEPS = 7


@pytest.fixture
def workdir(monkeypatch, tmp_path):
    """A work directory in a bucket; what is in the bucket is below `tmp_path`."""
    stand_in(monkeypatch, tmp_path)
    monkeypatch.setattr(places, "CLIENTS", ("json",))
    return resolve_path("gs://bucket/runs/first")


def logged(workdir):
    lines = [json.loads(line) for line in (workdir / METRICS_FILE).read_text().splitlines()]
    return [{key: value for key, value in line.items() if not key.endswith("_per_second")} for line in lines]


def test_a_stage_leaves_in_a_bucket_what_it_leaves_in_a_folder(workdir, tmp_path):
    folder = tmp_path / "folder"
    ours, theirs = (run_stage(descent(STEPS), small_run(), where) for where in (workdir, folder))
    jax.tree.map(np.testing.assert_array_equal, ours, theirs)
    assert logged(workdir) == logged(folder)
    events = workdir / "tensorboard" / "joint"
    assert [path.stat().length for path in events.iterdir()] == [
        path.stat().st_size for path in (folder / "tensorboard" / "joint").iterdir()
    ]
    checkpoints = run_directory.checkpoint_directory(workdir, "joint")
    assert saved_steps(checkpoints) == saved_steps(run_directory.checkpoint_directory(folder, "joint")) == {6, 7}
    jax.tree.map(np.testing.assert_array_equal, finished_parameters(workdir, "joint", STEPS, ours), theirs)
    assert finished_parameters(workdir, "joint", STEPS + 1, ours) is None


def test_a_stage_that_was_cut_off_goes_on_from_the_bucket(workdir, tmp_path):
    class Cut(Exception):
        pass

    def cut():
        raise Cut

    with pytest.raises(Cut):
        run_stage(descent(STEPS, looking=cut), small_run(), workdir)  # in step 4
    assert saved_steps(run_directory.checkpoint_directory(workdir, "joint")) == {3}
    expected = run_stage(descent(STEPS), small_run(), tmp_path / "folder")
    jax.tree.map(np.testing.assert_array_equal, run_stage(descent(STEPS), small_run(), workdir), expected)
    assert logged(workdir) == logged(tmp_path / "folder")


def test_a_checkpoint_in_the_writing_does_not_count(workdir, tmp_path):
    run_stage(descent(STEPS), small_run(), workdir)
    checkpoints = run_directory.checkpoint_directory(workdir, "joint")
    (checkpoints / str(STEPS) / "commit_success.txt").unlink()
    assert saved_steps(checkpoints) == {6}
    assert restore_ema(checkpoints, {"only": {"x": jnp.zeros(1)}})[1] == 6
    assert finished_parameters(workdir, "joint", STEPS, {"only": {"x": jnp.zeros(1)}}) is None


def test_a_bucket_holds_the_configuration_and_refuses_another(workdir):
    config = small_run()
    with run_directory.workdir_lock(workdir), run_directory.workdir_lock(workdir):
        run_directory.prepare(workdir, config)
    assert run_directory.read_config(workdir).to_dict() == config.to_dict()
    config.seed = 5
    with pytest.raises(UserError, match="belongs to a run with another configuration: seed"):
        run_directory.prepare(workdir, config)
    with pytest.raises(UserError, match=r"nowhere/config.json: .*--workdir must name the work directory of a run"):
        run_directory.read_config(resolve_path("gs://bucket/nowhere"))


def test_a_report_is_written_into_a_bucket(workdir):
    write_report(workdir / "evaluation", {"psnr": 1.0}, [{"subject": "a"}], ["subject"], "<p>π</p>")
    folder = workdir / "evaluation"
    assert sorted(path.name for path in folder.iterdir()) == ["cases.csv", "metrics.json", "report.html"]
    assert (folder / "report.html").read_bytes() == "<p>π</p>".encode()


def test_preprocessed_volumes_are_never_kept_in_a_bucket(workdir, tmp_path):
    config = small_run()
    for cache, message in (
        ("", "config.data.cache: empty"),
        ("gs://bucket/cache", "gs://bucket/cache: must be a path"),
    ):
        config.data.cache = cache
        with pytest.raises(UserError, match=message):
            train(config, workdir)
    assert not (tmp_path / "bucket").exists()


def test_a_bucket_that_cannot_be_written_is_reported_in_one_line(workdir, monkeypatch):
    def refuse(*_):
        raise RuntimeError("403:\n  no permission")

    monkeypatch.setattr(type(epath.Path("gs://bucket/x")), "write_bytes", refuse)
    with pytest.raises(UserError) as refusal:
        run_directory.prepare(workdir, small_run())
    assert str(refusal.value) == f"{workdir}: cannot be written (403: no permission); name another --workdir"
    with pytest.raises(UserError, match=r"metrics.jsonl: cannot be written \(403: no permission\)"):
        run_stage(descent(STEPS), small_run(), workdir)


@pytest.mark.parametrize("name", ["gs://bucket/x", "s3://bucket/x", "https://host/x"])
def test_what_must_be_a_path_of_this_machine_is_no_address(name):
    with pytest.raises(UserError, match=f"^{name}: must be a path of this machine"):
        resolve_local_path(name)
    assert resolve_local_path("a/b://c").name == "c"


def test_a_bucket_needs_a_client(monkeypatch):
    monkeypatch.setattr(places, "CLIENTS", ("no_such_module",))
    with pytest.raises(UserError, match="gs://bucket/x: a bucket needs gcsfs; pip install gcsfs"):
        resolve_path("gs://bucket/x")
