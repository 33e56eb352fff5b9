"""LiFT-U as a user runs it: training in three stages, sampling, evaluation."""

import csv
import json
import re
import shutil
import signal
import time

import jax
import matplotlib.image
import nibabel as nib
import numpy as np
import pytest

from lift_jax.evaluation.columns import SWEEP_GENERATION_COLUMNS
from lift_jax.evaluation.generation import real_volumes
from lift_jax.models.generation_networks import initial_generation_parameters
from lift_jax.run_directory import checkpoint_directory
from lift_jax.sweeps.results import read_examples, read_scores, write_scores
from lift_jax.trained import load_generation
from lift_jax.training.generation import with_principal
from tests.commands import SECONDS, SMALL_GENERATION, assert_refused, metrics, snapshot

STEPS, EVERY = {"encoder": 4, "generator": 6, "mapper": 6}, 2

TINY = [
    *SMALL_GENERATION,
    "--config.data.subjects.train=4",
    "--config.data.subjects.validation=2",
    "--config.data.subjects.test=2",
    "--config.stage.mapper.batch=2",
    "--config.stage.mapper.positives=4",
    *(f"--config.stage.{stage}.steps={steps}" for stage, steps in STEPS.items()),
    f"--config.checkpoint.every_steps={EVERY}",
    "--config.log.validate_every_steps=4",
    "--config.log.validation_subjects=2",
]


@pytest.fixture(scope="module")
def arguments(shared):
    return lambda workdir: [*TINY, f"--config.data.cache={shared / 'cache'}", f"--workdir={workdir}"]


@pytest.fixture(scope="module")
def trained(tmp_path_factory, command, arguments):
    workdir = tmp_path_factory.mktemp("runs") / "unconditional"
    result = command("train", *arguments(workdir))
    assert result.returncode == 0, result.stderr
    return workdir


def test_every_stage_is_logged_checkpointed_and_pictured(trained):
    lines = metrics(trained)
    for stage, steps in STEPS.items():
        of_steps = [line for line in lines if line["stage"] == stage and "loss" in line]
        assert [line["step"] for line in of_steps] == list(range(1, steps + 1))
        assert (checkpoint_directory(trained, stage) / str(steps) / "ema").is_dir()
        assert list((trained / "tensorboard" / stage).iterdir())
    stats = next(line for line in lines if line["stage"] == "mapper" and "loss" in line)
    for plane in ("axial", "coronal", "sagittal"):
        assert {
            f"{plane}_{name}"
            for name in ("distance_scale", "particle_std", "field_square_0.2", "effective_neighbors_0.2")
        } <= set(stats)
    validated = [line for line in lines if line["stage"] == "mapper" and "validation_delta_z" in line]
    assert [line["step"] for line in validated] == [4, 6]


def test_a_run_begins_with_principal_components_of_its_training_volumes(trained):
    run = load_generation(trained)
    fresh = initial_generation_parameters(run.networks, run.config)
    begun = with_principal(fresh, run.networks, real_volumes(run, trained)["train"])
    assert float(np.abs(begun["prior"]["kernel"]).max()) > 0.01
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-4), run.params["prior"], begun["prior"])
    mean, trained_mean = (params["generator"]["linear"]["bias"] for params in (begun, run.params))
    np.testing.assert_allclose(trained_mean, mean, atol=0.05)  # six steps further


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_a_run_stopped_in_its_generator_goes_on_to_the_same_losses(tmp_path, trained, begin, command, arguments, how):
    workdir = tmp_path / "killed"
    first = checkpoint_directory(workdir, "generator") / str(EVERY)
    process = begin("train", *arguments(workdir))
    deadline = time.monotonic() + SECONDS
    while not first.exists() and process.poll() is None and time.monotonic() < deadline:
        time.sleep(0.005)
    process.send_signal(how)
    output, _ = process.communicate(timeout=SECONDS)
    if how == signal.SIGTERM:
        assert process.returncode == 0
        step = int(re.search(r"generator: stopped as asked, saved at step (\d+) of 6; the same command", output)[1])
        assert (checkpoint_directory(workdir, "generator") / str(step) / "state").is_dir()
    else:
        assert process.returncode == -how
    result = command("train", *arguments(workdir))
    assert result.returncode == 0, result.stderr
    assert metrics(workdir) == metrics(trained)


