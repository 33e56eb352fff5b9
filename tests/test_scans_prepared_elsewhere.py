"""A trained run on scans as people prepare them: the same prediction as of the raw scan, or a warning.

Commands are run as a user runs them. The intensities themselves are tested in tests/data.
"""

import json
import os
import shutil
import subprocess
import sys
import warnings

import nibabel as nib
import numpy as np
import pytest

from lift_jax.data.intensity import get_protocol
from lift_jax.data.naming import SubjectFiles
from lift_jax.data.phantom.brain import head_spacing, make_phantom
from lift_jax.data.scans import ScannedSubjects
from lift_jax.data.subject import Subject
from lift_jax.errors import DataWarning
from lift_jax.trained import load_trained
from tests.commands import REPOSITORY, assert_refused
from tests.data import scans

CHANNELS = ("t1n", "t1c", "t2w", "t2f")
SPACING = head_spacing(scans.SHAPE)
AFFINE = np.diag([SPACING, SPACING, SPACING, 1.0])
QUICK = {"XLA_FLAGS": "--xla_backend_optimization_level=0"}
TINY = [
    "--config=configs/quickstart.py:tiny",
    "--config.data.dataset=brats",
    "--config.data.spacing=0.0",
    "--config.data.size=(0, 0, 0)",
    "--config.model.translator.widths=(4, 8)",
    "--config.model.translator.condition_features=8",
    "--config.model.mixer.hidden=4",
    "--config.stage.joint.steps=20",
    "--config.log.validate_every_steps=20",
]


def on_all(change):
    return lambda volumes: {channel: change(volume) for channel, volume in volumes.items()}


def on_first(change):
    return lambda volumes: volumes | {"t1n": change(volumes["t1n"])}


def residue(share):
    noise = np.random.default_rng(0).normal(size=scans.SHAPE)
    return on_all(lambda volume: np.where(volume > 0, volume, share * volume.max() * np.abs(noise)))


SAME = {
    "zscored-with-background": on_all(lambda volume: scans.zscored(volume, None)),
    "zscored-whole-volume": on_all(scans.zscored_everywhere),
    "minus-one-to-one": on_all(scans.minmax),
    "whitestripe": on_all(lambda volume: scans.white_striped(volume, None)),
    "offset": on_all(lambda volume: volume + 100),
    "residue-14": residue(1e-14),
    "residue-6": residue(1e-6),
    "residue-4": residue(1e-4),
    "noise-in-one": on_first(scans.noisy_air),
}
"""Preparations after which the prediction is that of the raw scan."""


def half(volume):
    return np.where(np.arange(volume.shape[2]) < volume.shape[2] // 2, volume, 0)


def hole(volume):
    volume = volume.copy()
    volume[18:23, 20:28, 20:28] = 0
    return volume


def with_skull(volume):
    axes = np.meshgrid(*(np.linspace(-1, 1, size) for size in volume.shape), indexing="ij")
    radius = np.sqrt(sum(axis**2 for axis in axes))
    skull = np.where(radius < 0.98, np.median(volume[volume > 0]) * np.where(radius > 0.9, 1.3, 0.1), 0)
    return np.where(volume > 0, volume, skull).astype(np.float32)


WARNED = {
    "zscored-in-brain": (on_all(scans.zscored), "tissue on both sides of its background"),
    "noise-in-all": (on_all(scans.noisy_air), "noise in the air"),
    "skull": (on_all(with_skull), "strip the skull"),
    "half-covered": (on_first(half), "% of the foreground that other channels show"),
    "hole": (on_first(hole), "has holes of"),
    "copied": (lambda volumes: volumes | {"t1c": 2 * volumes["t1n"]}, "is it a copy?"),
    "constant": (on_first(lambda volume: 7.0 * (volume > 0)), "is constant in its foreground"),
    "segmentation": (on_first(lambda volume: np.digitize(volume, [1, 300, 500])), "different values"),
}
"""Preparations, and words of the warning."""


def write(folder, volumes, affine=AFFINE, edit=lambda image: None):
    folder.mkdir(parents=True)
    for channel, volume in volumes.items():
        image = nib.Nifti1Image(np.asarray(volume, np.float32).T, affine)
        edit(image)
        nib.save(image, folder / f"{folder.name}-{channel}.nii.gz")


def doubled_pixdim(image):
    image.set_sform(AFFINE, code="scanner")
    image.set_qform(None, code="unknown")
    image.header["pixdim"][1:4] *= 2


def check(*arguments):
    command = [sys.executable, "-m", "lift_jax.data.check", *map(str, arguments)]
    return subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=240)


