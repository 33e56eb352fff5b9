"""NIfTI files read with suspicion: whatever the bytes, either a header and voxels that can be used, or a UserError.

nibabel interprets the header. What it leaves to the caller is done here: nothing is allocated on a header's word alone,
compressed files are read to their checksum, and every failure becomes one line that names the file.
"""

import contextlib
import gzip
import logging
import math
import os
import stat
import zlib
from pathlib import Path

import nibabel as nib
import numpy as np
from nibabel.spatialimages import HeaderDataError

from lift_jax.errors import UserError

MAX_VOXELS = 2**30
"""Voxels beyond which a volume is taken for a corrupt header: 1024³."""

VOXEL_SIZE_RANGE = (0.01, 100.0)
"""Millimeters between which a voxel's sides must lie; outside, the header is corrupt or in another unit."""

MIN_RELATIVE_DETERMINANT = 1e-3
"""|det| of the affine over the product of its voxel sides (1 where axes are perpendicular) that counts as singular."""

MAX_TRAILING_BYTES = 4096
"""Bytes that may follow the last voxel, as padding; more of them mean that the dimensions are wrong."""

MAX_OFFSET = 1e5
"""Millimeters from the origin within which the first voxel lies; float32 tells hundredths of them apart up to there."""

GZIP_SUFFIX = ".nii.gz"
PLAIN_SUFFIX = ".nii"

_GZIP_MAGIC = b"\x1f\x8b"
_DEFLATE_MAX_RATIO = 1032  # zlib's technical notes: no deflate stream expands further
_CHUNK_BYTES = 2**18  # stays in the cache of a processor
_HEADER_SIZES = {348: nib.Nifti1Header, 540: nib.Nifti2Header}
_REFUSED_REPORT_LEVEL = 30  # nibabel's scale: from here on its mend would be a guess
_FETCH_AGAIN = "fetch or write it again"

_silent_logger = logging.Logger("lift_jax.data.nifti", level=logging.CRITICAL + 1)


def is_nifti_name(path: Path) -> bool:
    """Whether a file name ends as a NIfTI file's does."""
    return path.name.lower().endswith((GZIP_SUFFIX, PLAIN_SUFFIX))


def is_gzip_name(path: Path) -> bool:
    """Whether a file name says that the file is gzip-compressed."""
    return path.name.lower().endswith(GZIP_SUFFIX)


def read_nifti_header(path: Path) -> nib.Nifti1Header:
    """The checked header of a NIfTI-1 or NIfTI-2 file that holds one 3D volume; the voxels stay on disk.

    Raises:
      UserError: the file cannot be read, is no such file, or has not the size for the voxels that its header promises.
    """
    with _opened(path) as stream:
        header, _, _ = _take_header(path, stream)
    return header


def read_nifti(path: Path) -> tuple[nib.Nifti1Header, np.ndarray]:
    """The checked header and the scaled voxels `[i, j, k]` float32, in the axis order of the file.

    Raises:
      UserError: as for `read_nifti_header`; also where the file is truncated or damaged, or a voxel is not finite.
    """
    with _opened(path) as stream:
        header, offset, head = _take_header(path, stream)
        end = offset + _data_bytes(header)
        content = _read_up_to(stream, head, end)
        trailing = len(_read_up_to(stream, b"", MAX_TRAILING_BYTES + 1))  # as far as gzip's checksum
        _check_size(path, end, len(content) + trailing)
        stored = np.ndarray(_spatial_shape(header), header.get_data_dtype(), content, offset, order="F")
        with np.errstate(all="ignore"):
            voxels = _scaled(header, stored)
    if not np.isfinite((voxels.min(), voxels.max())).all():
        unusable = voxels.size - np.count_nonzero(np.isfinite(voxels))
        raise UserError(
            f"{path}: {unusable} of {voxels.size} voxels are not finite float32 numbers; replace them, e.g. by 0"
        )
    return header, voxels


