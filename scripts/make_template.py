"""Makes the phantom's brain template from the MNI ICBM152 2009a tissue maps that nilearn ships.

    pip install nilearn
    python -m scripts.make_template --output lift_jax/data/template/mni_icbm152_tissues.nii.gz

For developers only: nilearn isn't needed to use lift_jax. The result is one NIfTI file `[I, J, K, tissue]` (gray,
white, cerebrospinal fluid), RAS+, 1 mm, cropped to the brain, tissue fractions in steps of 1/15. See MNI_NOTICE.txt
beside it.
"""

import argparse
import gzip
import importlib.util
import os
import sys
from pathlib import Path

import nibabel as nib
import numpy as np
from scipy import ndimage

from lift_jax.data.phantom.anatomy import TEMPLATE_LEVELS

SHARPENING = 2.0
"""Exponent on the fractions before they are renormalized: averaging 152 brains blurred their sulci."""
CSF_WEIGHT = 1.8
"""Factor on the fluid before the sharpening: averaging has filled the narrow sulci with gray matter."""
CLOSING_MM = 5
"""Radius of the closing that takes the cerebrospinal fluid of the sulci into the brain mask."""


def read_maps(folder: Path) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Returns gray and white fractions in [0, 1], the brain mask, each `[I, J, K]`, and the affine."""
    images = {
        name: nib.as_closest_canonical(nib.load(folder / f"mni_icbm152_{name}_tal_nlin_sym_09a_converted.nii.gz"))
        for name in ("t1", "gm", "wm")
    }
    gray, white = (images[name].get_fdata(dtype=np.float32) for name in ("gm", "wm"))
    scale = max(gray.max(), white.max())
    return gray / scale, white / scale, images["t1"].get_fdata() > 0, images["t1"].affine


def tissue_fractions(gray: np.ndarray, white: np.ndarray, brain: np.ndarray) -> np.ndarray:
    """Returns `[I, J, K, 3]` fractions of gray, white and cerebrospinal fluid that sum to 1 in the brain and 0 outside.

    The published maps have no fluid: it is what gray and white matter leave of the closed brain mask.
    """
    padded = np.pad(brain, 2 * CLOSING_MM)
    closed = ndimage.distance_transform_edt(~padded) <= CLOSING_MM
    closed = ndimage.distance_transform_edt(closed) > CLOSING_MM - 1  # one voxel short: a rim of fluid stays
    core = (slice(2 * CLOSING_MM, -2 * CLOSING_MM),) * 3
    mask = closed[core]
    fluid = CSF_WEIGHT * np.clip(1 - gray - white, 0, 1)
    sharp = np.stack([gray, white, fluid], axis=-1) ** SHARPENING
    return sharp / sharp.sum(axis=-1, keepdims=True) * mask[..., None]


def quantize(fractions: np.ndarray) -> np.ndarray:
    """Returns uint8 `[I, J, K, 3]` in steps of 1/TEMPLATE_LEVELS; the fluid takes what rounding leaves."""
    gray = np.rint(fractions[..., 0] * TEMPLATE_LEVELS)
    white = np.minimum(np.rint(fractions[..., 1] * TEMPLATE_LEVELS), TEMPLATE_LEVELS - gray)
    fluid = TEMPLATE_LEVELS * fractions.any(axis=-1) - gray - white
    return np.stack([gray, white, fluid], axis=-1).astype(np.uint8)


def crop(fractions: np.ndarray, affine: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Cuts the box around all non-zero fractions; returns it and its affine."""
    filled = np.argwhere(fractions.any(axis=-1))
    start, stop = filled.min(axis=0), filled.max(axis=0) + 1
    moved = affine.copy()
    moved[:3, 3] += affine[:3, :3] @ start
    return fractions[tuple(slice(*pair) for pair in zip(start, stop, strict=True))], moved


def main() -> None:
    """Reads nilearn's maps and writes the template."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, required=True)
    output = parser.parse_args().output
    nilearn = importlib.util.find_spec("nilearn")
    if nilearn is None:
        sys.exit("make_template.py: nilearn is not installed; run `pip install nilearn`")
    gray, white, brain, affine = read_maps(Path(nilearn.origin).parent / "datasets" / "data")
    fractions, affine = crop(tissue_fractions(gray, white, brain), affine)
    image = nib.Nifti1Image(quantize(fractions), affine)
    image.header.set_xyzt_units("mm")
    image.header["descrip"] = b"MNI ICBM152 2009a: gray, white, CSF; (C) Louis Collins, MNI, McGill"
    aside = output.with_name(output.name + ".partial")
    aside.write_bytes(gzip.compress(image.to_bytes(), compresslevel=9, mtime=0))
    os.replace(aside, output)
    print(f"{output}: {image.shape}, {output.stat().st_size / 1e6:.2f} MB")


if __name__ == "__main__":
    main()
