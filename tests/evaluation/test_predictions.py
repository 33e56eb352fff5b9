"""Anybody's predictions are matched by name, checked by grid and scored by the protocol."""

import nibabel as nib
import numpy as np
import pytest

from lift_jax.data.foreground import find_foreground
from lift_jax.data.intensity import get_protocol
from lift_jax.errors import DataWarning, UserError
from lift_jax.evaluation.predictions import score_file, score_folder
from lift_jax.evaluation.scores import score_unit

SHAPE = (24, 22, 20)
"""`(i, j, k)` of the files."""

AFFINE = np.diag([-2.0, 2.0, 3.0, 1.0])
"""LAS, so that reading must turn the first axis."""


def save(path, array, affine=AFFINE):
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(np.asarray(array, np.float32), affine), path)


def scan(seed, scale=500.0):
    """A channel in scanner units on the files' grid, zero outside an ellipsoid."""
    grid = np.meshgrid(*(np.linspace(-1, 1, n) for n in SHAPE), indexing="ij")
    inside = sum(axis**2 for axis in grid) < 0.7
    return inside * (0.2 + np.random.default_rng(seed).random(SHAPE)) * scale


def canonical(stored):
    return stored[::-1].T


def normalize_cwdm(volume):
    return get_protocol("mr_quantile").normalize(np.asarray(volume, np.float32), find_foreground(volume))


@pytest.fixture
def targets(tmp_path):
    for number, subject in enumerate(("case-a", "case-b")):
        for index, channel in enumerate(("t1n", "t1c", "t2w", "t2f")):
            save(tmp_path / "targets" / subject / f"{subject}-{channel}.nii.gz", scan(10 * number + index))
    return tmp_path / "targets"


def test_scores_are_those_of_the_protocol_for_every_layout(targets, tmp_path):
    prediction = np.random.default_rng(9).random(SHAPE)
    save(tmp_path / "flat" / "case-a-t2w.nii.gz", prediction)
    save(tmp_path / "nested" / "case-a" / "case-a-t2w.nii", prediction)
    sources = np.stack([normalize_cwdm(canonical(scan(index))) for index in (0, 1, 3)], axis=-1)
    target, brain, visible = normalize_cwdm(canonical(scan(2))), (sources > 0).any(-1), sources[..., 0] > 0
    likest = sources[..., np.argmin([np.mean((sources[..., i] * visible - target) ** 2) for i in range(3)])]
    made = {"model": canonical(prediction), "best source": likest, "mean of sources": sources.mean(-1)}
    for folder in ("flat", "nested"):
        rows, _, metadata = score_folder(tmp_path / folder, targets, "cwdm")
        assert [(row["subject"], row["channel"]) for row in rows] == [("case-a", "t2w")] * 3
        for row in rows:
            expected = score_unit(target, made[row["method"]], brain, visible)
            assert {key: row[key] for key in expected} == pytest.approx(expected, rel=1e-6)
        assert metadata["prediction intensities"] == "in [0, 1], as given"


def test_a_small_overshoot_is_clamped_and_reported_and_does_not_change_the_rest(targets, tmp_path):
    """One voxel at 1.002 once made the volume be normalized anew: 19.81 dB became 16.58 dB."""
    prediction = normalize_cwdm(scan(0)) * 0.9
    save(tmp_path / "p" / "case-a-t1n.nii.gz", prediction)
    before = score_folder(tmp_path / "p", targets)[0][0]
    prediction[10, 10, 10], prediction[0, 0, 0] = 1.002, -0.004
    save(tmp_path / "p" / "case-a-t1n.nii.gz", prediction)
    with pytest.warns(DataWarning, match=r"case-a-t1n\.nii\.gz: overshoots"):
        rows, _, metadata = score_folder(tmp_path / "p", targets)
    assert rows[0]["psnr"] == pytest.approx(before["psnr"], abs=0.05)
    assert "1 of 1 overshoot the range by up to 0.40% and were clamped" in metadata["prediction intensities"]


@pytest.mark.parametrize("change", [lambda x: 2 * x - 1, lambda x: 255 * x, lambda x: x - 0.5, lambda x: 1.02 * x])
def test_another_unit_is_refused_by_name_unless_it_is_stated(targets, tmp_path, change):
    unit = normalize_cwdm(scan(0))
    save(tmp_path / "p" / "case-a-t1n.nii.gz", unit)
    expected = score_folder(tmp_path / "p", targets)[0][0]
    save(tmp_path / "p" / "case-a-t1n.nii.gz", change(unit))
    with pytest.raises(UserError, match=r"case-a-t1n\.nii\.gz: holds values from .* --prediction_range=LOW,HIGH"):
        score_folder(tmp_path / "p", targets)
    stated = change(np.float64(0)), change(np.float64(1))
    rows, _, metadata = score_folder(tmp_path / "p", targets, "cwdm", stated)
    assert rows[0]["ssim"] == pytest.approx(expected["ssim"], abs=1e-5)
    assert "as stated" in metadata["prediction intensities"]


