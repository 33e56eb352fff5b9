import nibabel as nib
import numpy as np
import pytest

from lift_jax.configuration import missing_mr
from lift_jax.data.cases import CONTRASTS
from lift_jax.data.sources import case_source
from lift_jax.errors import UserError


def write_case(root, name, contrasts):
    (root / name).mkdir()
    for contrast in contrasts:
        voxels = np.random.default_rng(0).random((6, 6, 6), np.float32)
        nib.save(nib.Nifti1Image(voxels, np.eye(4)), root / name / f"{name}-{contrast}.nii.gz")


def brats(root):
    data = missing_mr().data
    data.layout, data.root = "brats", str(root)
    return data


def test_the_bad_cases_of_all_splits_are_told_at_once(tmp_path):
    for name in ("A", "B", "C", "D"):
        write_case(tmp_path, name, CONTRASTS if name in "AB" else CONTRASTS[:2])
    for split in ("train", "validation", "test"):
        with pytest.raises(UserError, match="2 of 4 cases") as refusal:
            case_source(brats(tmp_path), split)
        assert all(f"{tmp_path / name}: lacks" in str(refusal.value) for name in ("C", "D"))


def test_the_splits_of_a_phantom_share_no_case():
    data = missing_mr().data
    data.spacing = 4.0
    names = [name for split in ("train", "validation", "test") for name in case_source(data, split).names]
    assert len(set(names)) == len(names) == sum(data.cases.values())
