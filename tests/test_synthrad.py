"""SynthRAD's layout: what is read, what is refused by name, and what is found where there is no mask."""

import warnings

import nibabel as nib
import numpy as np
import pytest

from lift_jax.data.phantom_head import field_spacing, make_phantom_head
from lift_jax.data.synthrad import SynthradCases, check_pairs, find_body, find_pairs, pair_paths, split_synthrad
from lift_jax.errors import DataWarning, UserError

SHAPE = (10, 12, 14)
LAS = np.diag([-2.0, 2.0, 3.0, 1.0])


def arrays(seed=0):
    generator = np.random.default_rng(seed)
    mask = np.zeros(SHAPE, np.uint8)
    mask[2:-2, 2:-2, 2:-2] = 1
    mr = generator.uniform(100, 900, SHAPE)
    ct = np.where(mask, generator.uniform(-900, 1500, SHAPE), -1000)
    return {"mr": mr, "ct": ct, "mask": mask}


def write(root, name, leave_out=(), affine=LAS, **replaced):
    folder = root / name
    folder.mkdir(parents=True)
    for kind, array in (arrays() | replaced).items():
        if kind not in leave_out:
            image = nib.Nifti1Image(np.asarray(array, np.int16 if kind == "ct" else np.float32), affine)
            nib.save(image, folder / f"{kind}.nii.gz")
    return folder


def test_a_pair_is_read_on_the_canonical_grid_with_the_mr_scaled_in_the_mask(tmp_path):
    folder = write(tmp_path, "1BA001")
    case = SynthradCases(tmp_path, ["1BA001"], ("ct", "mask")).load(0)
    canonical = {kind: nib.as_closest_canonical(nib.load(folder / f"{kind}.nii.gz")) for kind in ("mr", "ct", "mask")}
    mask = canonical["mask"].get_fdata().T > 0
    mr = canonical["mr"].get_fdata().T
    np.testing.assert_array_equal(case.mask, mask)
    np.testing.assert_array_equal(case.ct, canonical["ct"].get_fdata().T)
    expected = np.where(mask, np.minimum(mr / np.quantile(mr[mask], 0.995), 1), 0)
    np.testing.assert_allclose(case.mr, expected, atol=1e-6)
    np.testing.assert_allclose(case.affine, canonical["mr"].affine)
    assert case.spacing == (3, 2, 2) and case.name == "1BA001"


def test_resampling_keeps_the_field_of_view_and_gives_the_wanted_voxels(tmp_path):
    write(tmp_path, "1BA001")
    native = SynthradCases(tmp_path, ["1BA001"]).load(0)
    case = SynthradCases(tmp_path, ["1BA001"], side=8).load(0)
    assert case.mr.shape == case.ct.shape == case.mask.shape == (8, 8, 8)
    corners = [c.affine @ [*(np.array(c.mr.shape[::-1]) * end - 0.5), 1] for c in (native, case) for end in (0, 1)]
    np.testing.assert_allclose(corners[:2], corners[2:], atol=1e-6)
    assert abs(case.mask.mean() - native.mask.mean()) < 0.1


@pytest.mark.parametrize("kind", ["ct", "mask"])
def test_what_training_needs_and_is_missing_is_refused_by_name(tmp_path, kind):
    write(tmp_path, "1BA001", leave_out=(kind,))
    with pytest.raises(UserError, match=rf"1BA001: lacks {kind}\.nii\.gz"):
        SynthradCases(tmp_path, ["1BA001"], ("ct", "mask")).load(0)


def test_all_bad_cases_of_a_data_set_are_told_at_once(tmp_path):
    write(tmp_path, "1BA001")
    write(tmp_path, "1BA002", leave_out=("ct",))
    write(tmp_path, "1BB003", mask=np.ones((10, 12, 13)))
    moved = LAS.copy()
    moved[0, 3] = 5
    nib.save(nib.Nifti1Image(np.zeros(SHAPE, np.float32), moved), write(tmp_path, "1BB004") / "ct.nii.gz")
    with pytest.raises(UserError) as told:
        check_pairs(tmp_path, find_pairs(tmp_path), ("ct", "mask"))
    first, *lines = str(told.value).splitlines()
    assert "3 of 4 cases cannot be used" in first and len(lines) == 3
    for line, words in zip(
        lines, (("1BA002", "lacks ct"), ("1BB003", "shapes differ"), ("1BB004", "5 mm")), strict=True
    ):
        assert all(word in line for word in words), line


def test_a_mask_that_is_empty_is_refused_by_name(tmp_path):
    write(tmp_path, "1BA001", mask=np.zeros(SHAPE))
    with pytest.raises(UserError, match=r"1BA001/mask\.nii\.gz: the mask is empty"):
        SynthradCases(tmp_path, ["1BA001"]).load(0)