@pytest.fixture(scope="module")
def raw():
    return {channel: scans.brain(i) for i, channel in enumerate(CHANNELS[:3])}


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """Eight patients, of whom one was scanned twice."""
    root = tmp_path_factory.mktemp("data")
    for index in range(9):
        images = scans.SCALE * make_phantom(3, index + 1, scans.SHAPE, head_spacing(scans.SHAPE)).sources
        name = "BraTS-GLI-00000-001" if index == 8 else f"BraTS-GLI-{index:05}-000"
        write(root / name, {channel: images[..., i] for i, channel in enumerate(CHANNELS)})
    return root


@pytest.fixture(scope="module")
def training(command, data, tmp_path_factory):
    """A run, and what it printed; its data are named relative to where it was started."""
    workdir = tmp_path_factory.mktemp("runs") / "brains"
    root = os.path.relpath(data, REPOSITORY)
    result = command("train", *TINY, f"--config.data.root={root}", "--workdir", workdir, **QUICK)
    assert result.returncode == 0, result.stderr
    return workdir, result.stderr


@pytest.fixture(scope="module")
def subjects(raw, tmp_path_factory):
    """A folder with one subject for each preparation."""
    root = tmp_path_factory.mktemp("subjects")
    changes = SAME | {name: change for name, (change, _) in WARNED.items()} | {"raw": lambda volumes: volumes}
    for name, change in changes.items():
        write(root / name, change(raw))
    write(root / "pixdim", raw, edit=doubled_pixdim)
    thick = AFFINE @ np.diag([1.0, 1.0, 4.0, 1.0])
    write(root / "thick", {channel: volume[::4] for channel, volume in raw.items()}, affine=thick)
    return root


def synthesize(command, workdir, subjects, output):
    """Predictions by the name of the subject, and the warnings."""
    result = command("synthesize", "--workdir", workdir, "--case", subjects, "--output", output, **QUICK)
    assert result.returncode == 0, result.stderr
    volumes = {
        path.name.removesuffix("-t2f.nii.gz"): nib.load(path).get_fdata().T for path in output.glob("*-t2f.nii.gz")
    }
    return volumes, result.stderr.splitlines()


@pytest.fixture(scope="module")
def predictions(command, training, subjects, tmp_path_factory):
    return synthesize(command, training[0], subjects, tmp_path_factory.mktemp("results"))


@pytest.fixture(scope="module")
def checked(training, subjects):
    result = check("--workdir", training[0], "--root", subjects)
    assert result.returncode == 0, result.stderr
    return result.stdout.splitlines()


def test_a_run_finds_its_data_from_anywhere_and_keeps_what_they_are_like(training, data):
    workdir, message = training
    assert json.loads((workdir / "config.json").read_text())["data"]["root"] == str(data)
    kept = json.loads((workdir / "data_statistics.json").read_text())
    assert len(kept["subjects"]) == 7 and kept["slices"] is None
    np.testing.assert_allclose(kept["spacing_mm"], np.full((3, 2), SPACING), rtol=1e-5)
    assert 500 < kept["foreground"]["volume_ml"][0] < kept["foreground"]["volume_ml"][1] < 2500
    assert "warning:" not in message and "\r" not in message and "(split by hash of patients)" in message
    split = json.loads((workdir / "split.json").read_text())["subjects"]
    assert any({"BraTS-GLI-00000-000", "BraTS-GLI-00000-001"} <= set(names) for names in split.values())


