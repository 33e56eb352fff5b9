"""The three commands as a user runs them: in processes of their own, on one device, in a folder of their own."""

import csv
import json
import pathlib
import shutil
import signal
import time

import jax
import nibabel as nib
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from lift_jax.checkpoints import restore_ema
from lift_jax.data.datasets import BRATS_CHANNELS as CHANNELS
from lift_jax.run_directory import checkpoint_directory
from lift_jax.trained import load_trained
from tests.commands import SECONDS, SMALL_TRANSLATION, assert_refused, metrics, snapshot

STEPS, EVERY = {"translator": 12, "mixer": 4}, 3

TINY = [
    *SMALL_TRANSLATION,
    "--config.data.subjects.train=4",
    "--config.data.subjects.test=1",
    "--config.stages=('translator', 'mixer')",
    *(f"--config.stage.{stage}.steps={steps}" for stage, steps in STEPS.items()),
    *(f"--config.stage.{stage}.batch=2" for stage in STEPS),
    *(f"--config.stage.{stage}.slices=8" for stage in STEPS),
    f"--config.checkpoint.every_steps={EVERY}",
    f"--config.log.validate_every_steps={EVERY}",
]


@pytest.fixture(scope="session")
def train_arguments(shared):
    return lambda workdir: [*TINY, f"--config.data.cache={shared / 'cache'}", f"--workdir={workdir}"]


@pytest.fixture(scope="session")
def trained(tmp_path_factory, command, train_arguments):
    """The work directory of an undisturbed run."""
    workdir = tmp_path_factory.mktemp("runs") / "undisturbed"
    result = command("train", *train_arguments(workdir))
    assert result.returncode == 0, result.stderr
    return workdir


def averaged(workdir, stage):
    """Averaged parameters of a stage's newest checkpoint, and its step."""
    return restore_ema(checkpoint_directory(workdir, stage), load_trained(workdir).params)


def assert_same_bits(a, b):
    jax.tree.map(np.testing.assert_array_equal, a, b)


def test_training_leaves_checkpoints_configuration_log_and_tensorboard(trained):
    for stage, steps in STEPS.items():
        assert (checkpoint_directory(trained, stage) / str(steps) / "ema").is_dir()
        assert list((trained / "tensorboard" / stage).iterdir())
    assert sorted(path.name for path in trained.iterdir()) == [
        ".lock",
        "checkpoints",
        "config.json",
        "data_statistics.json",
        "metrics.jsonl",
        "split.json",
        "tensorboard",
    ]


def test_the_log_holds_every_step_and_the_validations(trained):
    lines = metrics(trained)
    for stage, steps in STEPS.items():
        of_steps = [line for line in lines if line["stage"] == stage and "loss" in line]
        assert [line["step"] for line in of_steps] == list(range(1, steps + 1))
        for line in of_steps:
            assert line["loss"] == pytest.approx(
                line["pixel"] + 0.5 * line["similarity"] + 0.5 * line["through_plane"], rel=1e-5
            )
            assert line["gradient_norm"] > 0
    validated = [line for line in lines if "validation_psnr" in line]
    assert [(line["stage"], line["step"]) for line in validated] == [
        *(("translator", step) for step in (3, 6, 9, 12)),
        *(("mixer", step) for step in (3, 4)),
    ]
    for line in validated:
        values = [line[f"validation_psnr_{channel}"] for channel in CHANNELS]
        assert line["validation_psnr"] == pytest.approx(np.mean(values))


def test_the_mixer_stage_leaves_the_translator_as_it_was_to_the_bit(trained):
    before, after = averaged(trained, "translator")[0], averaged(trained, "mixer")[0]
    assert_same_bits(before["translator"], after["translator"])
    changed = jax.tree.map(lambda a, b: not np.array_equal(a, b), before["mixer"], after["mixer"])
    assert any(jax.tree.leaves(changed))