@contextlib.contextmanager
def _opened(path: Path):
    """The uncompressed bytes of a NIfTI file as a stream; failures of reading, in the body too, become UserErrors."""
    if not is_nifti_name(path):
        raise UserError(f"{path}: is not named as a NIfTI file; give one that ends in {GZIP_SUFFIX} or {PLAIN_SUFFIX}")
    try:
        if not stat.S_ISREG(path.stat().st_mode):  # to open a pipe would be to wait for it
            raise UserError(f"{path}: is not a file; give a NIfTI file")
        with open(path, "rb") as file:
            _check_compression(path, file.peek(len(_GZIP_MAGIC))[: len(_GZIP_MAGIC)])
            if is_gzip_name(path):
                with gzip.GzipFile(fileobj=file) as stream:
                    yield stream
            else:
                yield file
    except FileNotFoundError:
        if path.is_symlink():
            message = f"is a link to {os.readlink(path)}, which is not there; fetch that file or mend the link"
            raise UserError(f"{path}: {message}") from None
        raise UserError(f"{path}: no such file; check the path") from None
    except (gzip.BadGzipFile, EOFError, zlib.error) as error:
        raise UserError(f"{path}: is truncated or damaged gzip ({error}); {_FETCH_AGAIN}") from None
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror or error}); check the disk and permissions") from None
    except MemoryError:
        raise UserError(f"{path}: does not fit into memory; resample it, or use a larger machine") from None


def _check_compression(path: Path, start: bytes) -> None:
    if not start:
        raise UserError(f"{path}: is empty; {_FETCH_AGAIN}")
    if is_gzip_name(path) and start != _GZIP_MAGIC:
        raise UserError(f"{path}: is not gzip-compressed; rename it to {PLAIN_SUFFIX} if it is plain NIfTI")
    if not is_gzip_name(path) and start == _GZIP_MAGIC:
        raise UserError(f"{path}: is gzip-compressed; rename it to end in {GZIP_SUFFIX}")


def _take_header(path: Path, stream) -> tuple[nib.Nifti1Header, int, bytes]:
    """The checked header, the offset of the voxels in bytes, and the bytes consumed from the stream."""
    head = stream.read(max(_HEADER_SIZES))
    header = _parse_header(path, head)
    try:
        offset = int(header["vox_offset"])
    except (ValueError, OverflowError):  # not finite
        offset = -1
    if offset != 0 and offset < header.single_vox_offset:
        raise UserError(f"{path}: its header places the voxels at byte {header['vox_offset']}; {_FETCH_AGAIN}")
    offset = max(offset, header.single_vox_offset)
    header["vox_offset"] = 0  # unset: nibabel chooses it on writing
    _check_header(path, header)

    promised = offset + _data_bytes(header)
    held = path.stat().st_size * (_DEFLATE_MAX_RATIO if is_gzip_name(path) else 1)
    if promised > held:
        shape = "x".join(map(str, header.get_data_shape()))
        raise UserError(
            f"{path}: its header promises {shape} voxels, {promised} bytes, but the file is too small to hold them; "
            f"{_FETCH_AGAIN}"
        )
    if not is_gzip_name(path):
        _check_size(path, promised, held)
    return header, offset, head


def _check_size(path: Path, promised: int, held: int) -> None:
    if held < promised:
        raise UserError(f"{path}: holds {held} bytes where its header promises {promised}; {_FETCH_AGAIN}")
    if held > promised + MAX_TRAILING_BYTES:
        raise UserError(
            f"{path}: holds more than the {promised} bytes that its header promises, so its dimensions are wrong; "
            f"{_FETCH_AGAIN}"
        )


def _parse_header(path: Path, head: bytes) -> nib.Nifti1Header:
    for byte_order in ("little", "big"):
        size = int.from_bytes(head[:4], byte_order)
        if size in _HEADER_SIZES and len(head) >= size:
            endianness = "<" if byte_order == "little" else ">"
            header = _HEADER_SIZES[size](head[:size], endianness, check=False)
            break
    else:
        raise UserError(f"{path}: does not begin with a NIfTI header; give a NIfTI file")
    if header["magic"].item() != header.single_magic:
        raise UserError(f"{path}: lacks the magic word of a single-file NIfTI; convert it to {GZIP_SUFFIX}")
    return header


