"""MetaImage files (`.mha`) through SimpleITK, an optional library."""

import contextlib
import os
from pathlib import Path

import nibabel as nib
import numpy as np
from nibabel.orientations import apply_orientation, inv_ornt_aff, io_orientation

from lift_jax.data.volumes import Grid, Volume
from lift_jax.errors import UserError

ENDING = ".mha"
_LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])


def read_mha_header(path: str | os.PathLike) -> Grid:
    """The geometry of a file of one 3D volume; its voxels stay on disk.

    Raises:
      UserError: SimpleITK is not installed, or the file cannot be read or holds no 3D volume.
    """
    return _grid(Path(path), _opened(Path(path), voxels=False))[0]


def read_mha(path: str | os.PathLike) -> Volume:
    """The volume of a file, float32, canonical (RAS+).

    Raises:
      UserError: as `read_mha_header`; also where a voxel is not finite.
    """
    import SimpleITK

    path = Path(path)
    image = _opened(path, voxels=True)
    grid, orientation = _grid(path, image)
    stored = SimpleITK.GetArrayViewFromImage(image).T.astype(np.float32)
    array = np.ascontiguousarray(apply_orientation(stored, orientation).T)
    if not np.isfinite(array).all():
        raise UserError(f"{path}: holds voxels that are not finite; replace them, for instance by 0")
    return Volume(grid.shape, grid.affine, grid.header, array)


def _opened(path: Path, voxels: bool):
    """SimpleITK's image, or its reader with the header read; both answer the same questions of geometry."""
    try:
        import SimpleITK
    except ImportError:
        raise UserError(f"{path}: reading {ENDING} needs SimpleITK; pip install 'lift_jax[itk]'") from None
    if not path.is_file():
        raise UserError(f"{path}: no such file; check the path")
    reader = SimpleITK.ImageFileReader()
    reader.SetFileName(os.fspath(path))
    reader.SetImageIO("MetaImageIO")
    try:
        with _quiet_stderr():
            if voxels:
                return reader.Execute()
            reader.ReadImageInformation()
    except RuntimeError as error:
        reason = str(error).strip().splitlines()[-1]
        raise UserError(f"{path}: cannot be read as MetaImage ({reason}); fetch or write it again") from None
    return reader


@contextlib.contextmanager
def _quiet_stderr():
    """SimpleITK's warnings are off within."""
    import SimpleITK

    before = SimpleITK.ProcessObject.GetGlobalWarningDisplay()
    SimpleITK.ProcessObject.SetGlobalWarningDisplay(False)
    try:
        yield
    finally:
        SimpleITK.ProcessObject.SetGlobalWarningDisplay(before)


def _components(image) -> int:
    """Numbers a voxel of SimpleITK's image or reader."""
    return getattr(image, "GetNumberOfComponentsPerPixel", getattr(image, "GetNumberOfComponents", None))()


def _grid(path: Path, image) -> tuple[Grid, np.ndarray]:
    size = image.GetSize()
    if len(size) != 3:
        shape = "x".join(map(str, size))
        raise UserError(f"{path}: is {len(size)}D ({shape}); give one 3D volume")
    if _components(image) != 1:
        raise UserError(f"{path}: holds {_components(image)} numbers a voxel; convert it to one")
    affine = np.eye(4)
    affine[:3, :3] = np.reshape(image.GetDirection(), (3, 3)) * np.array(image.GetSpacing())
    affine[:3, 3] = image.GetOrigin()
    affine = _LPS_TO_RAS @ affine
    header = nib.Nifti1Header()
    header.set_data_shape(size)
    header.set_sform(affine, code="scanner")
    header.set_qform(affine, code="scanner", strip_shears=True)
    header.set_xyzt_units("mm")
    affine = header.get_best_affine()
    orientation = io_orientation(affine)
    shape = tuple(int(size[axis]) for axis in np.argsort(orientation[:, 0]))
    return Grid(shape[::-1], affine @ inv_ornt_aff(orientation, size), header), orientation