def test_a_mapper_alone_is_trained_for_the_generator_of_another_run_and_goes_on_without_it(
    tmp_path, trained, command, arguments
):
    start, workdir = tmp_path / "start", tmp_path / "begun"
    shutil.copytree(trained, start)
    shutil.rmtree(checkpoint_directory(start, "mapper"))
    begun = [*arguments(workdir), "--config.stages=('mapper',)", f"--config.start_from={start}"]
    assert command("train", *begun).returncode == 0
    before, whole = (load_generation(folder).params for folder in (trained, workdir))
    for part in ("encoder", "prior", "generator"):
        jax.tree.map(np.testing.assert_array_equal, before[part], whole[part])

    shutil.rmtree(start)
    shutil.rmtree(checkpoint_directory(workdir, "mapper") / str(STEPS["mapper"]))
    result = command("train", *begun)
    assert result.returncode == 0, result.stderr
    jax.tree.map(np.testing.assert_array_equal, whole, load_generation(workdir).params)


def test_later_stages_of_a_run_that_was_stopped_begin_with_what_it_was_started_from(
    tmp_path, trained, command, arguments
):
    start, whole, stopped = (tmp_path / name for name in ("start", "whole", "stopped"))
    shutil.copytree(trained, start)
    options = [
        "--config.stages=('generator', 'mapper')",
        "--config.stage.mapper.learning_rate=1e-9",
        f"--config.start_from={start}",
    ]
    assert command("train", *arguments(whole), *options).returncode == 0
    mappers = (load_generation(folder).params["mapper"] for folder in (whole, trained))
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-6), *mappers)

    # As if it had been stopped after the generator's last checkpoint but one, and what it began with were gone.
    shutil.copytree(whole, stopped)
    shutil.rmtree(start)
    shutil.rmtree(checkpoint_directory(stopped, "mapper"))
    shutil.rmtree(checkpoint_directory(stopped, "generator") / str(STEPS["generator"]))
    result = command("train", *arguments(stopped), *options)
    assert result.returncode == 0, result.stderr
    jax.tree.map(np.testing.assert_array_equal, load_generation(whole).params, load_generation(stopped).params)


def test_a_finished_run_started_again_changes_nothing(trained, command, arguments):
    before = snapshot(trained)
    result = command("train", *arguments(trained))
    assert result.returncode == 0, result.stderr
    assert snapshot(trained) == before


def test_samples_are_nifti_of_trainings_voxel_size_and_a_function_of_their_seed(tmp_path, trained, command):
    def sample(name, *more):
        result = command("synthesize", f"--workdir={trained}", f"--output={tmp_path / name}", *more)
        assert result.returncode == 0, result.stderr
        paths = sorted((tmp_path / name).glob("*.nii.gz"))
        assert {str(path) for path in paths} < set(result.stdout.split())
        return [nib.load(path) for path in paths]

    pair, again = sample("pair", "--count=2", "--seed=7"), sample("again", "--count=1", "--seed=7")
    assert len(pair) == 2 and len(again) == 1
    volumes = [image.get_fdata() for image in pair]
    assert volumes[0].shape == (16, 16, 16) and volumes[0].min() >= 0 and volumes[0].max() <= 1
    assert np.abs(volumes[0] - volumes[1]).max() > 0
    np.testing.assert_array_equal(again[0].get_fdata(), volumes[0])
    assert nib.aff2axcodes(pair[0].affine) == ("R", "A", "S")
    assert pair[0].header.get_zooms() == (12, 12, 12)
    assert matplotlib.image.imread(tmp_path / "pair" / "contact_sheet.png").shape[:2] == (3 * 16, 2 * 16)
    assert "sample-7-0001" in (tmp_path / "pair" / "viewer.html").read_text()
    assert json.loads((tmp_path / "pair" / "synthesis.json").read_text())["step"] == STEPS["mapper"]

    (as_configured,), (as_trained,) = (
        sample(name, "--count=1", "--seed=7", f"--temperature={name}") for name in ("1.1", "1")
    )
    np.testing.assert_array_equal(as_configured.get_fdata(), volumes[0])
    assert np.abs(as_trained.get_fdata() - volumes[0]).max() > 1e-4
    first, second = (image.get_fdata() for image in sample("mean", "--count=2", "--temperature=0"))
    np.testing.assert_array_equal(first, second)
    assert json.loads((tmp_path / "mean" / "synthesis.json").read_text())["temperature"] == 0

    (fine,) = sample("fine", "--count=1", "--seed=7", "--depth=48")
    assert fine.shape == (16, 16, 48)
    np.testing.assert_allclose(fine.header.get_zooms(), (12, 12, 12 * 16 / 48), rtol=1e-6)
    # The middle one of three thin slices lies where the thick one has its center.
    np.testing.assert_allclose(fine.get_fdata()[..., 1::3], volumes[0], atol=1e-4)