def _check_header(path: Path, header: nib.Nifti1Header) -> None:
    """Refuses what no volume can be made of: dimensions, voxel type, scaling, affine."""
    dimensions = int(header["dim"][0])
    sizes = [int(size) for size in header["dim"][1 : max(dimensions, 0) + 1]]
    shape = "x".join(map(str, sizes))
    if not 1 <= dimensions <= 7 or min(sizes) < 1:
        raise UserError(f"{path}: its header has dimensions {header['dim'].tolist()}; {_FETCH_AGAIN}")
    if dimensions < 3:
        raise UserError(f"{path}: is {dimensions}D ({shape}); give one 3D volume")
    if math.prod(sizes[3:]) > 1:
        raise UserError(f"{path}: holds {math.prod(sizes[3:])} volumes ({shape}); give one 3D volume")
    if math.prod(sizes) > MAX_VOXELS:
        raise UserError(f"{path}: its header promises {shape} voxels, more than {MAX_VOXELS}; {_FETCH_AGAIN}")
    try:
        with np.errstate(all="ignore"):
            header.check_fix(logger=_silent_logger, error_level=_REFUSED_REPORT_LEVEL)
            header.get_slope_inter()
            affine = header.get_best_affine()
    except (HeaderDataError, ValueError) as error:
        raise UserError(f"{path}: has a NIfTI header that cannot be used ({error}); {_FETCH_AGAIN}") from None
    if header.get_data_dtype().kind not in "iuf":
        name = header.get_value_label("datatype")
        raise UserError(f"{path}: holds {name} voxels; convert it to one real number a voxel")
    _check_affine(path, affine)


def _check_affine(path: Path, affine: np.ndarray) -> None:
    mend = "repair it, for instance by copying the affine of a registered volume"
    if not np.isfinite(affine).all():
        raise UserError(f"{path}: its affine is not finite; {mend}")
    with np.errstate(over="ignore"):
        sides = np.linalg.norm(affine[:3, :3], axis=0)
    smallest, largest = VOXEL_SIZE_RANGE
    if sides.min() < smallest or sides.max() > largest:
        listed = ", ".join(f"{side:g}" for side in sides)
        raise UserError(f"{path}: its affine has voxel sides ({listed}) mm outside {smallest:g} to {largest:g}; {mend}")
    if np.abs(affine[:3, 3]).max() > MAX_OFFSET:
        listed = ", ".join(f"{offset:g}" for offset in affine[:3, 3])
        raise UserError(f"{path}: its affine places the first voxel at ({listed}) mm, farther than any scanner; {mend}")
    if abs(np.linalg.det(affine[:3, :3] / sides)) < MIN_RELATIVE_DETERMINANT:
        raise UserError(f"{path}: its affine is singular; {mend}")


def _spatial_shape(header: nib.Nifti1Header) -> tuple[int, ...]:
    return tuple(int(size) for size in header["dim"][1:4])


def _data_bytes(header: nib.Nifti1Header) -> int:
    return math.prod(_spatial_shape(header)) * header.get_data_dtype().itemsize


def _read_up_to(stream, head: bytes, end: int) -> bytearray:
    """The first `end` bytes of a stream of which `head` has been read, or all there are; grows as they come."""
    content = bytearray(head)
    while len(content) < end:
        chunk = stream.read(min(_CHUNK_BYTES, end - len(content)))
        if not chunk:
            break
        content += chunk
    return content


def _scaled(header: nib.Nifti1Header, stored: np.ndarray) -> np.ndarray:
    """Voxels in the header's unit: `stored * slope + intercept`, computed in float64, kept as float32."""
    slope, intercept = header.get_slope_inter()
    if slope is None or (slope, intercept) == (1, 0):
        return stored.astype(np.float32)
    voxels = np.empty(stored.shape, np.float32, order="F")
    for k in range(stored.shape[2]):  # a slice at a time stays in the processor's cache, twice as fast as all at once
        voxels[..., k] = stored[..., k] * np.float64(slope) + intercept
    return voxels