def test_a_segmentation_beside_the_truth_gives_rows_of_regions(targets, tmp_path):
    save(tmp_path / "p" / "case-a-t1n.nii.gz", normalize_cwdm(scan(0)))
    labels = np.zeros(SHAPE)
    labels[8:14, 8:14, 7:12] = 2
    save(targets / "case-a" / "case-a-seg.nii.gz", labels)
    row = score_folder(tmp_path / "p", targets)[0][1]
    assert 0 < row["psnr_tumor"] < 100 and 0 < row["psnr_healthy"] < 100


def test_the_region_of_scores_does_not_depend_on_the_hidden_channel(targets, tmp_path):
    """The true channel reaches beyond the others; the brain that is scored is the one they show."""
    wide = np.roll(scan(7), 3, axis=0) + scan(0)
    save(targets / "case-a" / "case-a-t1n.nii.gz", wide)
    save(tmp_path / "p" / "case-a-t1n.nii.gz", np.clip(normalize_cwdm(wide), 0, 1))
    (picture,) = (p for p in score_folder(tmp_path / "p", targets)[1])
    assert np.array_equal(picture.prediction > 0, (picture.prediction > 0) & (picture.source > 0))


def test_single_files_are_scored_alone(targets, tmp_path):
    save(tmp_path / "c.nii.gz", normalize_cwdm(scan(0)) * 0.9)
    rows, pictures, metadata = score_file(tmp_path / "c.nii.gz", targets / "case-a" / "case-a-t1n.nii.gz")
    assert [row["method"] for row in rows] == ["model"] and len(list(pictures)) == 1
    truth = normalize_cwdm(scan(0))
    assert rows[0]["psnr"] == pytest.approx(-10 * np.log10(np.mean((0.1 * truth) ** 2)), rel=1e-4)
    assert "--mask" in metadata["foreground"]
    save(tmp_path / "d.nii.gz", np.zeros((24, 22, 9)))
    with pytest.raises(UserError, match=r"d\.nii\.gz: is not on the grid"):
        score_file(tmp_path / "d.nii.gz", targets / "case-a" / "case-a-t1n.nii.gz")


def test_pictures_show_the_first_source_and_the_files_spacing(targets, tmp_path):
    for subject in ("case-a", "case-b"):
        save(tmp_path / "p" / f"{subject}-t1n.nii.gz", np.random.default_rng(3).random(SHAPE))
    _, pictures, _ = score_folder(tmp_path / "p", targets)
    pictures = list(pictures)
    assert [picture.rank for picture in pictures] == ["best", "worst"]
    assert {picture.subject for picture in pictures} == {"case-a", "case-b"}
    shown = next(picture for picture in pictures if picture.subject == "case-a")
    assert shown.spacing == pytest.approx((3.0, 2.0, 2.0))
    np.testing.assert_allclose(shown.source, normalize_cwdm(canonical(scan(1))), atol=1e-6)
    np.testing.assert_allclose(shown.target, normalize_cwdm(canonical(scan(0))), atol=1e-6)
    assert np.all(shown.prediction[shown.source == 0] == 0) and shown.prediction.max() > 0.9


def test_all_problems_are_reported_at_once_by_file(targets, tmp_path):
    folder = tmp_path / "p"
    save(folder / "case-a-t1n.nii.gz", np.ones(SHAPE))
    save(folder / "case-a" / "case-a-t1n.nii.gz", np.ones(SHAPE))
    save(folder / "case-z-t1n.nii.gz", np.ones(SHAPE))
    save(folder / "case-b-t2w.nii.gz", np.ones((24, 22, 9)))
    save(folder / "case-b-t2f.nii.gz", np.ones(SHAPE), np.diag([-2.0, 2.0, 4.0, 1.0]))
    (folder / "case-b-t1c.nii.gz").write_bytes(b"nothing of the kind")
    with pytest.raises(UserError) as raised:
        score_folder(folder, targets)
    lines = str(raised.value).splitlines()
    assert "5 of 6 predictions" in lines[0] and len(lines) == 6
    for name, problem in [
        ("case-a-t1n.nii.gz", "same channel and subject"),
        ("case-z-t1n.nii.gz", "has no target"),
        ("case-b-t2w.nii.gz", "shapes differ"),
        ("case-b-t2f.nii.gz", "affines differ"),
        ("case-b-t1c.nii.gz", ""),
    ]:
        assert any(name in line and problem in line for line in lines[1:]), (name, problem)


def test_a_subject_without_sources_is_refused(tmp_path):
    save(tmp_path / "targets" / "only" / "only-t1n.nii.gz", scan(0))
    save(tmp_path / "p" / "only-t1n.nii.gz", np.ones(SHAPE))
    with pytest.raises(UserError, match="no channel but the target"):
        score_folder(tmp_path / "p", tmp_path / "targets")


def test_a_constant_target_is_refused_by_name(targets, tmp_path):
    save(targets / "case-a" / "case-a-t1n.nii.gz", np.ones(SHAPE))
    save(tmp_path / "p" / "case-a-t1n.nii.gz", np.ones(SHAPE))
    with pytest.raises(UserError, match=r"case-a-t1n\.nii\.gz: "):
        score_folder(tmp_path / "p", targets)


