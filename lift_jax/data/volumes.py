"""Volumes on disk: NIfTI and MetaImage in, NIfTI out. A result is written on the grid of its source's file."""

import contextlib
import dataclasses
import gzip
import os
import uuid
import warnings
from pathlib import Path

import nibabel as nib
import numpy as np
from nibabel.orientations import apply_orientation, io_orientation, ornt_transform

from lift_jax.data.geometry import (
    CANONICAL_ORIENTATION,
    SHEAR_TOLERANCE,
    Grid,
    geometry_warnings,
    grid_of,
    new_header,
    shear_degrees,
)
from lift_jax.data.nifti import is_gzip_name, is_nifti_name, read_nifti, read_nifti_header
from lift_jax.errors import DataWarning, UserError

GZIP_LEVEL = 1
"""nibabel's choice: noise does not compress, and higher levels only take time."""

MHA = ".mha"
"""Ending of MetaImage files, read through SimpleITK, an optional library."""

_DESCRIPTION_BYTES = 79  # NIfTI-1 `descrip` is 80 bytes, the last one zero
_LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])
_GEOMETRY_FIELDS = (
    *("dim", "pixdim", "xyzt_units", "qform_code", "sform_code"),
    *("quatern_b", "quatern_c", "quatern_d", "qoffset_x", "qoffset_y", "qoffset_z"),
    *("srow_x", "srow_y", "srow_z"),
)


@dataclasses.dataclass(frozen=True)
class Volume(Grid):
    """A grid and its voxels, `array [D, H, W]` float32, scaled as the header says."""

    array: np.ndarray = dataclasses.field(repr=False)


def read_volume(path: str | os.PathLike) -> Volume:
    """Reads the one 3D volume of a `.nii`, `.nii.gz` or `.mha` file, float32, canonical (RAS+).

    Raises:
      UserError: the file is missing, truncated, damaged or of another kind; it holds no single volume of finite real
        numbers; its affine cannot be used; or SimpleITK is not installed for `.mha`.
    """
    path = Path(path)
    if _is_mha(path):
        header, stored = _read_mha(path)
    else:
        header, stored = read_nifti(path)
        _warn_about_geometry(path, header)
    canonical = apply_orientation(stored, io_orientation(header.get_best_affine()))
    grid = grid_of(header)
    return Volume(grid.shape, grid.affine, header, np.ascontiguousarray(canonical.T))


def read_header(path: str | os.PathLike) -> Grid:
    """Reads the geometry of a `.nii`, `.nii.gz` or `.mha` file and leaves its voxels on disk.

    Raises:
      UserError: as `read_volume`, as far as the header and the file's size can tell.
    """
    path = Path(path)
    if _is_mha(path):
        return grid_of(_mha_header(path, _open_mha(path, voxels=False)))
    header = read_nifti_header(path)
    _warn_about_geometry(path, header)
    return grid_of(header)


def _warn_about_geometry(path: Path, header: nib.Nifti1Header) -> None:
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

    to_stored = ornt_transform(CANONICAL_ORIENTATION, io_orientation(like.header.get_best_affine()))
    stored = apply_orientation(array.astype(dtype).T, to_stored)
    header = _result_header(like.header)
    header.set_data_dtype(dtype)
    header["descrip"] = description.encode("ascii", "replace")[:_DESCRIPTION_BYTES]
    image_class = nib.Nifti2Image if isinstance(header, nib.Nifti2Header) else nib.Nifti1Image
    # The header's own affine, so that nibabel keeps sform and qform to the bit.
    return image_class(stored.reshape(header.get_data_shape()), header.get_best_affine(), header)


def _result_header(source: nib.Nifti1Header) -> nib.Nifti1Header:
    """A fresh header with the geometry and units of another, and nothing else of it."""
    header = type(source)(endianness=source.endianness)
    for field in _GEOMETRY_FIELDS:
        header[field] = source[field]
    if shear_degrees(source.get_best_affine()) > SHEAR_TOLERANCE and source["qform_code"] == 0:
        header.set_qform(source.get_best_affine(), code=int(source["sform_code"]), strip_shears=True)
    return header


def _is_mha(path: Path) -> bool:
    return path.name.lower().endswith(MHA)


def _read_mha(path: Path) -> tuple[nib.Nifti1Header, np.ndarray]:
    """The geometry of a MetaImage file as a NIfTI header, and its voxels `[i, j, k]` float32."""
    image = _open_mha(path, voxels=True)
    header = _mha_header(path, image)
    import SimpleITK

    stored = SimpleITK.GetArrayViewFromImage(image).T.astype(np.float32)
    if not np.isfinite(stored).all():
        raise UserError(f"{path}: holds voxels that are not finite; replace them, for instance by 0")
    return header, stored


def _open_mha(path: Path, *, voxels: bool):
    """SimpleITK's image, or its reader with the header read; both answer the same questions of geometry."""
    try:
        import SimpleITK
    except ImportError:
        raise UserError(f"{path}: reading {MHA} needs SimpleITK; pip install 'lift_jax[itk]'") from None
    if not path.is_file():
        raise UserError(f"{path}: no such file; check the path")
    reader = SimpleITK.ImageFileReader()
    reader.SetFileName(os.fspath(path))
    reader.SetImageIO("MetaImageIO")
    loud = SimpleITK.ProcessObject.GetGlobalWarningDisplay()
    SimpleITK.ProcessObject.SetGlobalWarningDisplay(False)
    try:
        if voxels:
            return reader.Execute()
        reader.ReadImageInformation()
    except RuntimeError as error:
        reason = str(error).strip().splitlines()[-1]
        raise UserError(f"{path}: cannot be read as MetaImage ({reason}); fetch or write it again") from None
    finally:
        SimpleITK.ProcessObject.SetGlobalWarningDisplay(loud)
    return reader


def _mha_header(path: Path, image) -> nib.Nifti1Header:
    """The geometry of SimpleITK's image or reader as a NIfTI header."""
    size = image.GetSize()
    if len(size) != 3:
        shape = "x".join(map(str, size))
        raise UserError(f"{path}: is {len(size)}D ({shape}); give one 3D volume")
    of_image = hasattr(image, "GetNumberOfComponentsPerPixel")
    components = image.GetNumberOfComponentsPerPixel() if of_image else image.GetNumberOfComponents()
    if components != 1:
        raise UserError(f"{path}: holds {components} numbers a voxel; convert it to one")
    affine = np.eye(4)
    affine[:3, :3] = np.reshape(image.GetDirection(), (3, 3)) * np.array(image.GetSpacing())
    affine[:3, 3] = image.GetOrigin()
    return new_header(size, _LPS_TO_RAS @ affine)
