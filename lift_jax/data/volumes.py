"""Volumes on disk: NIfTI in, NIfTI out, and the geometry in between.

Arrays are canonical: `array[k, j, i]` is the voxel `(i, j, k)` of nibabel's closest-canonical (RAS+) image, so that
the first axis runs from inferior to superior. A result is written on the grid of its source, whatever that file's axis
order.
"""

import contextlib
import dataclasses
import gzip
import itertools
import math
import os
import uuid
import warnings
from collections.abc import Sequence
from pathlib import Path

import nibabel as nib
import numpy as np
from nibabel.orientations import apply_orientation, inv_ornt_aff, io_orientation, ornt_transform

from lift_jax.data.geometry import SHEAR_TOLERANCE, geometry_warnings, orthonormal_part, shear_degrees
from lift_jax.data.nifti import is_gzip_name, is_nifti_name, read_nifti, read_nifti_header
from lift_jax.errors import DataWarning, UserError

GRID_TOLERANCE = 0.05
"""Share of a voxel's shortest side by which the corners of two volumes may lie apart on what counts as one grid."""

GRID_ROUNDING = 1e-3
"""Share of a voxel's shortest side by which rounding of an affine moves corners; above it a difference is reported."""

GZIP_LEVEL = 1
"""nibabel's choice: noise does not compress, and higher levels only take time."""

_CANONICAL_ORIENTATION = np.array([[0, 1], [1, 1], [2, 1]])
_DESCRIPTION_BYTES = 79  # NIfTI-1 `descrip` is 80 bytes, the last one zero


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
        return tuple(float(side) for side in np.linalg.norm(self.affine[:3, :3], axis=0)[::-1])


@dataclasses.dataclass(frozen=True)
class Volume(Grid):
    """A grid and its voxels, `array [D, H, W]` float32, scaled as the header says."""

    array: np.ndarray = dataclasses.field(repr=False)


def read_volume(path: str | os.PathLike, *, contiguous: bool = True) -> Volume:
    """Reads the one 3D volume of a `.nii` or `.nii.gz` file.

    Args:
      path: the file.
      contiguous: bring the voxels into the array's order; else it may be a view of the file's, which saves a copy.

    Raises:
      UserError: the file is missing, truncated, damaged or no NIfTI file; it holds no single volume of finite real
        numbers; or its affine cannot be used.
    """
    header, stored = read_nifti(Path(path))
    _warn_about_geometry(path, header)
    grid = _grid_of(header)
    canonical = apply_orientation(stored, io_orientation(header.get_best_affine()))
    array = np.ascontiguousarray(canonical.T) if contiguous else canonical.T
    return Volume(grid.shape, grid.affine, header, array)


def read_header(path: str | os.PathLike) -> Grid:
    """Reads the geometry of a `.nii` or `.nii.gz` file and leaves its voxels on disk; cheap for a whole data set.

    Raises:
      UserError: as `read_volume`, as far as the header and the file's size can tell.
    """
    header = read_nifti_header(Path(path))
    _warn_about_geometry(path, header)
    return _grid_of(header)


def _warn_about_geometry(path: str | os.PathLike, header: nib.Nifti1Header) -> None:
    for warning in geometry_warnings(header):
        warnings.warn(f"{path}: {warning}", DataWarning, stacklevel=3)


def write_volume(
    path: str | os.PathLike, array: np.ndarray, like: Grid, dtype=np.float32, description: str = "lift_jax"
) -> None:
    """Writes a canonical array as NIfTI on the grid that the file of `like` has on disk.

    Axis order, shape, both affines and their codes, zooms and units are those of that file; voxels are not scaled.
    Nothing else of its header is copied: names of people and of files stand there, and an intent of other voxels.
    Beside a sheared sform, which ITK does not read alone, the nearest qform without shear is written.
    The file is complete or absent: it is written under a temporary name, renamed, and replaces what was there.

    Args:
      path: ends in `.nii` or `.nii.gz`; its directory exists.
      array: `[D, H, W]`, on the canonical grid of `like`.
      like: the volume or grid whose geometry the file is given.
      dtype: the type of the stored voxels; integer types are rounded to nearest and clipped to their range.
      description: goes into the header's `descrip` field, ASCII, cut at 79 characters.

    Raises:
      UserError: the file cannot be written, for instance because the disk is full.
      ValueError: the array is not on the grid of `like`.
    """
    path = Path(path)
    if not is_nifti_name(path):
        raise UserError(f"{path}: is not named as a NIfTI file; choose a name that ends in .nii.gz or .nii")
    content = volume_image(array, like, dtype, description).to_bytes()
    if is_gzip_name(path):
        content = gzip.compress(content, GZIP_LEVEL, mtime=0)
    _atomic_write(path, content)


