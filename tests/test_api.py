"""The Python API, on a run of a few steps."""

import nibabel as nib
import numpy as np
import pytest

import lift_jax
from lift_jax.data.phantom.brain import make_phantom
from lift_jax.errors import UserError
from tests.commands import SMALL_TRANSLATION

CHANNELS = ("t1n", "t1c", "t2w", "t2f")
LAS = np.array([[-12.0, 0, 0, 90], [0, 12, 0, -100], [0, 0, 12, -80], [0, 0, 0, 1]])


@pytest.fixture(scope="module")
def model(tmp_path_factory, command):
    workdir = tmp_path_factory.mktemp("api") / "run"
    steps = "--config.stage.joint.steps=2", "--config.stage.joint.slices=8"
    done = command("train", *SMALL_TRANSLATION, *steps, f"--workdir={workdir}")
    assert done.returncode == 0, done.stderr
    return lift_jax.load(workdir)


@pytest.fixture(scope="module")
def images():
    sources = make_phantom(3, 0, (16, 16, 16), 12.0).sources
    return {name: nib.Nifti1Image(sources[..., i].T[::-1].copy(), LAS) for i, name in enumerate(CHANNELS)}


def test_a_translation_is_an_image_on_the_grid_of_its_sources(model, images):
    assert model.sources == model.targets == CHANNELS
    result = model.translate({name: images[name] for name in ("t1n", "t2w")}, target="t2f")
    np.testing.assert_array_equal(result.affine, LAS)
    values = result.get_fdata()
    assert result.shape == (16, 16, 16) and values.min() == 0 < values.max() <= 1
    shown = (images["t1n"].get_fdata() > 0) | (images["t2w"].get_fdata() > 0)
    assert not values[~shown].any()


def test_files_and_images_in_memory_give_the_same_translation(model, images, tmp_path):
    images["t1n"].to_filename(tmp_path / "scan.nii.gz")
    from_file = model.translate({"t1n": tmp_path / "scan.nii.gz"}, target="t1c")
    from_image = model.translate({"t1n": images["t1n"]}, target="t1c")
    np.testing.assert_array_equal(from_file.get_fdata(), from_image.get_fdata())


@pytest.mark.parametrize(
    "inputs, target, message",
    [
        ({"pet": "t1n"}, "t2f", "none of the run's sources"),
        ({"t1n": "t1n"}, "pet", "'pet' is none of"),
        ({"t1n": 3}, "t2f", "int is no image"),
        ({"t1n": "missing.nii.gz"}, "t2f", "no such file"),
    ],
)
def test_what_cannot_be_translated_is_refused(model, images, inputs, target, message):
    inputs = {channel: images.get(image, image) for channel, image in inputs.items()}
    with pytest.raises(UserError, match=message):
        model.translate(inputs, target)


def test_a_file_is_scored_against_another(images, tmp_path):
    volume = images["t1n"].get_fdata(dtype=np.float32)
    low, high = np.quantile(volume, (0.001, 0.999))
    for name, voxels in (("truth", 700 * volume), ("prediction", np.clip((volume - low) / (high - low), 0, 1))):
        nib.Nifti1Image(voxels, LAS).to_filename(tmp_path / f"{name}.nii.gz")
    scores = lift_jax.score(tmp_path / "prediction.nii.gz", tmp_path / "truth.nii.gz", protocol="cwdm")
    assert scores["ssim"] == pytest.approx(1) and scores["delta_z_mae"] == pytest.approx(0, abs=1e-6)


def test_a_run_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(UserError, match="must name the work directory of a run"):
        lift_jax.load(tmp_path / "none")
