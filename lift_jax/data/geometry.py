"""Where voxels lie: grids, how two of them differ, headers that contradict themselves, and depth coordinates.

Arrays are canonical: `array[k, j, i]` is the voxel `(i, j, k)` of nibabel's closest-canonical (RAS+) image, so that
the first axis runs from inferior to superior. The sform of a header is used where it is coded, then the qform, then the
voxel sides alone, as NIfTI-1 asks. Other readers may follow another rule, so every contradiction is a warning.
"""

import dataclasses
import itertools
import math
from collections.abc import Iterator, Sequence

import nibabel as nib
import numpy as np
from nibabel.orientations import inv_ornt_aff, io_orientation
from nibabel.spatialimages import HeaderDataError

GRID_TOLERANCE = 0.05
"""Share of a voxel's shortest side by which the corners of two volumes may lie apart on what counts as one grid."""

GRID_ROUNDING = 1e-3
"""Share of a voxel's shortest side by which rounding of an affine moves corners; above it a difference is reported."""

SIDE_TOLERANCE = 1e-3
"""Relative difference between the voxel sides of the affine and those of `pixdim`; more is no rounding."""

SHEAR_TOLERANCE = 0.05
"""Degrees off right angles that rounding of an oblique affine explains; ITK refuses an sform beyond about this."""

CANONICAL_ORIENTATION = np.array([[0, 1], [1, 1], [2, 1]])


@dataclasses.dataclass(frozen=True)
class Grid:
    """Where the voxels of a volume lie, and how the file they come from stores them.

    Attributes:
      shape: `(D, H, W)` of the canonical array.
      affine: `[4, 4]` float64, voxel `(i, j, k)` of the canonical grid to millimeters (RAS+).
      header: the file's own NIfTI header, from which axis order, affines and their codes, zooms and units are written
        back. Shared, never modified.
    """

    shape: tuple[int, int, int]
    affine: np.ndarray
    header: nib.Nifti1Header = dataclasses.field(repr=False)

    @property
    def spacing(self) -> tuple[float, float, float]:
        """Voxel sides in millimeters along `(D, H, W)`."""
        return voxel_sides(self.affine)


def voxel_sides(affine: np.ndarray) -> tuple[float, float, float]:
    """Voxel sides in millimeters along `(D, H, W)` of an affine `[4, 4]`."""
    width, height, depth = np.linalg.norm(affine[:3, :3], axis=0).tolist()
    return depth, height, width


def grid_of(header: nib.Nifti1Header) -> Grid:
    """The canonical grid of a header whose affine can be used."""
    shape = tuple(int(size) for size in header["dim"][1:4])
    affine = header.get_best_affine()
    orientation = io_orientation(affine)
    first, second, third = (shape[axis] for axis in np.argsort(orientation[:, 0]))  # stored axes behind canonical ones
    return Grid((third, second, first), affine @ inv_ornt_aff(orientation, shape), header)


def new_geometry(shape: tuple[int, int, int], affine: np.ndarray) -> Grid:
    """The grid of a volume that comes from no file, to be stored as RAS+ in millimeters.

    Args:
      shape: `(D, H, W)`.
      affine: `[4, 4]`, voxel `(i, j, k)` to millimeters; kept as the float32 that the header holds.

    Raises:
      ValueError: the affine's axes are not in canonical order.
    """
    if not np.array_equal(io_orientation(affine), CANONICAL_ORIENTATION):
        raise ValueError(f"the affine of a canonical grid runs right, anterior, superior; got {np.asarray(affine)}")
    return grid_of(new_header(shape[::-1], affine))


def new_header(shape_ijk: Sequence[int], affine: np.ndarray) -> nib.Nifti1Header:
    """A header of millimeters in scanner coordinates; the qform has no shear."""
    header = nib.Nifti1Header()
    header.set_data_shape(shape_ijk)
    header.set_sform(affine, code="scanner")
    header.set_qform(affine, code="scanner", strip_shears=True)
    header.set_xyzt_units("mm")
    return header


def describe_difference(a: Grid, b: Grid) -> str | None:
    """How two grids differ, as the end of an error line; None where they are the same within `GRID_TOLERANCE`."""
    if a.shape != b.shape:
        first, second = ("x".join(map(str, grid.shape[::-1])) for grid in (a, b))
        return f"shapes differ ({first} and {second} voxels, in RAS order)"
    distance = corner_distance(a.affine, b.affine, a.shape[::-1])
    if not distance <= GRID_TOLERANCE * min(a.spacing):
        return f"affines differ (by up to {distance:.3g} mm)"
    return None