def test_volumes_too_thin_to_score_are_refused_by_name(tmp_path):
    for channel in ("t1n", "t1c"):
        save(tmp_path / "targets" / "thin" / f"thin-{channel}.nii.gz", scan(0)[..., 6:11])
    save(tmp_path / "p" / "thin-t1n.nii.gz", scan(0)[..., 6:11] / 1000)
    with pytest.raises(UserError, match=r"thin-t1n\.nii\.gz: cannot be scored: SSIM needs"):
        score_folder(tmp_path / "p", tmp_path / "targets")


@pytest.mark.parametrize("folder", ["predictions", "targets"])
def test_a_missing_folder_is_refused(targets, tmp_path, folder):
    (tmp_path / "empty").mkdir()
    folders = {"predictions": tmp_path / "empty", "targets": targets} | {folder: tmp_path / "nowhere"}
    with pytest.raises(UserError, match="nowhere is no folder"):
        score_folder(**folders)


def test_a_folder_without_predictions_and_an_unknown_protocol_are_refused(targets, tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="holds no predictions"):
        score_folder(tmp_path / "empty", targets)
    with pytest.raises(UserError, match="--protocol: 'synthrad' is none of"):
        score_folder(tmp_path / "empty", targets, "synthrad")


@pytest.fixture
def heads(tmp_path):
    """CT with bone and air, MR and mask, in SynthRAD's layout."""
    shape = (24, 22, 20)
    grid = np.meshgrid(*(np.linspace(-1, 1, n) for n in shape), indexing="ij")
    radius = np.sqrt(sum(axis**2 for axis in grid))
    ct = np.where(radius < 0.7, 40 + 20 * np.sin(9 * grid[0]), np.where(radius < 0.85, 900, -1000))
    folder = tmp_path / "heads" / "1BA001"
    for kind, array in (("ct", ct), ("mr", (radius < 0.85) * (500 + 50 * grid[1])), ("mask", radius < 0.9)):
        save(folder / f"{kind}.nii.gz", array)
    return tmp_path / "heads", ct


def test_a_ct_is_scored_in_hu_beside_water(heads, tmp_path):
    root, ct = heads
    save(tmp_path / "p" / "1BA001-ct.nii.gz", ct + 25)
    rows, pictures, metadata = score_folder(tmp_path / "p", root, "synthrad2023")
    assert [row["method"] for row in rows] == ["model", "water"]
    assert rows[0]["mae"] == pytest.approx(25, abs=0.01)
    assert metadata["prediction intensities"] == "in HU, as given"
    assert next(pictures).unit == "HU"
    single = score_file(
        tmp_path / "p" / "1BA001-ct.nii.gz",
        root / "1BA001" / "ct.nii.gz",
        "synthrad2023",
        mask=root / "1BA001" / "mask.nii.gz",
    )[0]
    assert single[0]["mae"] == pytest.approx(rows[0]["mae"], rel=1e-6)


@pytest.mark.parametrize(
    ("change", "stated", "words"),
    [
        (lambda hu: (np.clip(hu, -1024, 3000) + 1024) / 4024, (0.0, 1.0), "not HU"),
        (lambda hu: hu + 1024, (0.0, 4024.0), "1024 was added or subtracted"),
        (lambda hu: hu - 1024, (-2048.0, 1976.0), "1024 was added or subtracted"),
    ],
)
def test_ct_in_another_unit_is_refused_unless_it_is_stated(heads, tmp_path, change, stated, words):
    root, ct = heads
    save(tmp_path / "p" / "1BA001-ct.nii.gz", change(ct))
    with pytest.raises(UserError, match=rf"1BA001-ct\.nii\.gz: .*{words}"):
        score_folder(tmp_path / "p", root, "synthrad2023")
    rows, _, _ = score_folder(tmp_path / "p", root, "synthrad2023", stated)
    assert rows[0]["mae"] < 0.5


def test_a_ct_that_is_off_is_warned_about_and_scored(heads, tmp_path):
    root, ct = heads
    save(tmp_path / "p" / "1BA001-ct.nii.gz", ct + 400)
    with pytest.warns(DataWarning, match=r"soft tissue is \+400 HU"):
        _, _, metadata = score_folder(tmp_path / "p", root, "synthrad2023")
    assert "check its unit" in metadata["prediction intensities"]


def test_a_ct_without_mask_beside_the_truth_is_refused(heads, tmp_path):
    root, ct = heads
    (root / "1BA001" / "mask.nii.gz").unlink()
    save(tmp_path / "p" / "1BA001.nii.gz", ct)
    with pytest.raises(UserError, match=r"has no mask to be scored in; put it at .*mask\.nii\.gz"):
        score_folder(tmp_path / "p", root, "synthrad2023")


def test_a_bad_model_is_scored_and_not_taken_for_another_unit(heads, tmp_path):
    root, ct = heads
    save(tmp_path / "p" / "1BA001-ct.nii.gz", np.clip(ct - 1000, -1024, 3000))
    with pytest.warns(DataWarning, match="check its unit"):
        rows, _, _ = score_folder(tmp_path / "p", root, "synthrad2023")
    assert rows[0]["mae"] > 500