def test_a_killed_run_goes_on_to_the_same_losses_and_parameters_to_the_bit(
    tmp_path, trained, begin, command, train_arguments
):
    workdir = tmp_path / "killed"
    checkpoints = checkpoint_directory(workdir, "translator")
    process = begin("train", *train_arguments(workdir))
    deadline = time.monotonic() + SECONDS
    while not (checkpoints / str(EVERY)).exists() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.005)
    process.send_signal(signal.SIGKILL)
    process.communicate(timeout=SECONDS)
    assert process.returncode == -signal.SIGKILL
    assert not (checkpoints / str(STEPS["translator"])).exists(), "killed too late to show anything"

    result = command("train", *train_arguments(workdir))
    assert result.returncode == 0, result.stderr
    assert metrics(workdir) == metrics(trained)
    for stage, steps in STEPS.items():
        (ours, step), (theirs, _) = averaged(workdir, stage), averaged(trained, stage)
        assert step == steps
        assert_same_bits(ours, theirs)


def test_a_run_begins_with_the_averaged_parameters_of_the_run_that_is_named(
    tmp_path, trained, command, train_arguments
):
    workdir = tmp_path / "begun"
    arguments = [argument for argument in train_arguments(workdir) if "stages" not in argument]
    result = command("train", *arguments, "--config.stages=('mixer',)", f"--config.start_from={trained}")
    assert result.returncode == 0, result.stderr
    before, after = (load_trained(folder).params for folder in (trained, workdir))
    assert_same_bits(before["translator"], after["translator"])  # it is frozen in this stage
    changes = jax.tree.map(lambda a, b: np.abs(a - b).max(), before["mixer"], after["mixer"])
    assert 0 < max(jax.tree.leaves(changes)) < 0.01  # four steps from where it was


@pytest.mark.parametrize(
    ("extra", "message"),
    [
        (
            {"start_from": "nowhere"},
            "config.start_from: nowhere/config.json: No such file or directory; it must name the work directory",
        ),
        ({"model.mixer.hidden": 5}, "config.start_from: {trained}/checkpoints/mixer/4: parameter mixer/"),
        ({"model.translator.blocks": 2}, "lacks parameter translator/"),
    ],
)
def test_a_run_that_cannot_be_begun_with_is_refused_before_anything_is_made(
    tmp_path, trained, command, train_arguments, extra, message
):
    values = {"start_from": trained} | extra
    flags = [f"--config.{key}={value}" for key, value in values.items()]
    assert_refused(command("train", *train_arguments(tmp_path / "new"), *flags), message.format(trained=trained))
    assert not (tmp_path / "new").exists()


def test_a_finished_run_started_again_changes_nothing(trained, command, train_arguments):
    before = snapshot(trained)
    result = command("train", *train_arguments(trained))
    assert result.returncode == 0, result.stderr
    assert snapshot(trained) == before


def test_a_work_directory_of_another_configuration_is_refused_by_the_key(trained, command, train_arguments):
    before = snapshot(trained)
    result = command("train", *train_arguments(trained), "--config.optimizer.weight_decay.mixer=0.5")
    assert_refused(result, trained, "optimizer.weight_decay.mixer", "0.01", "0.5")
    assert snapshot(trained) == before


@pytest.mark.parametrize(
    ("extra", "message"),
    [
        (["--config.optimizer.learning_rate=1"], "learning_rate"),
        (["--config.stage.mixer.steps=many"], "steps"),
        (["--config.stage.mixer.steps=0"], "config.stage.mixer.steps"),
        (["steps=3"], "steps=3"),
        (["--config=configs/quickstart.py:huge"], "huge"),
        (["--config=configs/nowhere.py"], "nowhere.py"),
        (["--profile_steps=24,20"], "--profile_steps: '24,20'"),
        (["--workdir=s3://bucket/run"], "s3://bucket/run: must be a path"),
    ],
)
def test_a_bad_option_is_refused_before_anything_is_made(tmp_path, command, train_arguments, extra, message):
    workdir = tmp_path / "run"
    assert_refused(command("train", *train_arguments(workdir), *extra), message)
    assert not workdir.exists()


def test_a_missing_work_directory_is_reported(command):
    assert_refused(command("train", *TINY), "--workdir")