@pytest.mark.parametrize("shift, scale", [(1024, 1), (0, 0.1)])
def test_a_ct_in_other_units_is_named_in_a_warning_and_used(tmp_path, shift, scale):
    write(tmp_path, "1BA001", ct=arrays()["ct"] * scale + shift)
    with pytest.warns(DataWarning, match=r"1BA001/ct\.nii\.gz: .*Hounsfield"):
        assert SynthradCases(tmp_path, ["1BA001"]).load(0).ct is not None


def test_the_ct_is_not_opened_where_only_the_mr_is_wanted(tmp_path):
    folder = write(tmp_path, "1BA001")
    (folder / "ct.nii.gz").write_bytes(b"not read")
    assert SynthradCases(tmp_path, ["1BA001"]).load(0, kinds=("mr", "mask")).ct is None


def test_without_a_mask_the_body_of_a_head_is_found_and_it_is_said(tmp_path):
    shape = (40, 48, 40)
    head = make_phantom_head(5, 0, shape, field_spacing(shape))
    noise = np.random.default_rng(0).random(shape) * 0.02
    found = find_body(head.mr + noise)
    overlap = 2 * (found & head.mask).sum() / (found.sum() + head.mask.sum())
    assert overlap > 0.93
    folder = tmp_path / "1BA001"
    folder.mkdir()
    nib.save(nib.Nifti1Image((1000 * (head.mr + noise)).T.astype(np.float32), head.affine), folder / "mr.nii.gz")
    with pytest.warns(DataWarning, match="no mask beside it; the body was found by threshold"):
        case = SynthradCases(tmp_path, ["1BA001"]).load(0)
    np.testing.assert_array_equal(case.mask, found)
    assert case.ct is None and not SynthradCases(tmp_path, ["1BA001"]).has_mask(0)


def test_an_mr_of_nothing_has_no_body(tmp_path):
    write(tmp_path, "1BA001", leave_out=("mask", "ct"), mr=np.zeros(SHAPE))
    with pytest.raises(UserError, match=r"1BA001/mr\.nii\.gz: the mask is empty"):
        SynthradCases(tmp_path, ["1BA001"]).load(0)


def test_folders_that_are_no_data_set_are_refused_and_strangers_passed_over(tmp_path):
    with pytest.raises(UserError, match="no such folder"):
        find_pairs(tmp_path / "nowhere")
    with pytest.raises(UserError, match="holds no case folder"):
        find_pairs(tmp_path)
    write(tmp_path, "1BA001")
    (tmp_path / "overview").mkdir()
    (tmp_path / ".hidden").mkdir()
    assert find_pairs(tmp_path) == ["1BA001"]
    assert list(pair_paths(tmp_path, "1BA001")) == ["mr", "ct", "mask"]
    with pytest.raises(UserError, match="is a case"):
        find_pairs(tmp_path / "1BA001")


def test_fingerprint_follows_content_name_and_grid_and_not_the_place(tmp_path):
    folder = write(tmp_path / "a", "1BA001")
    write(tmp_path / "b", "1BA001")
    first = SynthradCases(tmp_path / "a", ["1BA001"])
    digest = first.fingerprint(0)
    assert digest == SynthradCases(tmp_path / "b", ["1BA001"]).fingerprint(0)
    assert digest != SynthradCases(tmp_path / "a", ["1BA001"], side=8).fingerprint(0)
    nib.save(nib.Nifti1Image(np.ones(SHAPE, np.uint8), LAS), folder / "mask.nii.gz")
    assert digest != first.fingerprint(0)


def test_split_of_synthrad_is_144_to_36_and_moves_few_cases_when_one_is_added():
    names = [f"1B{'ABC'[i // 60]}{i % 60:03d}" for i in range(180)]
    split = split_synthrad(names)
    assert {part: len(members) for part, members in split.items()} == {"train": 140, "validation": 4, "test": 36}
    assert sorted(name for members in split.values() for name in members) == sorted(names)
    assert split == split_synthrad(reversed(names))
    more = split_synthrad([*names, "1BX999"])
    assert len(set(split["test"]) ^ set(more["test"])) <= 2
    tiny = split_synthrad(["a", "b", "c"])
    assert all(len(members) == 1 for members in tiny.values())
    with pytest.raises(UserError, match="cannot be split"):
        split_synthrad(["a", "b"])


def test_a_good_pair_warns_of_nothing(tmp_path):
    write(tmp_path, "1BA001")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        SynthradCases(tmp_path, ["1BA001"], ("ct", "mask")).load(0)
        check_pairs(tmp_path, ["1BA001"], ("ct", "mask"))
