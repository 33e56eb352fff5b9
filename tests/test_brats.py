import nibabel as nib
import numpy as np
import pytest

from lift_jax.data.brats import BratsCases, check_split, find_cases
from lift_jax.data.cases import CONTRASTS
from lift_jax.data.regrid import regrid_onto
from lift_jax.data.volumes import read_volume, write_volume
from lift_jax.errors import UserError

LAS = np.diag([-2.0, 2.0, 2.0, 1.0])
SHAPE = (10, 12, 14)


def scan(seed, shape=SHAPE):
    """A block that brightens along every axis on zero, with undershoot on one side, like resampled MR."""
    voxels = np.zeros(shape)
    noise = np.random.default_rng(seed).normal(100, 10, shape)
    voxels[2:-2, 2:-2, 2:-2] = (noise + np.tensordot([10, 20, 30], np.indices(shape), 1))[2:-2, 2:-2, 2:-2]
    voxels[2, 2:-2, 2:-2] = -20
    return voxels


def write_case(root, name, contrasts=CONTRASTS, suffix=".nii.gz", affine=LAS, shape=SHAPE):
    folder = root / name
    folder.mkdir(parents=True)
    for contrast in contrasts:
        image = nib.Nifti1Image(scan(CONTRASTS.index(contrast), shape), affine)
        image.set_data_dtype(np.int16)
        image.to_filename(folder / f"{name}-{contrast}{suffix}")
    return folder


def test_case_holds_each_contrast_normalised_on_the_canonical_grid(tmp_path):
    folder = write_case(tmp_path, "A-000")
    (folder / "A-000-seg.nii.gz").write_bytes(b"not read")
    case = BratsCases(tmp_path, ["A-000"]).load(0)
    assert case.name == "A-000" and case.available.all()
    assert case.sources.shape == (*SHAPE[::-1], 4) and case.sources.dtype == np.float32
    assert case.targets is case.sources
    for channel, contrast in enumerate(CONTRASTS):
        image = nib.as_closest_canonical(nib.load(folder / f"A-000-{contrast}.nii.gz"))
        np.testing.assert_allclose(case.affine, image.affine)
        voxels = np.maximum(image.get_fdata(), 0).T
        high = np.quantile(voxels, 0.999)
        np.testing.assert_allclose(case.sources[..., channel], np.minimum(voxels, high) / high, atol=1e-6)


def test_missing_contrast_is_zero_and_not_available_unless_it_is_required(tmp_path):
    write_case(tmp_path, "A-000", ("t1n", "t2f"), suffix=".nii")
    case = BratsCases(tmp_path, ["A-000"], required=("t2f",)).load(0)
    np.testing.assert_array_equal(case.available, [True, False, False, True])
    assert (case.sources[..., 1:3] == 0).all() and case.sources[..., 3].max() == 1
    with pytest.raises(UserError, match=r"A-000: lacks A-000-t1c.nii.gz, A-000-t2w.nii.gz"):
        BratsCases(tmp_path, ["A-000"], required=("t1c", "t1n", "t2w")).load(0)


def test_resampled_case_is_cubic_spans_zero_to_one_and_returns_to_the_files_grid(tmp_path):
    folder = write_case(tmp_path, "A-000")
    cases = BratsCases(tmp_path, ["A-000"], spacing=4.0)
    case = cases.load(0)
    assert case.sources.shape == (7, 6, 5, 4)
    np.testing.assert_allclose(np.diag(case.affine), [4, 4, 4, 1])
    assert (case.sources.min(), case.sources.max()) == (0, 1)

    grid = cases.geometry(0)
    result = regrid_onto(case.sources[..., 0], case.affine, grid.shape, grid.affine)
    write_volume(tmp_path / "out.nii.gz", result, grid)
    written, source = nib.load(tmp_path / "out.nii.gz"), nib.load(folder / "A-000-t1n.nii.gz")
    np.testing.assert_array_equal(written.affine, source.affine)
    voxels = written.get_fdata()
    likeness = [
        np.corrcoef(image.ravel(), source.get_fdata().ravel())[0, 1]
        for image in (voxels, voxels[::-1], voxels[:, ::-1], voxels[:, :, ::-1])
    ]
    assert np.argmax(likeness) == 0 and likeness[0] > 0.85