def test_a_batch_that_does_not_divide_over_devices_is_refused_before_anything_is_made(
    tmp_path, command, train_arguments
):
    workdir = tmp_path / "run"
    result = command(
        "train",
        *train_arguments(workdir),
        "--config.stage.mixer.batch=3",
        XLA_FLAGS="--xla_force_host_platform_device_count=2",
    )
    assert_refused(result, "config.stage.mixer.batch", "3 does not divide", "2 devices")
    assert not workdir.exists()


def test_a_stage_whose_first_checkpoint_was_not_finished_is_passed_over(tmp_path, trained):
    workdir = shutil.copytree(trained, tmp_path / "run")
    mixer = checkpoint_directory(workdir, "mixer")
    shutil.rmtree(mixer)
    (mixer / "3.orbax-checkpoint-tmp").mkdir(parents=True)
    result = load_trained(workdir)
    assert (result.stage, result.step) == ("translator", STEPS["translator"])


def test_an_evaluation_holds_every_subject_channel_and_method(trained, command):
    before = snapshot(trained)
    result = command("evaluate", f"--workdir={trained}")
    assert result.returncode == 0, result.stderr
    folder = trained / "evaluation"
    assert result.stdout.splitlines() == [f"report: {folder / 'report.html'}"]
    after = snapshot(trained)
    assert {path for path in after if path not in before} == {
        pathlib.Path("evaluation") / name for name in ("metrics.json", "cases.csv", "report.html")
    }
    shutil.rmtree(folder)
    assert snapshot(trained) == before

    rows = list(csv.DictReader(after[pathlib.Path("evaluation/cases.csv")].decode().splitlines()))
    assert [row["channel"] for row in rows if row["method"] == "model"] == list(CHANNELS)
    aggregates = json.loads(after[pathlib.Path("evaluation/metrics.json")])["aggregates"]
    for row in rows:
        assert aggregates[row["method"]][row["channel"]]["psnr"]["mean"] == pytest.approx(float(row["psnr"]))
        assert aggregates[row["method"]][row["channel"]]["psnr"]["n"] == 1


def write_subject(root, name, channels, seed=0):
    """A subject of noise on an oblique grid, left-handed and with its axes in another order than ours."""
    generator = np.random.default_rng(seed)
    affine = np.eye(4)
    axes = [[0, -9, 0], [8, 0, 0], [0, 0, -10]]
    affine[:3, :3] = Rotation.from_euler("xyz", (3, 2, 4), degrees=True).as_matrix() @ axes
    affine[:3, 3] = 70, -90, 60
    (root / name).mkdir(parents=True)
    for channel in channels:
        image = nib.Nifti1Image(generator.uniform(0, 900, (22, 18, 14)).astype(np.int16), affine)
        image.header.set_xyzt_units("mm", "sec")
        image.set_sform(affine, 2)
        image.set_qform(affine, 1)
        nib.save(image, root / name / f"{name}-{channel}.nii.gz")
    return root / name


def errors_of(result):
    """The lines of standard error without warnings, which scans of noise deserve."""
    return [line for line in result.stderr.splitlines() if not line.startswith("warning: ")]