def test_of_clean_scans_the_prediction_is_that_of_plain_cwdm_intensities(training, predictions, raw):
    trained, images = load_trained(training[0]), {}
    for channel, volume in raw.items():
        low, high = np.quantile(volume.astype(np.float64), (0.001, 0.999))
        images[channel] = ((np.clip(volume, low, high) - low) / (high - low)).astype(np.float32)
    plain = trained.predict(Subject("plain", images, AFFINE), CHANNELS[:3], ("t2f",))["t2f"]
    np.testing.assert_allclose(predictions[0]["raw"], plain, atol=1e-3)
    assert np.ptp(plain[images["t1n"] > 0]) > 0.1


@pytest.mark.parametrize("name", SAME)
def test_the_prediction_is_that_of_the_raw_scan(predictions, raw, name):
    prediction, expected = predictions[0][name], predictions[0]["raw"]
    np.testing.assert_array_equal(prediction > 0, expected > 0)
    np.testing.assert_allclose(prediction, expected, atol=0.02 if name == "noise-in-one" else 2e-3)


def test_raw_scans_are_not_warned_about(predictions, checked):
    assert not [line for line in predictions[1] if "/raw/" in line or " raw" in line]
    assert not [line for line in checked if "/raw/" in line or "warning: raw" in line]


@pytest.mark.parametrize("name", WARNED)
def test_what_cannot_be_mended_is_warned_about_by_synthesis_and_check(predictions, checked, name):
    for lines in (predictions[1], checked):
        assert any("warning: " in line and name in line and WARNED[name][1] in line for line in lines)


@pytest.mark.parametrize(("name", "words"), [("pixdim", "its pixdim says"), ("thick", "was acquired in axial slices")])
def test_headers_that_differ_are_warned_about_by_synthesis_and_check(predictions, checked, name, words):
    for lines in (predictions[1], checked):
        assert any("warning: " in line and name in line and words in line for line in lines)
    if name == "pixdim":
        np.testing.assert_array_equal(predictions[0][name], predictions[0]["raw"])


def test_scans_zscored_in_the_brain_are_complete_and_near_the_raw_one(predictions):
    made, expected = predictions[0]["zscored-in-brain"], predictions[0]["raw"]
    assert np.mean((made > 0) == (expected > 0)) > 0.999
    assert np.abs(made - expected)[expected > 0].mean() < 0.1  # their zero is lost: mr_zscore is for them


def test_with_mr_zscore_raw_and_zscored_scans_are_the_same(command, training, subjects, tmp_path):
    workdir = tmp_path / "run"
    shutil.copytree(training[0], workdir)
    config = json.loads((workdir / "config.json").read_text())
    config["data"]["channels"] = dict.fromkeys(CHANNELS, "mr_zscore")
    (workdir / "config.json").write_text(json.dumps(config))
    few = tmp_path / "subjects"
    for name in ("raw", "zscored-in-brain"):
        shutil.copytree(subjects / name, few / name)
    made, _ = synthesize(command, workdir, few, tmp_path / "results")
    np.testing.assert_allclose(made["zscored-in-brain"], made["raw"], atol=2e-3)


def test_other_scans_are_warned_about_by_evaluation(command, training, data, raw, tmp_path):
    for name, change in (("same", lambda volumes: volumes), ("skull", on_all(with_skull))):
        write(tmp_path / "root" / name, change(raw))
    result = command("evaluate", "--workdir", training[0], "--root", tmp_path / "root", "--output", tmp_path, **QUICK)
    assert result.returncode == 0, result.stderr
    warnings = [line for line in result.stderr.splitlines() if line.startswith("warning: ")]
    assert any("skull: its foreground has" in line for line in warnings)
    assert not [line for line in warnings if "same" in line]


def test_results_of_another_checkpoint_are_not_taken_for_these(command, training, subjects, tmp_path):
    one, output = tmp_path / "subjects", tmp_path / "subjects" / "results"  # beside the subjects, as users do it
    shutil.copytree(subjects / "raw", one / "raw")
    arguments = ["--case", one, "--output", output, "--skip_existing"]
    first = command("synthesize", "--workdir", training[0], *arguments, **QUICK)
    again = command("synthesize", "--workdir", training[0], *arguments, **QUICK)
    assert first.stdout == f"{output / 'raw-t2f.nii.gz'}\n"
    assert again.stdout == f"{output / 'raw-t2f.nii.gz'} exists, made by the same checkpoint; skipped\n"
    record = output / "raw-synthesis.json"
    record.write_text(json.dumps(json.loads(record.read_text()) | {"checkpoint": "other"}))
    other = command("synthesize", "--workdir", training[0], *arguments, **QUICK)
    assert "replaced" in other.stdout and json.loads(record.read_text())["checkpoint"] != "other"