def volume_image(array: np.ndarray, like: Grid, dtype=np.float32, description: str = "lift_jax") -> nib.Nifti1Image:
    """A canonical array as the image that `write_volume` writes.

    Raises:
      ValueError: the array is not on the grid of `like`.
    """
    array = np.asarray(array)
    if array.shape != like.shape:
        raise ValueError(f"array of shape {array.shape} is not on a grid of shape {like.shape}")
    if np.issubdtype(dtype, np.integer):
        limits = np.iinfo(dtype)
        array = np.clip(np.rint(array), limits.min, limits.max)

    to_stored = ornt_transform(_CANONICAL_ORIENTATION, io_orientation(like.header.get_best_affine()))
    stored = apply_orientation(array.astype(dtype).T, to_stored)
    header = _result_header(like.header)
    header.set_data_dtype(dtype)
    header["descrip"] = description.encode("ascii", "replace")[:_DESCRIPTION_BYTES]
    image_class = nib.Nifti2Image if isinstance(header, nib.Nifti2Header) else nib.Nifti1Image
    # The header's own affine, so that nibabel keeps sform and qform to the bit.
    return image_class(stored.reshape(header.get_data_shape()), header.get_best_affine(), header)


_GEOMETRY_FIELDS = (
    *("dim", "pixdim", "xyzt_units", "qform_code", "sform_code"),
    *("quatern_b", "quatern_c", "quatern_d", "qoffset_x", "qoffset_y", "qoffset_z"),
    *("srow_x", "srow_y", "srow_z"),
)


def _result_header(source: nib.Nifti1Header) -> nib.Nifti1Header:
    """A fresh header with the geometry and units of another, and nothing else of it."""
    header = type(source)(endianness=source.endianness)
    for field in _GEOMETRY_FIELDS:
        header[field] = source[field]
    if shear_degrees(source.get_best_affine()) > SHEAR_TOLERANCE and source["qform_code"] == 0:
        header.set_qform(orthonormal_part(source.get_best_affine()), code=int(source["sform_code"]))
    return header


def _atomic_write(path: Path, content: bytes) -> None:
    aside = path.with_name(f".{uuid.uuid4().hex}.part")  # short, so that every name that fits can be written
    try:
        try:
            aside.write_bytes(content)
            os.replace(aside, path)
        finally:
            with contextlib.suppress(FileNotFoundError, NotADirectoryError):
                aside.unlink()
    except OSError as error:
        raise UserError(
            f"{path}: cannot be written ({error.strerror or error}); check the folder, its permissions and free space"
        ) from None


def new_geometry(shape: tuple[int, int, int], affine: np.ndarray) -> Grid:
    """The grid of a volume that comes from no file, to be stored as RAS+ in millimeters.

    Args:
      shape: `(D, H, W)`.
      affine: `[4, 4]`, voxel `(i, j, k)` to millimeters; kept as the float32 that the header holds.

    Raises:
      ValueError: the affine's axes are not in canonical order.
    """
    if not np.array_equal(io_orientation(affine), _CANONICAL_ORIENTATION):
        raise ValueError(f"the affine of a canonical grid runs right, anterior, superior; got {np.asarray(affine)}")
    header = nib.Nifti1Header()
    header.set_data_shape(shape[::-1])
    header.set_sform(affine, code="scanner")
    header.set_qform(affine, code="scanner")
    header.set_xyzt_units("mm")
    return _grid_of(header)


def same_grid(a: Grid, b: Grid) -> bool:
    """Whether two volumes have the same shape and voxels in the same places, within `GRID_TOLERANCE`."""
    return describe_difference(a, b) is None


def describe_difference(a: Grid, b: Grid) -> str | None:
    """How two grids differ, as the end of an error line; None where they are the same."""
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


def _grid_of(header: nib.Nifti1Header) -> Grid:
    shape = tuple(int(size) for size in header["dim"][1:4])
    affine = header.get_best_affine()
    orientation = io_orientation(affine)
    order = np.argsort(orientation[:, 0])  # the stored axis behind each canonical one
    canonical_shape = tuple(shape[axis] for axis in order)
    return Grid(canonical_shape[::-1], affine @ inv_ornt_aff(orientation, shape), header)
