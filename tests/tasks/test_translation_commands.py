"""Translation as a user runs it, MR to CT: train, synthesize, evaluate the run, evaluate the files."""

import csv
import json
import shutil

import nibabel as nib
import numpy as np
import pytest

from tests import phantom_heads
from tests.commands import assert_refused

QUICK = {"XLA_FLAGS": "--xla_backend_optimization_level=0"}
"""Functions are compiled fast, for they run a few times only."""

TINY = [
    "--config=configs/synthrad_mr_to_ct.py:tiny",
    "--config.data.dataset=synthrad2023",
    "--config.data.size=(16, 16, 16)",
    "--config.data.spacing=0.0",
    "--config.model.translator.widths=(4, 8)",
    "--config.model.translator.condition_features=4",
    "--config.model.mixer.hidden=4",
    "--config.stage.translator.steps=4",
    "--config.stage.mixer.steps=2",
    "--config.stage.mixer.slices=8",
    "--config.loss.similarity=0.0",
    "--config.checkpoint.every_steps=2",
    "--config.log.validate_every_steps=4",
]


@pytest.fixture(scope="module")
def heads(tmp_path_factory):
    folder = tmp_path_factory.mktemp("heads")
    phantom_heads.write(folder, seed=1, indices=range(4), shape=(20, 24, 20))
    return folder


@pytest.fixture(scope="module")
def workdir(command, heads, tmp_path_factory):
    folder = tmp_path_factory.mktemp("runs") / "ct"
    trained = command("train", *TINY, f"--config.data.root={heads}", "--workdir", folder, **QUICK)
    assert trained.returncode == 0, trained.stderr
    return folder


def test_both_stages_are_trained_and_validated_in_hu(workdir):
    lines = [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]
    assert {line["stage"] for line in lines} == {"translator", "mixer"}
    figures = [line for line in lines if "validation_mae" in line]
    assert len(figures) == 2 and all(50 < line["validation_mae"] < 2000 for line in figures)


def test_a_subject_becomes_a_ct_in_hu_on_the_grid_of_its_mr_with_and_without_mask(command, heads, workdir, tmp_path):
    name = sorted(path.name for path in heads.iterdir())[0]
    for source, target in (("with", ("mr", "mask")), ("without", ("mr",))):
        folder = tmp_path / "subjects" / source
        folder.mkdir(parents=True)
        for kind in target:
            (folder / f"{kind}.nii.gz").write_bytes((heads / name / f"{kind}.nii.gz").read_bytes())
    done = command(
        "synthesize", "--workdir", workdir, "--case", tmp_path / "subjects", "--output", tmp_path / "out", **QUICK
    )
    assert done.returncode == 0, done.stderr
    warnings = [line for line in done.stderr.splitlines() if line.startswith("warning:")]
    assert warnings and all("without/mr.nii.gz: has no mask" in line for line in warnings)
    mr = nib.load(heads / name / "mr.nii.gz")
    body = nib.load(heads / name / "mask.nii.gz").get_fdata() > 0
    for source, found in (("with", False), ("without", True)):
        image = nib.load(tmp_path / "out" / f"{source}-ct.nii.gz")
        assert image.get_data_dtype() == np.int16 and image.shape == mr.shape
        np.testing.assert_array_equal(image.affine, mr.affine)
        voxels = image.get_fdata()
        assert voxels.min() == -1024 and voxels.max() > -1024
        if not found:
            assert (voxels[~body] == -1024).all()
        record = json.loads((tmp_path / "out" / f"{source}-synthesis.json").read_text())
        assert record["units"] == {"ct": "HU"} and ("threshold" in record["foreground"]) == found