def test_who_reads_one_line_stops_nothing(begin, training, subjects, tmp_path):
    two, output = tmp_path / "subjects", tmp_path / "results"
    for name in ("raw", "offset"):
        shutil.copytree(subjects / name, two / name)
    with begin("synthesize", "--workdir", training[0], "--case", two, "--output", output, **QUICK) as process:
        process.stdout.readline()
        process.stdout.close()
        errors = process.stderr.read()
    assert process.returncode == 0 and "Traceback" not in errors
    assert len(list(output.glob("*.nii.gz"))) == 2


def test_what_a_header_tells_of_people_stays_there(command, training, raw, tmp_path):
    def sign(image):
        for field in ("aux_file", "db_name", "descrip", "intent_name"):
            image.header[field] = b"Jane Doe"
        image.header["intent_code"] = 1002

    write(tmp_path / "subjects" / "a", raw, edit=sign)
    synthesize(command, training[0], tmp_path / "subjects", tmp_path / "results")
    result = nib.load(tmp_path / "results" / "a-t2f.nii.gz").header
    assert b"Jane" not in bytes(result.structarr.tobytes()) and result["intent_code"] == 0


@pytest.mark.parametrize("change", [scans.minmax, scans.zscored_everywhere, lambda mr: mr + 100, lambda mr: mr - 1024])
@pytest.mark.parametrize("masked", [True, False])
def test_of_a_head_the_same_mr_enters_the_network_and_so_the_ct_is_the_same(tmp_path, change, masked):
    mr, _, mask = scans.head_pair()
    protocols = {"mr": get_protocol("mr_foreground"), "ct": get_protocol("ct_hu")}
    loaded = []
    for name, volume in (("raw", mr), ("changed", change(mr))):
        write(tmp_path / name, {"mr": volume, "mask": mask})
        files = {kind: tmp_path / name / f"{name}-{kind}.nii.gz" for kind in ("mr", "mask")}
        subject = SubjectFiles(name, {"mr": files["mr"]}, files["mask"] if masked else None)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DataWarning)
            loaded.append(ScannedSubjects((subject,), protocols).load(0))
    np.testing.assert_array_equal(loaded[0].mask, loaded[1].mask)
    np.testing.assert_allclose(loaded[0].images["mr"], loaded[1].images["mr"], atol=1e-3)
    assert loaded[0].images["mr"].max() == 1


def test_a_run_on_a_table_translates_a_table_and_others_refuse_a_file(command, training, subjects, tmp_path):
    arguments = ["--case", tmp_path / "new.csv", "--output", tmp_path / "results"]
    (tmp_path / "new.csv").write_text(
        f"subject,t1n,t1c,t2w,t2f\na,{subjects}/raw/raw-t1n.nii.gz,,{subjects}/raw/raw-t2w.nii.gz,\n"
    )
    refused = command("synthesize", "--workdir", training[0], *arguments, **QUICK)
    assert_refused(refused, "--case:", "new.csv is a file; give the folder of a subject")
    shutil.copytree(training[0], tmp_path / "run")
    config = json.loads((tmp_path / "run" / "config.json").read_text())
    config["data"] |= {"dataset": "manifest", "manifest": "/gone.csv", "root": ""}
    config["data"]["channels"] = dict.fromkeys(("t1n", "t1c", "t2w", "t2f"), "mr_quantile")
    (tmp_path / "run" / "config.json").write_text(json.dumps(config))
    done = command("synthesize", "--workdir", tmp_path / "run", *arguments, **QUICK)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [str(tmp_path / "results" / f"a-{target}.nii.gz") for target in ("t1c", "t2f")]
