import gzip
import os
import tracemalloc

import nibabel as nib
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lift_jax.data.volumes import read_header, read_volume
from lift_jax.errors import UserError

SHAPE = (3, 4, 5)


def small():
    voxels = np.random.default_rng(0).normal(100, 50, SHAPE).astype(np.float32)
    image = nib.Nifti1Image(voxels, np.diag([1.0, 1.0, 2.0, 1.0]))
    image.set_qform(image.affine, code="scanner")
    return image


def patched(image, **fields):
    """The bytes of a NIfTI-1 image with header fields overwritten, unchecked."""
    content = bytearray(image.to_bytes())
    header = np.ndarray((), image.header.template_dtype, content)
    for field, value in fields.items():
        header[field] = value
    return bytes(content)


NAN_AFFINE = {"srow_x": np.full(4, np.nan)}
BAD_FILES = {
    "empty": ("a.nii", b"", "is empty"),
    "no nifti": ("a.nii", b"hello, this is a text file " * 100, "does not begin with a NIfTI header"),
    "short": ("a.nii", patched(small())[:200], "does not begin with a NIfTI header"),
    "truncated": ("a.nii", patched(small())[:-1], "too small to hold them"),
    "truncated gzip": ("a.nii.gz", gzip.compress(patched(small()))[:-40], "truncated or damaged gzip"),
    "gzip without trailer": ("a.nii.gz", gzip.compress(patched(small()))[:-2], "truncated or damaged gzip"),
    "gzip of a truncated file": ("a.nii.gz", gzip.compress(patched(small())[:-1]), "holds 591 bytes"),
    "plain named gzip": ("a.nii.gz", patched(small()), "is not gzip-compressed"),
    "gzip named plain": ("a.nii", gzip.compress(patched(small())), "rename it to end in .nii.gz"),
    "magic": ("a.nii", patched(small(), magic=b"n+9"), "magic"),
    "pair": ("a.nii", patched(small(), magic=b"ni1"), "magic"),
    "absurd dimensions": (
        "a.nii.gz",
        gzip.compress(patched(small(), dim=[3, 32767, 32767, 32767, 1, 1, 1, 1])),
        "more",
    ),
    "large dimensions": ("a.nii.gz", gzip.compress(patched(small(), dim=[3, 900, 900, 900, 1, 1, 1, 1])), "too small"),
    "negative dimension": ("a.nii", patched(small(), dim=[3, -3, 4, 5, 1, 1, 1, 1]), "dimensions"),
    "zero dimension": ("a.nii", patched(small(), dim=[3, 0, 4, 5, 1, 1, 1, 1]), "dimensions"),
    "no dimensions": ("a.nii", patched(small(), dim=[0] * 8), "dimensions"),
    "2D": ("a.nii", patched(small(), dim=[2, 3, 4, 1, 1, 1, 1, 1]), "is 2D"),
    "4D": ("a.nii", patched(small(), dim=[4, 3, 4, 1, 5, 1, 1, 1]), "holds 5 volumes"),
    "rgb": ("a.nii", patched(small(), datatype=128, bitpix=24), "RGB"),
    "complex": ("a.nii", patched(small(), datatype=32, bitpix=64, dim=[3, 3, 4, 2, 1, 1, 1, 1]), "complex64"),
    "unknown type": ("a.nii", patched(small(), datatype=77), "header that cannot be used"),
    "offset": ("a.nii", patched(small(), vox_offset=17), "places the voxels at byte"),
    "offset not a number": ("a.nii", patched(small(), vox_offset=np.nan), "places the voxels at byte"),
    "offset too far": ("a.nii", patched(small(), vox_offset=1e30), "too small"),
    "affine not finite": ("a.nii", patched(small(), **NAN_AFFINE), "affine is not finite"),
    "affine zero": ("a.nii", patched(small(), srow_x=0, srow_y=0, srow_z=0), "voxel sides"),
    "affine singular": ("a.nii", patched(small(), srow_y=[1, 0, 0, 0]), "affine"),
    "affine in micrometers": ("a.nii", patched(small(), srow_x=[1000, 0, 0, 0]), "voxel sides"),
    "no voxel size": ("a.nii", patched(small(), pixdim=0, sform_code=0, qform_code=0), "cannot be used"),
    "quaternion": ("a.nii", patched(small(), quatern_b=7, sform_code=0), "cannot be used"),
    "intercept": ("a.nii", patched(small(), scl_slope=2, scl_inter=np.inf), "cannot be used"),
    "voxels not finite": ("a.nii", patched(nib.Nifti1Image(np.full(SHAPE, np.nan), np.eye(4))), "60 of 60 voxels"),
    "voxels overflow": ("a.nii", patched(nib.Nifti1Image(np.full(SHAPE, 1e300), np.eye(4))), "60 of 60 voxels"),
    "other name": ("a.mgz", patched(small()), "not named as a NIfTI file"),
}