def test_a_run_and_its_files_are_scored_alike_in_kind(command, heads, workdir, tmp_path):
    scored = command("evaluate", "--workdir", workdir, **QUICK)
    assert scored.returncode == 0, scored.stderr
    rows = list(csv.DictReader((workdir / "evaluation" / "cases.csv").read_text().splitlines()))
    assert {row["method"] for row in rows} == {"model", "water"} and {row["channel"] for row in rows} == {"ct"}
    page = (workdir / "evaluation" / "report.html").read_text()
    assert "Hounsfield" in page and "data:image/png" in page

    native = command("synthesize", "--workdir", workdir, "--case", heads, "--output", tmp_path / "made", **QUICK)
    assert native.returncode == 0, native.stderr
    options = ["--predictions", tmp_path / "made", "--targets", heads, "--protocol", "synthrad2023"]
    files = command("evaluate", *options, "--output", tmp_path / "report")
    assert files.returncode == 0, files.stderr
    aggregates = json.loads((tmp_path / "report" / "metrics.json").read_text())["aggregates"]
    assert aggregates["model"]["ct"]["mae"]["n"] == 4

    first = tmp_path / "made" / f"{rows[0]['subject']}-ct.nii.gz"
    first.with_name("nobody-ct.nii.gz").write_bytes(first.read_bytes())
    refused = command("evaluate", *options, "--output", tmp_path / "report")
    assert refused.returncode == 1
    assert "1 of 5 predictions cannot be scored" in refused.stderr and "nobody" in refused.stderr


def test_a_second_run_into_a_folder_beside_the_subjects_skips_what_is_done(command, heads, workdir, tmp_path):
    data = tmp_path / "data"
    shutil.copytree(heads, data)
    first, second = (
        command("synthesize", "--workdir", workdir, "--case", data, "--output", data / "results", *flags, **QUICK)
        for flags in ((), ("--skip_existing",))
    )
    assert first.returncode == second.returncode == 0, first.stderr + second.stderr
    assert second.stdout.count("same checkpoint; skipped") == 4


def test_plain_files_are_translated_and_scored(command, heads, workdir, tmp_path):
    name = sorted(path.name for path in heads.iterdir())[0]
    files = {kind: heads / name / f"{kind}.nii.gz" for kind in ("mr", "mask", "ct")}
    made = tmp_path / "made" / "one.nii.gz"
    inputs = [f"--input=mr={files['mr']}", "--mask", files["mask"], "--target=ct", "--output", made]
    done = command("synthesize", "--workdir", workdir, *inputs, **QUICK)
    assert done.returncode == 0, done.stderr
    assert done.stdout.split() == [str(made)]
    scored = command(
        "evaluate", "--prediction", made, "--target", files["ct"], "--protocol=synthrad2023", "--mask", files["mask"]
    )
    assert scored.returncode == 0, scored.stderr
    assert "MAE (HU): " in scored.stdout


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (("--count=2",), "--count: does not apply for a run of task translation"),
        (("--input=mr",), "is not CHANNEL=FILE"),
        (("--input=t9={heads}/{name}/mr.nii.gz", "--target=ct"), "'t9' is none of the run's sources mr"),
        (("--case={heads}/{name}/mr.nii.gz",), "is a file; give the folder of a subject, or single files by"),
        (("--case={heads}/{name}", "--output={heads}/{name}"), "holds the sources"),
        (("--case={heads}", "--output=/proc/results"), "cannot be written"),
    ],
)
def test_what_cannot_work_is_one_line_before_anything_is_computed(command, heads, workdir, tmp_path, flags, words):
    values = {"heads": heads, "name": sorted(path.name for path in heads.iterdir())[0]}
    given = [flag.format(**values) for flag in flags]
    output = [] if any(flag.startswith("--output") for flag in given) else ["--output", tmp_path / "out.nii.gz"]
    refused = command("synthesize", "--workdir", workdir, *given, *output, **QUICK)
    assert_refused(refused, words)
    assert not any(tmp_path.iterdir())


def test_a_folder_of_training_subjects_is_recognized(command, heads, workdir, tmp_path):
    scored = command("evaluate", "--workdir", workdir, "--root", heads, "--output", tmp_path / "out", **QUICK)
    assert scored.returncode == 0, scored.stderr
    assert "warning: the run has seen" in scored.stderr and "ct (n = 4)" in scored.stderr
    metadata = json.loads((tmp_path / "out" / "metrics.json").read_text())["metadata"]
    assert "of 4 subjects" in metadata["seen in training"]
