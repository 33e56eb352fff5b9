"""Volumes embedded in pages: what comes out of a page is what went in, within the size limit."""

import base64
import gzip
import json
import re

import nibabel as nib
import numpy as np
import pytest

from lift_jax.data.geometry import new_geometry
from lift_jax.data.volumes import write_volume
from lift_jax.errors import UserError
from lift_jax.evaluation.report.page import render, static_file
from lift_jax.evaluation.report.pictures import UNIT_WINDOW, Picture
from lift_jax.evaluation.report.translation import write_evaluation
from lift_jax.evaluation.report.viewer import (
    DOWNSAMPLING_BLOCKS,
    MAX_PAGE_BYTES,
    Panel,
    downsample,
    encode_scenes,
    make_scene,
    picture_scene,
    quantize,
    write_viewer,
)

SPACING = (3.0, 2.0, 1.5)


def decoded(panel):
    """The NIfTI image of a panel, `[i, j, k]`."""
    return nib.Nifti1Image.from_bytes(gzip.decompress(base64.b64decode(panel["nifti"])))


def viewer_data(page):
    return json.loads(re.search(r'<script type="application/json" id="viewer-data">(.*?)</script>', page, re.DOTALL)[1])


def head(shape=(20, 24, 28), seed=0):
    volume = np.zeros(shape, np.float32)
    volume[4:-4, 5:-5, 6:-6] = np.random.default_rng(seed).uniform(0.1, 1, np.subtract(shape, (8, 10, 12)))
    return volume


def test_an_embedded_volume_is_the_cropped_one_on_its_grid():
    target = head()
    data = encode_scenes(
        [picture_scene(Picture("a", "t2f", "best", head(seed=1), target, head(seed=2), SPACING))], 10**7
    )
    (scene,) = data["scenes"]
    assert [panel["name"] for panel in scene["panels"]] == ["source", "target", "prediction"]
    image = decoded(scene["panels"][1])
    assert image.get_data_dtype() == np.uint8 and scene["shape"] == list(image.shape[::-1]) == [16, 18, 20]
    np.testing.assert_allclose(image.get_fdata().T, target[2:-2, 3:-3, 4:-4], atol=0.5 / 255 + 1e-6)
    np.testing.assert_allclose(image.affine[:3, 3], (4 * 1.5, 3 * 2.0, 2 * 3.0))
    assert scene["pair"] == (2, 1) and scene["difference_limit"] == 0.3


def test_hounsfield_units_are_kept_to_one_and_set_to_the_minimum_outside_of_the_mask():
    generator = np.random.default_rng(0)
    ct = generator.uniform(-1024, 2500, (12, 12, 12)).astype(np.float32)
    mask = np.zeros(ct.shape, bool)
    mask[2:10, 2:10, 2:10] = True
    scene = picture_scene(Picture("a", "ct", "best", head((12, 16, 20)), ct, ct + 7, SPACING, unit="HU", mask=mask))
    (encoded,) = encode_scenes([scene], 10**7)["scenes"]
    images = [decoded(panel).get_fdata().T for panel in encoded["panels"][1:]]
    np.testing.assert_allclose(images[0][mask], ct[mask], atol=0.5)
    np.testing.assert_allclose(images[1][mask], ct[mask] + 7, atol=0.5)
    assert (images[0][~mask] == np.rint(ct.min())).all()
    assert [window["name"] for window in encoded["panels"][1]["windows"]] == ["brain", "bone"]