@pytest.mark.parametrize("fault", BAD_FILES)
def test_bad_file_is_refused_in_one_line_that_names_it(tmp_path, fault):
    name, content, message = BAD_FILES[fault]
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(UserError) as error:
        read_volume(path)
    assert str(error.value).startswith(f"{path}: ") and message in str(error.value) and "\n" not in str(error.value)


def test_missing_file_and_folder_are_refused(tmp_path):
    (tmp_path / "folder.nii").mkdir()
    with pytest.raises(UserError, match="no such file"):
        read_volume(tmp_path / "absent.nii.gz")
    with pytest.raises(UserError, match="not a file"):
        read_header(tmp_path / "folder.nii")


def test_flipped_bit_in_compressed_voxels_is_found_by_the_checksum(tmp_path):
    content = bytearray(gzip.compress(patched(small()), compresslevel=0))
    content[-40] ^= 1
    (tmp_path / "a.nii.gz").write_bytes(content)
    with pytest.raises(UserError, match="CRC"):
        read_volume(tmp_path / "a.nii.gz")


def test_memory_is_not_taken_on_the_headers_word(tmp_path):
    """Eight million voxels promised; the padding after the header compresses so well that the size check lets it by."""
    padded = patched(small(), dim=[3, 200, 200, 200, 1, 1, 1, 1]) + bytes(10**6) + os.urandom(40_000)
    (tmp_path / "a.nii.gz").write_bytes(gzip.compress(padded))
    tracemalloc.start()
    with pytest.raises(UserError, match="holds 10"):
        read_volume(tmp_path / "a.nii.gz")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 16e6  # 32 MB were promised


def test_a_gzip_stream_of_several_members_is_read_whole(tmp_path):
    content = patched(small())
    (tmp_path / "a.nii.gz").write_bytes(gzip.compress(content[:400]) + gzip.compress(content[400:]))
    np.testing.assert_array_equal(read_volume(tmp_path / "a.nii.gz").array, small().get_fdata(dtype=np.float32).T)


def test_a_file_one_slice_short_is_refused(tmp_path):
    (tmp_path / "a.nii").write_bytes(patched(small())[: -4 * SHAPE[0] * SHAPE[1]])
    with pytest.raises(UserError, match="too small to hold them"):
        read_header(tmp_path / "a.nii")


@pytest.mark.parametrize("image_class", [nib.Nifti1Image, nib.Nifti2Image])
def test_big_endian_files_of_both_versions_are_read(tmp_path, image_class):
    header = image_class.header_class(endianness=">")
    image = image_class(small().get_fdata(dtype=np.float32), small().affine, header)
    image.to_filename(tmp_path / "a.nii.gz")
    np.testing.assert_array_equal(read_volume(tmp_path / "a.nii.gz").array, small().get_fdata(dtype=np.float32).T)


def test_zipped_analyze_is_refused_with_what_to_do(tmp_path):
    content = nib.AnalyzeHeader().binaryblock
    (tmp_path / "a.nii.gz").write_bytes(gzip.compress(content + bytes(300)))
    with pytest.raises(UserError, match=r"convert it to \.nii\.gz"):
        read_volume(tmp_path / "a.nii.gz")


@st.composite
def corruptions(draw):
    compressed = draw(st.booleans())
    content = bytearray(small().to_bytes())
    if compressed and draw(st.booleans()):  # damage under the compression, where no checksum helps
        damage(content, draw)
        content = bytearray(gzip.compress(bytes(content), mtime=0))
    else:
        content = bytearray(gzip.compress(bytes(content), mtime=0)) if compressed else content
        damage(content, draw)
    return ("a.nii.gz" if compressed else "a.nii"), bytes(content)


def damage(content, draw):
    for position in draw(st.lists(st.integers(0, len(content) * 8 - 1), max_size=6)):
        content[position // 8] ^= 1 << position % 8
    del content[draw(st.one_of(st.just(len(content)), st.integers(0, len(content)))) :]


@pytest.mark.filterwarnings("ignore::lift_jax.errors.DataWarning")
@settings(max_examples=300, deadline=None)
@given(corruptions())
def test_random_corruption_is_read_or_refused_within_bounded_memory(tmp_path_factory, corruption):
    name, content = corruption
    path = tmp_path_factory.getbasetemp() / name
    path.write_bytes(content)
    tracemalloc.start()
    try:
        volume = read_volume(path)
        assert np.isfinite(volume.array).all() and volume.array.shape == read_header(path).shape
    except UserError as error:
        assert "\n" not in str(error)
    finally:
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
    assert peak < 20e6