def describe_offset(a: Grid, b: Grid) -> str | None:
    """How far apart two grids lie that count as the same, for a warning; None where it is rounding."""
    distance = corner_distance(a.affine, b.affine, a.shape[::-1])
    return f"lies up to {distance:.2g} mm" if distance > GRID_ROUNDING * min(a.spacing) else None


def corner_distance(a: np.ndarray, b: np.ndarray, shape_ijk: Sequence[int]) -> float:
    """Millimeters by which two affines place the corners of a volume apart, at most; infinite beyond all floats."""
    corners = np.array(list(itertools.product(*((0, int(size) - 1) for size in shape_ijk), (1,)))).T
    with np.errstate(over="ignore", invalid="ignore"):
        distance = np.linalg.norm(((a - b) @ corners)[:3], axis=0).max()
    return math.inf if np.isnan(distance) else float(distance)


def geometry_warnings(header: nib.Nifti1Header) -> Iterator[str]:
    """Yields what deserves a look in the geometry of a checked header: the ends of lines that begin with the file."""
    affine = header.get_best_affine()
    sides = np.linalg.norm(affine[:3, :3], axis=0)
    qform = _coded_qform(header)
    if header["sform_code"] > 0 and qform is not None:
        distance = corner_distance(affine, qform, header["dim"][1:4])
        if not np.isfinite(qform).all():
            yield "has a qform that cannot be used; its sform is used"
        elif distance > GRID_TOLERANCE * sides.min():
            other = np.linalg.norm(qform[:3, :3], axis=0)
            yield (
                f"its sform and qform are up to {distance:.3g} mm apart ({_listed(sides)} and {_listed(other)} mm "
                "voxels); its sform is used; write the right one to both"
            )
    elif header["sform_code"] > 0:
        zooms = np.abs(np.array(header["pixdim"][1:4], dtype=np.float64))
        if not np.allclose(zooms, sides, rtol=SIDE_TOLERANCE, atol=0):
            yield (
                f"its sform has voxels of {_listed(sides)} mm and its pixdim says {_listed(zooms)} mm; "
                "its sform is used; write the right sides to both"
            )
    shear = shear_degrees(affine)
    if shear > SHEAR_TOLERANCE:
        yield f"its axes are up to {shear:.2g} degrees off right angles; it is used as if they were not; resample it"


def shear_degrees(affine: np.ndarray) -> float:
    """The largest deviation from a right angle between two axes of an affine `[4, 4]`, in degrees."""
    axes = affine[:3, :3] / np.linalg.norm(affine[:3, :3], axis=0)
    return float(np.degrees(np.arcsin(np.clip(np.abs(axes.T @ axes - np.eye(3)).max(), 0, 1))))


def _coded_qform(header: nib.Nifti1Header) -> np.ndarray | None:
    """The qform `[4, 4]` if it is coded; of NaN where its quaternion cannot be used."""
    try:
        with np.errstate(all="ignore"):
            return header.get_qform(coded=True)[0]
    except (HeaderDataError, ValueError):
        return np.full((4, 4), np.nan)


def _listed(sides: np.ndarray) -> str:
    return "x".join(f"{side:.4g}" for side in sides)


def slice_centers(slices: int) -> np.ndarray:
    """Centers of slices that divide the field of view [-1, 1], `(2i + 1)/D - 1`, from inferior to superior: `[D]`.

    Of LiFT-U, which may sample another number of slices than it was trained on: a slice of `trained/D` times the
    thickness then lies where the head has it. Float32.
    """
    return ((2 * np.arange(slices) + 1) / slices - 1).astype(np.float32)


def depth_coordinates(slices: int) -> np.ndarray:
    """Ranks of slices from inferior to superior, -1 the first and 1 the last, `[D]` float32; a lone slice lies at 0.

    Of LiFT-C's z-mixer, to which they tell the ends of a volume apart from what lies within, whatever its depth. They
    are no positions in millimeters; for those see `slice_centers`.
    """
    return np.linspace(-1, 1, slices, dtype=np.float32) if slices > 1 else np.zeros(1, np.float32)