def test_fingerprint_follows_name_content_contrast_and_spacing_but_not_the_place(tmp_path):
    folder = write_case(tmp_path / "a", "A-000")
    write_case(tmp_path / "b", "A-000")
    first = BratsCases(tmp_path / "a", ["A-000"])
    before = first.fingerprint(0)
    assert before == BratsCases(tmp_path / "b", ["A-000"]).fingerprint(0)
    assert before != BratsCases(tmp_path / "a", ["A-000"], spacing=2.0).fingerprint(0)
    for path in write_case(tmp_path / "c", "B-000").iterdir():
        path.write_bytes((folder / path.name.replace("B-", "A-")).read_bytes())
    assert before != BratsCases(tmp_path / "c", ["B-000"]).fingerprint(0)
    t1n, t1c = folder / "A-000-t1n.nii.gz", folder / "A-000-t1c.nii.gz"
    swapped = t1n.read_bytes(), t1c.read_bytes()
    t1c.write_bytes(swapped[0])
    t1n.write_bytes(swapped[1])
    exchanged = first.fingerprint(0)
    t1n.unlink()
    assert len({before, exchanged, first.fingerprint(0)}) == 3


def test_contrasts_on_different_grids_are_refused_by_both_names(tmp_path):
    folder = write_case(tmp_path, "A-000")
    moved = LAS.copy()
    moved[0, 3] = 3
    nib.Nifti1Image(scan(1), moved).to_filename(folder / "A-000-t2w.nii.gz")
    with pytest.raises(UserError, match=r"A-000-t2w.nii.gz: is not on the grid of .*A-000-t1n.nii.gz.* 3 mm"):
        BratsCases(tmp_path, ["A-000"]).load(0)


@pytest.mark.parametrize(("value", "told"), [(0.0, "is constant"), (np.nan, "not finite")])
def test_volume_without_an_image_is_refused_by_name(tmp_path, value, told):
    folder = write_case(tmp_path, "A-000")
    nib.Nifti1Image(np.full(SHAPE, value, np.float32), LAS).to_filename(folder / "A-000-t1c.nii.gz")
    with pytest.raises(UserError, match=f"A-000-t1c.nii.gz: .*{told}"):
        BratsCases(tmp_path, ["A-000"]).load(0)


def test_cases_are_the_visible_folders_in_order(tmp_path):
    for name in ("B-000", "A-000", ".cache"):
        (tmp_path / name).mkdir()
    (tmp_path / "participants.csv").write_text("")
    assert find_cases(tmp_path) == ["A-000", "B-000"]


def test_root_that_is_no_data_set_is_refused_with_the_mend(tmp_path):
    with pytest.raises(UserError, match="no such folder"):
        find_cases(tmp_path / "absent")
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match="holds no case folder; the layout is <root>/<case>/<case>-"):
        find_cases(tmp_path / "empty")
    with pytest.raises(UserError, match="is a case; give the folder that holds"):
        find_cases(write_case(tmp_path, "A-000"))


def test_good_split_passes(tmp_path):
    write_case(tmp_path, "A-000")
    check_split(tmp_path, ["A-000"], CONTRASTS)


def test_all_problems_of_a_split_are_told_at_once(tmp_path):
    write_case(tmp_path, "A-good")
    write_case(tmp_path, "B-lacks", ("t1n", "t1c", "t2w"))
    damaged = write_case(tmp_path, "C-damaged")
    (damaged / "C-damaged-t1n.nii.gz").write_bytes(b"")
    (damaged / "C-damaged-t2w.nii.gz").write_bytes(b"text")
    (tmp_path / "D-empty").mkdir()
    other = write_case(tmp_path, "E-grid")
    nib.Nifti1Image(scan(1, (10, 12, 13)), LAS).to_filename(other / "E-grid-t2f.nii.gz")
    names = [*find_cases(tmp_path), "F-absent"]
    with pytest.raises(UserError) as error:
        check_split(tmp_path, names, ("t2f",))
    first, *problems = str(error.value).splitlines()
    assert "5 of 6 cases" in first
    expected = [
        "B-lacks: lacks B-lacks-t2f.nii.gz",
        "C-damaged-t1n.nii.gz: is empty",
        "C-damaged-t2w.nii.gz: is not gzip",
        "D-empty: holds none of the contrasts",
        "E-grid-t2f.nii.gz: is not on the grid of",
        "F-absent: no such case folder",
    ]
    assert len(problems) == len(expected)
    for problem, words in zip(problems, expected, strict=True):
        assert words in problem


def test_written_volume_of_a_case_is_read_as_it_was(tmp_path):
    write_case(tmp_path, "A-000")
    cases = BratsCases(tmp_path, ["A-000"])
    case = cases.load(0)
    write_volume(tmp_path / "out.nii.gz", case.sources[..., 0], cases.geometry(0))
    np.testing.assert_array_equal(read_volume(tmp_path / "out.nii.gz").array, case.sources[..., 0])
