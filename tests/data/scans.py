"""Small scans on disk, and the data section that names them."""

import nibabel as nib
import numpy as np
from ml_collections import ConfigDict

SHAPE = (20, 18, 16)  # stored axis order; no side that is small enough for a warning
LAS = np.diag([-1.0, 1.0, 1.5, 1.0])
T1_FLAIR = {"T1": "mr_quantile", "FLAIR": "mr_quantile"}


def section(**values):
    """A data section."""
    section = {
        "dataset": "brats",
        "root": "",
        "pattern": "",
        "manifest": "",
        "suffixes": {},
        "channels": {},
        "sources": (),
        "targets": (),
        "hu_range": (-1024.0, 3000.0),
        "spacing": 0.0,
        "size": (0, 0, 0),
        "phantom_seed": 0,
        "subjects": {"train": 3, "validation": 1, "test": 2},
        "split_file": "",
    }
    assert set(values) <= set(section)
    return ConfigDict(section | {key: str(v) if key in ("root", "manifest") else v for key, v in values.items()})


def brain(seed=0, shape=SHAPE):
    """A block of noise between 100 and 1000 on a background of zero."""
    array = np.zeros(shape)
    inside = tuple(slice(3, -3) for _ in shape)
    array[inside] = np.random.default_rng(seed).integers(100, 1000, array[inside].shape)
    return array


def body(shape=SHAPE):
    """The mask of that block."""
    return (brain(0, shape) > 0).astype(np.uint8)


def ct(seed=0, shape=SHAPE):
    """A CT of that block: soft tissue and bone in air."""
    tissue = np.random.default_rng(seed).normal(40, 10, shape)
    tissue[5:8] = 900
    return np.where(body(shape), tissue, -1000)


def write(path, array, affine=LAS, dtype=np.float32):
    """Writes a NIfTI file, and the folders above it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.Nifti1Image(np.asarray(array, dtype), affine).to_filename(path)
    return path