@pytest.mark.parametrize(
    ("option", "message"),
    [
        ("--count=0", "--count"),
        ("--seed=-1", "--seed"),
        ("--depth=-2", "--depth"),
        ("--temperature=nan", "--temperature"),
    ],
)
def test_numbers_of_samples_out_of_range_are_refused(tmp_path, trained, command, option, message):
    output = tmp_path / "out"
    assert_refused(command("synthesize", f"--workdir={trained}", f"--output={output}", "--count=1", option), message)
    assert not output.exists()


@pytest.fixture(scope="module")
def evaluated(trained, command):
    """The folder of the run's evaluation."""
    result = command("evaluate", f"--workdir={trained}")
    assert result.returncode == 0, result.stderr
    return trained / "evaluation"


def test_an_evaluation_compares_the_model_with_slices_and_with_real_volumes(evaluated):
    folder = evaluated
    scores = json.loads((folder / "metrics.json").read_text())["scores"]
    assert set(scores) == {"LiFT-U", "independent slices", "real (held out)"}
    assert {"step", "spread_relative", "frechet_coronal_this run's MAE"} <= set(scores["LiFT-U"])
    with (folder / "cases.csv").open() as file:
        assert len(list(csv.DictReader(file))) == 3 * 2
    page = (folder / "report.html").read_text()
    assert page.index("<img") < page.index("Distances between slices")


def test_a_sweep_scores_a_run_as_its_evaluation_does(tmp_path, trained, evaluated):
    workdir = shutil.copytree(trained, tmp_path / "run")
    write_scores(workdir)
    scores = read_scores(workdir)["scores"]["model"]
    assert set(scores) == {column.key for column in SWEEP_GENERATION_COLUMNS}
    expected = json.loads((evaluated / "metrics.json").read_text())["scores"]["LiFT-U"]
    for key, value in scores.items():
        named = key if key in expected else f"{key}_this run's MAE"
        np.testing.assert_allclose(value, expected[named]["mean"], rtol=1e-3, atol=1e-4)
    examples, spacing = read_examples(workdir)
    assert [each.name for each in examples] == ["sample 0", "sample 1"] and spacing == (12, 12, 12)
    assert examples[0].volume.shape == examples[0].references["real"].shape == (16, 16, 16)


def test_a_run_without_a_mapper_has_nothing_to_sample(tmp_path, trained, command):
    workdir = shutil.copytree(trained, tmp_path / "run")
    shutil.rmtree(checkpoint_directory(workdir, "mapper"))
    result = command("synthesize", f"--workdir={workdir}", f"--output={tmp_path / 'out'}", "--count=1")
    assert_refused(result, "mapper", "no checkpoint")


def test_what_cannot_work_is_refused_by_its_key_before_anything_is_made(tmp_path, command, arguments):
    result = command("train", *arguments(tmp_path / "run"), "--config.stage.mapper.positions=17")
    assert_refused(result, "config.stage.mapper.positions", "17", "16")
    assert not (tmp_path / "run").exists()