@pytest.mark.parametrize("block", DOWNSAMPLING_BLOCKS)
def test_downsampled_voxels_are_means_of_blocks(block):
    volume = np.random.default_rng(0).integers(0, 255, (9, 8, 11)).astype(np.uint8)
    small = downsample(volume, block)
    assert small.dtype == np.uint8 and small.shape == tuple(
        -(-n // b) for n, b in zip(volume.shape, block, strict=True)
    )
    first = volume[tuple(slice(0, step) for step in block)].astype(np.float64)
    if all(step <= size for step, size in zip(block, volume.shape, strict=True)):
        assert abs(small[0, 0, 0] - first.mean()) <= 0.5


def test_downsampling_keeps_the_place_of_voxels_in_mm():
    volume = np.random.default_rng(0).random((16, 16, 16), np.float32)
    scene = make_scene("a", [Panel("v", volume, (UNIT_WINDOW,))], np.diag([2.0, 2, 2, 1]), np.ones_like(volume, bool))
    full, small = (decoded(encode_scenes([scene], budget)["scenes"][0]["panels"][0]) for budget in (10**7, 4000))
    assert small.shape != full.shape
    for image in (full, small):
        corner = image.affine @ [-0.5, -0.5, -0.5, 1]
        np.testing.assert_allclose(corner[:3], -1)
        np.testing.assert_allclose(np.multiply(image.shape, np.abs(np.diag(image.affine)[:3])), 32)


def test_a_small_budget_downsamples_all_scenes_alike_then_leaves_the_last_out():
    pictures = [Picture(name, "t2f", "best", head(seed=1), head(), head(seed=2), SPACING) for name in "abc"]
    whole = encode_scenes(map(picture_scene, pictures), 10**7)
    assert "averaged" not in whole["note"] and "cropped" in whole["note"]
    size = len(json.dumps(whole["scenes"]))
    half = encode_scenes(map(picture_scene, pictures), size // 2)
    assert len(half["scenes"]) == 3 and len({str(scene["shape"]) for scene in half["scenes"]}) == 1
    assert "averaged over blocks of 1 × 2 × 2" in half["note"]
    one = encode_scenes(map(picture_scene, pictures), 1000, start=2)
    assert 0 < len(one["scenes"]) < 3 and "left out" in one["note"] and one["start"] == len(one["scenes"]) - 1
    assert encode_scenes([], 1000) is None


def test_quantized_values_fit_their_type():
    assert quantize(np.array([0.0, 0.5, 1.0]), 1 / 255).dtype == np.uint8
    np.testing.assert_array_equal(quantize(np.array([-1024.4, 70_000]), 1.0), [-1024, 32767])


def test_a_report_of_many_large_noisy_volumes_stays_within_the_limit(tmp_path):
    generator = np.random.default_rng(0)

    def pictures():
        for index in range(3):
            source, target, prediction = generator.random((3, 130, 150, 140), np.float32)
            yield Picture(str(index), "t1n", ("best", "median", "worst")[index], source, target, prediction, (1, 1, 1))

    rows = [{"subject": str(i), "channel": "t1n", "method": "model", "psnr": 20.0 + i} for i in range(3)]
    write_evaluation(tmp_path, rows, pictures(), title="t", metadata={}, columns=())
    assert 2_000_000 < (tmp_path / "report.html").stat().st_size <= MAX_PAGE_BYTES
    data = viewer_data((tmp_path / "report.html").read_text())
    assert len(data["scenes"]) == 3 and data["start"] == 1 and "below 25 MB" in data["note"]


def test_names_cannot_leave_the_data_or_the_page():
    name = "</script><script>alert(1)</script><!--"
    scene = make_scene(name, [Panel(name, head(), (UNIT_WINDOW,))], np.eye(4), head() > 0)
    page = render("view.html", title=name, viewer=encode_scenes([scene], 10**7))
    assert name not in page and page.count("<script") == 3 + static_file("niivue.js").count("<script")
    assert viewer_data(page)["scenes"][0]["title"] == name


@pytest.mark.parametrize("name", ["niivue.js", "viewer.js"])
def test_scripts_can_be_put_into_a_page(name):
    script = static_file(name).lower()
    assert "</script" not in script and "<!--" not in script


def test_the_license_of_the_bundled_viewer_is_beside_it():
    text = static_file("niivue.LICENSE.txt")
    assert "BSD 2-Clause" in text and "Copyright (c) 2021, Niivue" in text and "fflate" in text


@pytest.fixture
def files(tmp_path):
    affine = np.diag([1.5, 2.0, 3.0, 1.0])
    geometry = new_geometry((20, 24, 28), affine)
    paths = []
    for index, name in enumerate(("a", "b<script>")):
        paths.append(tmp_path / f"{name}.nii.gz")
        write_volume(paths[-1], head(seed=index) * (1 if index == 0 else 400), geometry)
    return paths


def test_any_files_on_one_grid_are_shown_under_their_names(files, tmp_path):
    assert write_viewer(files, tmp_path / "v.html") == tmp_path / "v.html"
    (scene,) = viewer_data((tmp_path / "v.html").read_text())["scenes"]
    assert [panel["name"] for panel in scene["panels"]] == ["a", "b<script>"] and scene["difference_limit"] is None
    shown = decoded(scene["panels"][1]).get_fdata().T
    np.testing.assert_allclose(shown, head(seed=1)[2:-2, 3:-3, 4:-4] * 400, atol=0.1)
    windows = [panel["windows"][0] for panel in scene["panels"]]
    assert (windows[0]["low"], windows[0]["high"]) == (0, 1) and 300 < windows[1]["high"] <= 400


def test_a_given_window_holds_for_all_files(files, tmp_path):
    write_viewer(files, tmp_path / "v.html", level=40, window=80)
    (scene,) = viewer_data((tmp_path / "v.html").read_text())["scenes"]
    assert all((panel["windows"][0]["low"], panel["windows"][0]["high"]) == (0, 80) for panel in scene["panels"])


def test_bad_input_is_one_line(files, tmp_path):
    other = tmp_path / "other.nii.gz"
    write_volume(other, head((10, 24, 28)), new_geometry((10, 24, 28), np.diag([1.5, 2.0, 3.0, 1.0])))
    output = tmp_path / "v.html"
    for paths, window, message in (
        ([], {}, "at least one"),
        ([files[0], other], {}, "is not on the grid of"),
        ([tmp_path / "none.nii"], {}, "no such file"),
        ([files[0]], {"level": 4.0}, "go together"),
        ([files[0]], {"level": 4.0, "window": 0.0}, "not a positive width"),
    ):
        with pytest.raises(UserError, match=message) as raised:
            write_viewer(paths, output, **window)
        assert "\n" not in str(raised.value) and not output.exists()


def test_many_files_are_shown_six_at_a_time(files, tmp_path):
    write_viewer(files * 4, tmp_path / "v.html")
    scenes = viewer_data((tmp_path / "v.html").read_text())["scenes"]
    assert [len(scene["panels"]) for scene in scenes] == [6, 2]
