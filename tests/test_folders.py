"""Anybody's predictions are matched by name, checked by grid and scored by the protocol."""

import nibabel as nib
import numpy as np
import pytest

from lift_jax.data.intensities import normalise_cwdm
from lift_jax.errors import UserError
from lift_jax.evaluation.folders import score_folder
from lift_jax.evaluation.scores import score_methods_cwdm

SHAPE = (14, 12, 10)
"""`(i, j, k)` of the files."""

AFFINE = np.diag([-2.0, 2.0, 3.0, 1.0])
"""LAS, so that reading must turn the first axis."""


def save(path, array, affine=AFFINE):
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(np.asarray(array, np.float32), affine), path)


def scan(seed, scale=500.0):
    """A contrast in scanner units on the files' grid, zero outside a block."""
    volume = np.zeros(SHAPE)
    volume[2:-2, 2:-2, 2:-2] = 0.2 + np.random.default_rng(seed).random((10, 8, 6))
    return volume * scale


def canonical(stored):
    return stored[::-1].T


@pytest.fixture
def targets(tmp_path):
    for number, case in enumerate(("case-a", "case-b")):
        for index, contrast in enumerate(("t1n", "t1c", "t2w", "t2f")):
            save(tmp_path / "targets" / case / f"{case}-{contrast}.nii.gz", scan(10 * number + index))
    return tmp_path / "targets"


def test_scores_are_those_of_the_protocol_for_every_layout(targets, tmp_path):
    prediction = np.random.default_rng(9).random(SHAPE)
    save(tmp_path / "flat" / "case-a-t2w.nii.gz", prediction)
    save(tmp_path / "nested" / "case-a" / "case-a-t2w.nii", prediction)
    sources = np.stack([normalise_cwdm(canonical(scan(index))) for index in (0, 1, 3)], axis=-1)
    expected = score_methods_cwdm(
        normalise_cwdm(canonical(scan(2))), canonical(prediction).astype(np.float32), sources, sources[..., 0]
    )
    for folder in ("flat", "nested"):
        rows, _, facts = score_folder(tmp_path / folder, targets, "cwdm")
        assert [(row["case"], row["contrast"]) for row in rows] == [("case-a", "t2w")] * 3
        for row in rows:
            assert {key: row[key] for key in expected["model"]} == pytest.approx(expected[row["method"]], rel=1e-6)
        assert facts["prediction intensities"] == "in [0, 1], as given"


def test_predictions_in_scanner_units_are_normalised_and_counted(targets, tmp_path):
    save(tmp_path / "p" / "case-a-t1n.nii.gz", scan(0, scale=37.0))
    save(tmp_path / "p" / "case-b-t1n.nii.gz", normalise_cwdm(scan(10)))
    rows, _, facts = score_folder(tmp_path / "p", targets)
    model = {row["case"]: row for row in rows if row["method"] == "model"}
    assert model["case-a"]["psnr"] > 80
    assert facts["prediction intensities"].startswith("1 of 2 predictions hold values above 1")


def test_pictures_show_the_first_source_and_the_files_spacing(targets, tmp_path):
    for case in ("case-a", "case-b"):
        save(tmp_path / "p" / f"{case}-t1n.nii.gz", np.random.default_rng(3).random(SHAPE))
    _, pictures, _ = score_folder(tmp_path / "p", targets)
    pictures = list(pictures)
    assert [picture.rank for picture in pictures] == ["best", "worst"]
    assert {picture.subject for picture in pictures} == {"case-a", "case-b"}
    shown = next(picture for picture in pictures if picture.subject == "case-a")
    assert shown.spacing == pytest.approx((3.0, 2.0, 2.0))
    np.testing.assert_allclose(shown.source, normalise_cwdm(canonical(scan(1))), atol=1e-6)
    np.testing.assert_allclose(shown.target, normalise_cwdm(canonical(scan(0))), atol=1e-6)
    assert np.all(shown.prediction[shown.source == 0] == 0) and shown.prediction.max() > 0.9


def test_all_problems_are_told_at_once_by_file(targets, tmp_path):
    folder = tmp_path / "p"
    save(folder / "case-a-t1n.nii.gz", np.ones(SHAPE))
    save(folder / "case-a" / "case-a-t1n.nii.gz", np.ones(SHAPE))
    save(folder / "case-z-t1n.nii.gz", np.ones(SHAPE))
    save(folder / "case-b-t2w.nii.gz", np.ones((14, 12, 9)))
    save(folder / "case-b-t2f.nii.gz", np.ones(SHAPE), np.diag([-2.0, 2.0, 4.0, 1.0]))
    (folder / "case-b-t1c.nii.gz").write_bytes(b"nothing of the kind")
    with pytest.raises(UserError) as raised:
        score_folder(folder, targets)
    lines = str(raised.value).splitlines()
    assert "5 of 6 predictions" in lines[0] and len(lines) == 6
    for name, problem in [
        ("case-a-t1n.nii.gz", "same contrast and case"),
        ("case-z-t1n.nii.gz", "has no target"),
        ("case-b-t2w.nii.gz", "shapes differ"),
        ("case-b-t2f.nii.gz", "affines differ"),
        ("case-b-t1c.nii.gz", ""),
    ]:
        assert any(name in line and problem in line for line in lines[1:]), (name, problem)


def test_a_case_without_sources_is_refused(tmp_path):
    save(tmp_path / "targets" / "only" / "only-t1n.nii.gz", scan(0))
    save(tmp_path / "p" / "only-t1n.nii.gz", np.ones(SHAPE))
    with pytest.raises(UserError, match="no contrast but the target"):
        score_folder(tmp_path / "p", tmp_path / "targets")


def test_a_constant_target_is_refused_by_name(targets, tmp_path):
    save(targets / "case-a" / "case-a-t1n.nii.gz", np.ones(SHAPE))
    save(tmp_path / "p" / "case-a-t1n.nii.gz", np.ones(SHAPE))
    with pytest.raises(UserError, match=r"case-a-t1n\.nii\.gz: is constant"):
        score_folder(tmp_path / "p", targets)


def test_volumes_too_thin_to_score_are_refused_by_name(tmp_path):
    for contrast in ("t1n", "t1c"):
        save(tmp_path / "targets" / "thin" / f"thin-{contrast}.nii.gz", scan(0)[..., :5])
    save(tmp_path / "p" / "thin-t1n.nii.gz", scan(0)[..., :5] / 1000)
    with pytest.raises(UserError, match=r"thin-t1n\.nii\.gz: cannot be scored: SSIM needs"):
        score_folder(tmp_path / "p", tmp_path / "targets")


@pytest.mark.parametrize("folder", ["predictions", "targets"])
def test_a_missing_folder_is_refused(targets, tmp_path, folder):
    (tmp_path / "empty").mkdir()
    folders = {"predictions": tmp_path / "empty", "targets": targets} | {folder: tmp_path / "nowhere"}
    with pytest.raises(UserError, match="nowhere: no such folder"):
        score_folder(**folders)


def test_a_folder_without_predictions_and_an_unknown_protocol_are_refused(targets, tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="holds no predictions"):
        score_folder(tmp_path / "empty", targets)
    with pytest.raises(UserError, match="protocol synthrad: unknown"):
        score_folder(tmp_path / "empty", targets, "synthrad")
