"""A work directory in a bucket, of which only a stand-in is at hand: see tests/bucket.py."""

import functools
import json

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from etils import epath

from configs.quickstart import get_config
from lift_jax import places, run_directory
from lift_jax.errors import UserError
from lift_jax.evaluation.report_files import write_report
from lift_jax.places import local_place, place
from lift_jax.training.checkpoints import restore_ema, saved_steps
from lift_jax.training.run import train
from lift_jax.training.run_log import METRICS_FILE
from lift_jax.training.stages import Everywhere, Stage, finished_parameters, run_stage
from lift_jax.training.step import initial_state, train_step
from tests.bucket import stand_in

STEPS, EVERY = 7, 3


@pytest.fixture
def workdir(monkeypatch, tmp_path):
    """A work directory in a bucket; what is in the bucket is below `tmp_path`."""
    stand_in(monkeypatch, tmp_path)
    monkeypatch.setattr(places, "CLIENTS", ("json",))
    return place("gs://bucket/runs/first")


def configured():
    config = get_config("tiny")
    with config.unlocked():
        config.data.cache = "cache"
        config.stage.joint.batch = 8
        config.checkpoint.every, config.checkpoint.keep = EVERY, 2
        config.log.every, config.log.validate = 1, 4
    return config


def descent(steps=STEPS, after=None):
    """A stage of one number that goes down to the mean of what is there; `after` is called after each validation."""

    def loss(params, batch, key):
        error = ((params["only"]["x"] - batch["y"]) ** 2).mean()
        return error, {"error": error}

    def validate(averages):
        if after is not None:
            after()
        return {"x": float(averages["only"]["x"][0])}, {"square": np.zeros((4, 4, 3), np.uint8)}

    optimiser = optax.sgd(0.1)
    step = functools.partial(train_step, loss_function=loss, optimiser=optimiser, trained=("only",), ema_decay=0.5)
    state = initial_state({"only": {"x": jnp.zeros(1)}}, optimiser, ("only",), jax.random.key(0))
    return Stage("joint", steps, 1, step, state, Everywhere({"y": np.ones(8, np.float32)}), validate)


def logged(workdir):
    lines = [json.loads(line) for line in (workdir / METRICS_FILE).read_text().splitlines()]
    return [{key: value for key, value in line.items() if not key.endswith("_per_second")} for line in lines]


def test_a_stage_leaves_in_a_bucket_what_it_leaves_in_a_folder(workdir, tmp_path):
    folder = tmp_path / "folder"
    ours, theirs = (run_stage(descent(), configured(), where) for where in (workdir, folder))
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
        run_stage(descent(after=cut), configured(), workdir)  # in step 4
    assert saved_steps(run_directory.checkpoint_directory(workdir, "joint")) == {3}
    expected = run_stage(descent(), configured(), tmp_path / "folder")
    jax.tree.map(np.testing.assert_array_equal, run_stage(descent(), configured(), workdir), expected)
    assert logged(workdir) == logged(tmp_path / "folder")


def test_a_checkpoint_in_the_writing_does_not_count(workdir, tmp_path):
    run_stage(descent(), configured(), workdir)
    checkpoints = run_directory.checkpoint_directory(workdir, "joint")
    (checkpoints / str(STEPS) / "commit_success.txt").unlink()
    assert saved_steps(checkpoints) == {6}
    assert restore_ema(checkpoints, {"only": {"x": jnp.zeros(1)}})[1] == 6
    assert finished_parameters(workdir, "joint", STEPS, {"only": {"x": jnp.zeros(1)}}) is None


def test_a_bucket_holds_the_configuration_and_refuses_another(workdir):
    config = configured()
    with run_directory.claimed(workdir), run_directory.claimed(workdir):
        run_directory.prepare(workdir, config)
    assert run_directory.read_config(workdir).to_dict() == config.to_dict()
    config.seed = 5
    with pytest.raises(UserError, match="belongs to a run with another configuration: seed"):
        run_directory.prepare(workdir, config)
    with pytest.raises(UserError, match="gs://bucket/nowhere/config.json: .*must name the folder of a run"):
        run_directory.read_config(place("gs://bucket/nowhere"))


def test_a_report_is_written_into_a_bucket(workdir):
    write_report(workdir / "evaluation", {"psnr": 1.0}, [{"case": "a"}], ["case"], "<p>π</p>")
    folder = workdir / "evaluation"
    assert sorted(path.name for path in folder.iterdir()) == ["cases.csv", "metrics.json", "report.html"]
    assert (folder / "report.html").read_bytes() == "<p>π</p>".encode()


def test_preprocessed_volumes_are_never_kept_in_a_bucket(workdir, tmp_path):
    config = configured()
    for cache, told in (("", "config.data.cache: empty"), ("gs://bucket/cache", "gs://bucket/cache: must be a path")):
        config.data.cache = cache
        with pytest.raises(UserError, match=told):
            train(config, workdir)
    assert not (tmp_path / "bucket").exists()


def test_a_bucket_that_cannot_be_written_is_told_in_one_line(workdir, monkeypatch):
    def refuse(*_):
        raise RuntimeError("403:\n  no permission")

    monkeypatch.setattr(type(epath.Path("gs://bucket/x")), "write_bytes", refuse)
    with pytest.raises(UserError) as refusal:
        run_directory.prepare(workdir, configured())
    assert str(refusal.value) == f"{workdir}: cannot be written (403: no permission); name another --workdir"
    with pytest.raises(UserError, match=r"metrics.jsonl: cannot be written \(403: no permission\)"):
        run_stage(descent(), configured(), workdir)


@pytest.mark.parametrize("name", ["gs://bucket/x", "s3://bucket/x", "https://host/x"])
def test_what_must_be_a_path_of_this_machine_is_no_address(name):
    with pytest.raises(UserError, match=f"^{name}: must be a path of this machine"):
        local_place(name)
    assert local_place("a/b://c").name == "c"


def test_a_bucket_needs_a_client(monkeypatch):
    monkeypatch.setattr(places, "CLIENTS", ("no_such_module",))
    with pytest.raises(UserError, match="gs://bucket/x: a bucket needs gcsfs; pip install gcsfs"):
        place("gs://bucket/x")