def test_each_subject_of_a_folder_gets_what_it_lacks_and_unusable_ones_are_reported(tmp_path, trained, command):
    root, output = tmp_path / "subjects", tmp_path / "results"
    good = write_subject(root, "good", ("t1n", "t2w"))
    write_subject(root, "complete", CHANNELS)
    damaged = write_subject(root, "damaged", ("t1n", "t1c"), seed=1) / "damaged-t1c.nii.gz"
    damaged.write_bytes(damaged.read_bytes()[:-2000])
    before = snapshot(root)

    result = command("synthesize", f"--workdir={trained}", f"--case={root}", f"--output={output}")
    assert result.returncode == 1
    complete_line, damaged_line = errors_of(result)
    assert complete_line.startswith("complete: lacks no channel")
    assert str(damaged) in damaged_line
    assert snapshot(root) == before
    names = ["good-t1c.nii.gz", "good-t2f.nii.gz"]
    assert result.stdout.splitlines() == [str(output / name) for name in names]
    assert sorted(path.name for path in output.iterdir()) == sorted([*names, "good-synthesis.json"])

    source = nib.load(good / "good-t1n.nii.gz")
    for name in names:
        image = nib.load(output / name)
        assert image.shape == source.shape
        np.testing.assert_array_equal(image.affine, source.affine)
        for key in ("pixdim", "qform_code", "sform_code", "xyzt_units"):
            np.testing.assert_array_equal(image.header[key], source.header[key])
        voxels = np.asarray(image.dataobj)
        assert voxels.dtype == np.float32
        assert 0 <= voxels.min() < voxels.max() <= 1
    record = json.loads((output / "good-synthesis.json").read_text())
    assert record["targets"] == ["t1c", "t2f"]
    assert record["sources"] == ["t1n", "t2w"]
    assert (record["stage"], record["step"]) == ("mixer", STEPS["mixer"])

    was = {path: path.stat().st_mtime_ns for path in output.iterdir()}
    again = command("synthesize", f"--workdir={trained}", f"--case={root}", f"--output={output}", "--skip_existing")
    assert errors_of(again) == errors_of(result)
    assert [line for line in again.stdout.splitlines() if not line.endswith("same checkpoint; skipped")] == []
    assert {path: path.stat().st_mtime_ns for path in output.iterdir()} == was


def test_a_channel_that_is_there_is_predicted_only_by_force(tmp_path, trained, command):
    subject, output = write_subject(tmp_path, "subject", CHANNELS), tmp_path / "results"
    options = [f"--workdir={trained}", f"--case={subject}", f"--output={output}", "--target=t1c"]
    assert_refused(command("synthesize", *options), "subject: has t1c already", "--force")
    assert not output.exists()
    result = command("synthesize", *options, "--force")
    assert result.returncode == 0, result.stderr
    assert sorted(path.name for path in output.iterdir()) == ["subject-synthesis.json", "subject-t1c.nii.gz"]
    assert json.loads((output / "subject-synthesis.json").read_text())["sources"] == ["t1n", "t2w", "t2f"]


@pytest.mark.parametrize(
    ("subject", "output"),
    [("subjects", "subjects"), ("subjects/a", "subjects/a"), ("subjects/a", "subjects"), ("subjects", "subjects/a")],
)
def test_results_are_never_written_among_the_sources(tmp_path, trained, command, subject, output):
    write_subject(tmp_path / "subjects", "a", ("t1n",))
    before = snapshot(tmp_path)
    options = [f"--workdir={trained}", f"--case={tmp_path / subject}", f"--output={tmp_path / output}"]
    result = command("synthesize", *options)
    assert_refused(result, "--output", tmp_path / output)
    assert snapshot(tmp_path) == before


def test_a_run_without_validation_subjects_trains_and_one_without_test_subjects_is_not_scored(tmp_path, command):
    """Who leaves one of three scans out has none to validate with."""
    split = tmp_path / "split.json"
    split.write_text(json.dumps({"train": ["a", "b"], "validation": [], "test": []}))
    for seed, name in enumerate("ab"):
        write_subject(tmp_path / "subjects", name, CHANNELS, seed)
    arguments = [
        *(option for option in TINY if "stages=" not in option),
        "--config.stages=('translator',)",
        "--config.data.dataset=brats",
        "--config.data.spacing=12.0",
        f"--config.data.root={tmp_path / 'subjects'}",
        f"--config.data.split_file={split}",
        f"--workdir={tmp_path / 'run'}",
    ]
    result = command("train", *arguments)
    assert result.returncode == 0, result.stderr
    assert_refused(command("evaluate", f"--workdir={tmp_path / 'run'}"), f"{split}: 'test' holds no subject")


@pytest.mark.parametrize("name", ["evaluate", "synthesize"])
def test_a_folder_without_a_run_is_reported_by_its_name(tmp_path, command, name):
    write_subject(tmp_path / "subjects", "a", ("t1n",))
    options = [f"--case={tmp_path / 'subjects'}", f"--output={tmp_path / 'results'}"] if name == "synthesize" else []
    assert_refused(command(name, f"--workdir={tmp_path}", *options), tmp_path / "config.json", "--workdir")
    assert not (tmp_path / "results").exists()
