"""What a NIfTI header says of its geometry, and where it contradicts itself.

One rule for all files: the sform is used where it is coded, then the qform, then the voxel sides alone, as NIfTI-1
asks. Whoever else reads the file may follow another rule, so every contradiction is a warning.
"""

from collections.abc import Iterator

import nibabel as nib
import numpy as np
from nibabel.spatialimages import HeaderDataError

FORM_TOLERANCE = 0.05
"""Share of a voxel by which sform and qform may place a corner of the volume apart; more is no rounding."""

SIDE_TOLERANCE = 1e-3
"""Relative difference between the voxel sides of the affine and those of `pixdim`; more is no rounding."""

SHEAR_TOLERANCE = 0.05
"""Degrees off right angles that rounding of an oblique affine explains; ITK refuses an sform beyond about this."""


def geometry_warnings(header: nib.Nifti1Header) -> Iterator[str]:
    """Yields what deserves a look in the geometry of a checked header: the ends of lines that begin with the file."""
    shape = np.array(header["dim"][1:4], dtype=int)
    affine = header.get_best_affine()
    sides = np.linalg.norm(affine[:3, :3], axis=0)
    qform = _coded_qform(header)
    if header["sform_code"] > 0 and qform is not None:
        distance = _largest_corner_distance(affine, qform, shape)
        if not np.isfinite(qform).all():
            yield "has a qform that cannot be used; its sform is used"
        elif distance > FORM_TOLERANCE * sides.min():
            yield (
                f"its sform and qform are up to {distance:.3g} mm apart ({_sides(sides)} and "
                f"{_sides(np.linalg.norm(qform[:3, :3], axis=0))} mm voxels); its sform is used; "
                "write the right one to both"
            )
    elif header["sform_code"] > 0:
        zooms = np.abs(np.array(header["pixdim"][1:4], dtype=np.float64))
        if not np.allclose(zooms, sides, rtol=SIDE_TOLERANCE, atol=0):
            yield (
                f"its sform has voxels of {_sides(sides)} mm and its pixdim says {_sides(zooms)} mm; "
                "its sform is used; write the right sides to both"
            )
    shear = shear_degrees(affine)
    if shear > SHEAR_TOLERANCE:
        yield f"its axes are up to {shear:.2g} degrees off right angles; it is used as if they were not; resample it"


def shear_degrees(affine: np.ndarray) -> float:
    """The largest deviation from a right angle between two axes of an affine `[4, 4]`, in degrees."""
    axes = affine[:3, :3] / np.linalg.norm(affine[:3, :3], axis=0)
    return float(np.degrees(np.arcsin(np.clip(np.abs(axes.T @ axes - np.eye(3)).max(), 0, 1))))


def orthonormal_part(affine: np.ndarray) -> np.ndarray:
    """The affine `[4, 4]` with the same voxel sides and origin whose axes are the nearest perpendicular ones."""
    sides = np.linalg.norm(affine[:3, :3], axis=0)
    left, _, right = np.linalg.svd(affine[:3, :3] / sides)
    result = np.array(affine, dtype=np.float64)
    result[:3, :3] = left @ right * sides
    return result


def _coded_qform(header: nib.Nifti1Header) -> np.ndarray | None:
    """The qform `[4, 4]` if it is coded; of NaN where its quaternion cannot be used."""
    try:
        with np.errstate(all="ignore"):
            return header.get_qform(coded=True)[0]
    except (HeaderDataError, ValueError):
        return np.full((4, 4), np.nan)


def _largest_corner_distance(a: np.ndarray, b: np.ndarray, shape: np.ndarray) -> float:
    corners = np.array([(i, j, k, 1) for i in (0, 1) for j in (0, 1) for k in (0, 1)], dtype=float)
    corners[:, :3] *= shape - 1
    with np.errstate(over="ignore", invalid="ignore"):
        return float(np.linalg.norm(((a - b) @ corners.T)[:3], axis=0).max())


def _sides(sides: np.ndarray) -> str:
    return "x".join(f"{side:.4g}" for side in sides)
