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


def body(shape=SHAPE):
    """An ellipsoid, uint8."""
    axes = np.meshgrid(*(np.linspace(-1.3, 1.3, size) for size in shape), indexing="ij")
    return (sum(axis**2 for axis in axes) < 1).astype(np.uint8)


def brain(seed=0, shape=SHAPE):
    """Noise between 100 and 1000 in that ellipsoid, on a background of zero."""
    return body(shape) * np.random.default_rng(seed).integers(100, 1000, shape).astype(np.float64)


def ct(seed=0, shape=SHAPE):
    """A CT of that ellipsoid: soft tissue, a slab of bone and a few cavities, in air."""
    generator = np.random.default_rng(seed)
    tissue = generator.normal(40, 10, shape)
    tissue[5:7] = generator.normal(900, 200, (2, *shape[1:]))
    tissue[generator.random(shape) < 0.02] = -900
    return np.where(body(shape), tissue, -1000)


def write(path, array, affine=LAS, dtype=np.float32):
    """Writes a NIfTI file, and the folders above it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.Nifti1Image(np.asarray(array, dtype), affine).to_filename(path)
    return path
