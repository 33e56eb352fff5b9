"""What is wrong with data sets that others made, kind by kind: what a user reads, or that it is accepted.

Every kind goes through the loader of its data set, the check that training begins with and the report over a data set,
which have to agree.
"""

import gzip
import os
import shutil
import time
import warnings
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from lift_jax.data.check import check_subjects
from lift_jax.data.datasets import DATASETS, find_subjects, scan
from lift_jax.data.intensity import get_protocol
from lift_jax.data.naming import with_channels
from lift_jax.data.scans import ScannedSubjects, check_headers
from lift_jax.data.volumes import read_header, read_volume
from lift_jax.errors import DataWarning, UserError
from tests.data import written_scans
from tests.data.test_nifti import patched
from tests.data.written_scans import body, ct, section

SHAPE = (20, 18, 16)  # stored axis order; no side that is remarked upon as small
LAS = np.diag([-1.0, 1.0, 1.5, 1.0])
SECONDS = 5.0  # far beyond what any refusal takes on a slow machine, far below a hang


CHANNELS = {name: get_protocol("mr_quantile") for name in DATASETS["brats"].channels}
PAIR = {"mr": get_protocol("mr_foreground"), "ct": get_protocol("ct_hu")}


def voxels(seed=9):
    return written_scans.brain(seed).astype(np.int16)


def found(root, dataset="brats"):
    protocols = CHANNELS if dataset == "brats" else PAIR
    subjects = scan(section(root=root, dataset=dataset, channels=dict.fromkeys(protocols, "")))
    return with_channels(subjects, protocols)


def load(root, dataset="brats"):
    return ScannedSubjects(found(root, dataset), CHANNELS if dataset == "brats" else PAIR).load(0)


def check_start(root, dataset="brats"):
    """What training begins with."""
    check_headers(found(root, dataset))


def check(root, dataset="brats", **options):
    """The errors and warnings of the only subject of a data set, those of names included."""
    protocols = CHANNELS if dataset == "brats" else PAIR
    names = find_subjects(section(root=root, dataset=dataset, channels=dict.fromkeys(protocols, "")))
    (issues,) = check_subjects(with_channels(names.subjects, protocols), protocols, **options)
    return [*names.errors, *issues.errors], [*names.warnings, *issues.warnings]


def image(array=None, affine=LAS, image_class=nib.Nifti1Image):
    result = image_class(voxels() if array is None else array, affine)
    result.set_qform(affine, code="scanner" if np.array_equal(affine, np.diag(np.diag(affine))) else 0)
    return result


def write(path, content, compressed=None):
    compressed = path.name.lower().endswith(".gz") if compressed is None else compressed
    path.write_bytes(gzip.compress(content, 1, mtime=0) if compressed else content)


def header(image_class=nib.Nifti1Image, **fields):
    """Fields of the header overwritten, unchecked."""
    return lambda path: write(path, patched(image(image_class=image_class), **fields))


def data(array, affine=LAS, image_class=nib.Nifti1Image):
    return lambda path: write(path, image(array, affine, image_class).to_bytes())


def raw(make):
    """The file's bytes changed by `make`, which is given them."""
    return lambda path: path.write_bytes(make(path.read_bytes()))


def with_value(value):
    array = voxels().astype(np.float32)
    array[5, 5, 5] = value
    return data(array)


def flipped(position):
    def make(content):
        content = bytearray(content)
        content[position] ^= 0x10
        return bytes(content)

    return make


def stored_bit_flipped(path):
    """A bit of a voxel flipped in a gzip file of stored blocks, which only the checksum shows."""
    path.write_bytes(flipped(-100)(gzip.compress(image().to_bytes(), 0)))


def unsigned_eight_bytes(path):
    write(path, nib.Nifti1Image(voxels().astype(np.uint64), LAS, dtype=np.uint64).to_bytes())


def big_endian(path):
    result = nib.Nifti1Image(voxels(), LAS, nib.Nifti1Header(endianness=">"))
    write(path, result.to_bytes())


def moved(millimeters):
    affine = LAS.copy()
    affine[0, 3] += millimeters
    return affine


def sheared(degrees):
    affine = LAS.copy()
    affine[0, 1] = np.tan(np.radians(degrees))
    return affine


def replaced_by(make):
    def maker(path):
        path.unlink()
        make(path)

    return maker


def renamed(name):
    """The file under another name, which `name` makes of its own; compressed or plain as the new name says."""

    def maker(path):
        content = gzip.decompress(path.read_bytes())
        path.unlink()
        write(path.with_name(name(path.name)), content)

    return maker


def beside(name):
    """A second file, whose name `name` makes of the first's."""
    return lambda path: write(path.with_name(name(path.name)), image().to_bytes())


def in_another_axis_order(array):
    """The same voxels in the same places, stored along other axes."""
    return lambda path: write(path, image(array).as_reoriented(np.array([[2, -1], [0, 1], [1, -1]])).to_bytes())


def linked(path):
    target = path.with_name("elsewhere")
    path.rename(target)
    path.symlink_to(target)


def huge(path):
    """Two thousand million voxels on disk, all of them there, none of them written."""
    path.unlink()
    path = path.with_name(path.name.removesuffix(".gz"))
    path.write_bytes(patched(image(), dim=[3, 1300, 1300, 1200, 1, 1, 1, 1], datatype=2, bitpix=8))
    os.truncate(path, 352 + 1300 * 1300 * 1200)


REFUSED = {
    # kind: (what makes it of a good file, words of the line, whether headers and names alone show it)
    "empty file": (raw(lambda content: b""), "is empty; fetch", True),
    "text": (raw(lambda content: b"not an image\n" * 99), "is not gzip-compressed", True),
    "page of an expired link": (raw(lambda content: b"<!DOCTYPE html><html>"), "is not gzip-compressed", True),
    "compressed text": (lambda path: write(path, b"not an image\n" * 99), "does not begin with a NIfTI header", True),
    "gzip cut in half": (raw(lambda content: content[: len(content) // 2]), "truncated or damaged gzip", False),
    "gzip cut in its header": (raw(lambda content: content[:12]), "truncated or damaged gzip", True),
    "gzip without checksum": (raw(lambda content: content[:-6]), "truncated or damaged gzip", False),
    "gzip with a flipped bit": (raw(flipped(700)), "truncated or damaged gzip", False),
    "stored voxel with a flipped bit": (stored_bit_flipped, "CRC", False),
    "gzip with rubbish behind": (raw(lambda content: content + b"rubbish"), "truncated or damaged gzip", False),
    "gzip of a part": (lambda path: write(path, image().to_bytes()[:-9]), "where its header promises", False),
    "plain file named .nii.gz": (lambda path: write(path, image().to_bytes(), False), "rename it to .nii", True),
    "wrong magic": (header(magic=b"n+7"), "lacks the magic word", True),
    "magic of a pair": (header(magic=b"ni1"), "lacks the magic word", True),
    "a thousand million voxels claimed": (header(dim=[3, 1000, 1000, 1000, 1, 1, 1, 1]), "too small to hold", True),
    "more voxels than any volume": (header(dim=[3, 32767, 32767, 32767, 1, 1, 1, 1]), "more than 1073741824", True),
    "more voxels than any volume, all there": (huge, "more than 1073741824", True),
    "half of the voxels' bytes": (header(datatype=256, bitpix=8), "holds more than the 6112 bytes", False),
    "a dimension of zero": (header(dim=[3, 20, 0, 16, 1, 1, 1, 1]), "has dimensions", True),
    "a negative dimension": (header(dim=[3, 20, -18, 16, 1, 1, 1, 1]), "has dimensions", True),
    "nine axes": (header(dim=[9, 20, 18, 16, 1, 1, 1, 1]), "has dimensions", True),
    "voxels inside the header": (header(vox_offset=100), "places the voxels at byte", True),
    "zooms of zero": (header(pixdim=[1, 0, 0, 0, 0, 0, 0, 0]), "pixdim[1,2,3] should be non-zero", True),
    "negative zooms": (header(pixdim=[1, 1, -1, 1, 0, 0, 0, 0]), "pixdim[1,2,3] should be positive", True),
    "singular affine": (header(srow_y=[1, 0, 0, 0], srow_x=[1, 0, 0, 0]), "its affine", True),
    "affine of zeros": (header(srow_x=0, srow_y=0, srow_z=0), "voxel sides (0, 0, 0) mm", True),
    "flat affine": (data(voxels(), sheared(89.99)), "its affine", True),
    "affine not finite": (header(srow_z=np.full(4, np.nan)), "its affine is not finite", True),
    "affine beyond reason": (header(nib.Nifti2Image, srow_x=[1e250, 0, 0, 0]), "voxel sides (inf, 1, 1.5)", True),
    "affine far away": (header(nib.Nifti2Image, srow_x=[-1, 0, 0, 1e308]), "at (1e+308, 0, 0) mm, farther", True),
    "affine in meters": (data(voxels(), np.diag([-0.001, 0.001, 0.0015, 1])), "voxel sides (0.001", True),
    "2D": (data(voxels()[:, :, 0]), "is 2D", True),
    "4D": (data(np.stack([voxels()] * 3, -1)), "holds 3 volumes (20x18x16x3)", True),
    "RGB": (header(datatype=128, bitpix=24, dim=[3, 10, 10, 10, 1, 1, 1, 1]), "RGB voxels; convert", True),
    "complex": (data(voxels().astype(np.complex64)), "complex64 voxels; convert", True),
    "single bits": (header(datatype=1, bitpix=1), "cannot be used", True),
    "unknown voxel type": (header(datatype=99), "cannot be used", True),
    "a voxel not a number": (with_value(np.nan), "1 of 5760 voxels are not finite", False),
    "an infinite voxel": (with_value(-np.inf), "1 of 5760 voxels are not finite", False),
    "a double beyond float32": (data(voxels() * 1e40), "voxels are not finite float32 numbers", False),
    "scaling that overflows": (header(scl_slope=3e38, scl_inter=0), "voxels are not finite float32 numbers", False),
    "intercept not a number": (header(scl_slope=2, scl_inter=np.nan), "cannot be used", True),
    "all zero": (data(np.zeros(SHAPE, np.int16)), "has an empty foreground", False),
    "one value": (data(np.full(SHAPE, 7, np.int16)), "has an empty foreground", False),
    "one bright voxel": (data(np.eye(1, 5760).reshape(SHAPE).astype(np.int16)), "has an empty foreground", False),
    "link to itself": (replaced_by(lambda path: path.symlink_to(path)), "cannot be read (Too many", True),
    "link to nowhere": (replaced_by(lambda path: path.symlink_to("absent")), "link to absent, which is not", True),
    "folder named as a file": (replaced_by(Path.mkdir), "is not a file", True),
    "pipe": (replaced_by(os.mkfifo), "is not a file", True),
    "compressed and plain": (beside(lambda name: name.removesuffix(".gz")), "A has 2 files of t1c", True),
    "two spellings": (beside(lambda name: name.replace(".nii", ".NII")), "A has 2 files of t1c", True),
    "compressed file named .nii": (
        replaced_by(lambda path: write(path.with_name("A-t1c.nii"), image().to_bytes(), True)),
        "rename it to end in .nii.gz",
        True,
    ),
    "shifted grid": (data(voxels(), moved(3.0)), "affines differ (by up to 3 mm)", True),
    "shift of a tenth of a voxel": (data(voxels(), moved(0.1)), "affines differ (by up to 0.1 mm)", True),
    "mirrored affine": (data(voxels(), LAS * [-1, 1, 1, 1]), "affines differ", True),
    "another shape": (data(voxels()[:, :, :-1]), "shapes differ (20x18x16 and 20x18x15 voxels", True),
    "half the resolution": (data(voxels()[::2, ::2, ::2], LAS * [2, 2, 2, 1]), "shapes differ", True),
}


@pytest.fixture
def file(tmp_path):
    """The path of one channel of a good subject, in a data set of one."""
    folder = tmp_path / "A"
    folder.mkdir()
    for seed, channel in enumerate(CHANNELS):
        write(folder / f"A-{channel}.nii.gz", image(voxels(seed)).to_bytes())
    return folder / "A-t1c.nii.gz"


def refusal(call, *arguments):
    began = time.perf_counter()
    with pytest.raises(UserError) as error:
        call(*arguments)
    assert time.perf_counter() - began < SECONDS
    return str(error.value)


@pytest.mark.filterwarnings("ignore::lift_jax.errors.DataWarning")
@pytest.mark.parametrize("kind", REFUSED)
def test_bad_file_is_reported_in_one_line_by_all_who_read_it(file, kind):
    make, words, at_start = REFUSED[kind]
    make(file)
    root = file.parent.parent
    line = refusal(load, root)
    assert words in line and "\n" not in line
    assert line.startswith(str(file.parent)) and ";" in line
    assert line in check(root)[0]
    assert (line in check(root, headers_only=True)[0]) == at_start
    if at_start:
        assert line in refusal(check_start, root).splitlines()
    else:
        check_start(root)


def typed(dtype):
    return data(voxels().clip(0, np.iinfo(dtype).max if np.issubdtype(dtype, np.integer) else None).astype(dtype))


ACCEPTED = {
    # kind: (what makes it of a good file, words of the warning if there is one)
    "unsigned": (typed(np.uint16), None),
    "one byte": (typed(np.uint8), None),
    "signed byte": (typed(np.int8), None),
    "four bytes": (typed(np.uint32), None),
    "eight bytes": (unsigned_eight_bytes, None),
    "doubles": (typed(np.float64), None),
    "big-endian": (big_endian, None),
    "NIfTI-2": (data(voxels().astype(np.int32), LAS, nib.Nifti2Image), None),
    "scaled": (header(scl_slope=0.5, scl_inter=-3), "has a background of -3, not 0"),
    "slope of zero, which means none": (header(scl_slope=0, scl_inter=7), None),
    "slope not a number, which means none": (header(scl_slope=np.nan, scl_inter=np.nan), None),
    "one volume on a fourth axis": (data(voxels()[..., None]), None),
    "plain": (renamed(lambda name: name.removesuffix(".gz")), None),
    "capitals": (renamed(lambda name: name.replace(".nii.gz", ".NII.GZ")), None),
    "some capitals": (renamed(lambda name: name.replace(".nii.gz", ".Nii")), None),
    "link": (linked, None),
    "gzip in two members": (
        lambda path: path.write_bytes(b"".join(gzip.compress(part) for part in _halves(image().to_bytes()))),
        None,
    ),
    "gzip padded with zeros": (raw(lambda content: content + bytes(512)), None),
    "padding behind the voxels": (lambda path: write(path, image().to_bytes() + bytes(512)), None),
    "another axis order": (in_another_axis_order(voxels()), None),
    "shifted below zero": (data(voxels() - 5), "has a background of -5, not 0"),
    "all negative": (data(-voxels() - 1), "has tissue on both sides of its background (-1)"),
    "qform elsewhere": (header(qoffset_x=40), "its sform and qform are up to 40 mm apart"),
    "qform mirrored": (header(pixdim=[1, 1, 1, 1.5, 0, 0, 0, 0]), "its sform and qform are up to"),
    "qform far away": (header(nib.Nifti2Image, qoffset_x=1e308), "its sform and qform are up to inf mm apart"),
    "qform not finite": (header(pixdim=[1, np.inf, 1, 1.5, 0, 0, 0, 0]), "has a qform that cannot be used"),
    "qform that cannot be used": (header(quatern_b=7), "has a qform that cannot be used"),
    "intensities of a display window": (header(cal_min=5, cal_max=3), None),
}


def _halves(content):
    return content[: len(content) // 2], content[len(content) // 2 :]


@pytest.mark.parametrize("kind", ACCEPTED)
def test_unusual_file_is_accepted_and_what_deserves_a_look_is_said(file, kind):
    make, words = ACCEPTED[kind]
    make(file)
    root = file.parent.parent
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", DataWarning)
        loaded = load(root)
        check_start(root)
    assert set(loaded.images) == set(CHANNELS) and loaded.images["t1c"].max() == 1
    errors, warned = check(root)
    assert errors == [] and [words in line for line in warned] == [True] * bool(words)
    assert {str(warning.message) for warning in caught} == set(warned)


def whole_subject(root, name="A", affine=LAS, cut=()):
    (root / name).mkdir()
    for seed, channel in enumerate(CHANNELS):
        write(root / name / f"{name}-{channel}.nii.gz", image(voxels(seed)[cut], affine).to_bytes())


@pytest.mark.filterwarnings("ignore::lift_jax.errors.DataWarning")
@pytest.mark.parametrize(
    ("affine", "words"),
    [
        (np.diag([-0.5, 0.75, 1.25, 1]), None),
        (np.diag([-0.5, 0.5, 5, 1]), "voxels are 0.5x0.5x5 mm, thick along one axis"),
        (np.diag([6.0, 1, 1, 1]), "voxels are 6x1x1 mm, thick along one axis"),
        (sheared(10), "its axes are up to 10 degrees off right angles"),
    ],
    ids=["anisotropic", "thick slices", "thick sagittal slices", "sheared"],
)
def test_unusual_grid_of_a_subject_is_accepted_with_its_spacing_said(tmp_path, affine, words):
    whole_subject(tmp_path, affine=affine)
    errors, warned = check(tmp_path)
    assert errors == [] and set(load(tmp_path).images) == set(CHANNELS)
    np.testing.assert_allclose(load(tmp_path).spacing[::-1], np.linalg.norm(affine[:3, :3], axis=0))
    assert len(warned) == (4 if words else 0) and all(words in line for line in warned)


def test_small_volumes_are_accepted_with_a_warning_and_a_single_voxel_is_refused(tmp_path):
    whole_subject(tmp_path, "A", cut=np.index_exp[:, 2:16:2, :])
    errors, warned = check(tmp_path)
    assert errors == [] and sum("has 20x7x16 voxels" in line for line in warned) == 4
    shutil.rmtree(tmp_path / "A")
    whole_subject(tmp_path, "B", cut=np.index_exp[9:10, 9:10, 8:9])
    assert len(check(tmp_path)[0]) >= 1


def test_unreadable_file_and_folder_are_reported(file, monkeypatch):
    """The system's refusal is made here, because tests may run as a user to whom nothing is forbidden."""

    def forbidden(path, *arguments, real, at):
        if str(path) == str(at):
            raise PermissionError(13, "Permission denied", str(path))
        return real(path, *arguments)

    root, opened, listed = file.parent.parent, open, os.scandir
    with monkeypatch.context() as patch:
        patch.setattr("builtins.open", lambda path, *rest: forbidden(path, *rest, real=opened, at=file))
        assert refusal(load, root) == f"{file}: cannot be read (Permission denied); check the disk and permissions"
        assert len(check(root)[0]) == 1
    whole_subject(root, "B")
    with monkeypatch.context() as patch:
        patch.setattr("os.scandir", lambda path: forbidden(path, real=listed, at=file.parent))
        assert refusal(check_start, root).endswith("A: cannot be listed (Permission denied); check its permissions")


def test_want_of_memory_is_reported_with_the_file(file, monkeypatch):
    def exhausted(*_):
        raise MemoryError

    monkeypatch.setattr("lift_jax.data.nifti._scaled", exhausted)
    assert "does not fit into memory" in refusal(read_volume, file)


# Pairs of MR and CT


def hounsfield():
    return np.rint(ct()).astype(np.int16)


@pytest.fixture
def pair(tmp_path):
    """The folder of a good pair, in a data set of one."""
    folder = tmp_path / "1BA001"
    folder.mkdir()
    for kind, array in (("mr", voxels()), ("ct", hounsfield()), ("mask", body())):
        write(folder / f"{kind}.nii.gz", image(array).to_bytes())
    return folder


REFUSED_PAIRS = {
    # kind: (file, what makes it of a good one, words of the line, whether headers and names alone show it)
    "mask of another shape": ("mask", data(body()[:, :-1]), "mask.nii.gz: is not on the grid of", True),
    "mask on a shifted grid": ("mask", data(body(), moved(1.5)), "affines differ (by up to 1.5 mm)", True),
    "mask of nothing": ("mask", data(body() * 0), "mask.nii.gz: the mask is empty; draw", False),
    "mask of small probabilities": ("mask", data(body() * 0.3), "mask.nii.gz: the mask is empty; draw", False),
    "CT on a shifted grid": ("ct", data(hounsfield(), moved(-2)), "ct.nii.gz: is not on the grid of", True),
    "CT damaged": ("ct", raw(lambda content: content[:-50]), "ct.nii.gz: is truncated or damaged", False),
    "MR twice": ("mr", beside(lambda name: "mr.nii"), "1BA001 has 2 files of mr", True),
    "MR dark in the mask": ("mr", data((1 - body()) * voxels()), "shows nothing inside the mask", False),
    "CT shifted by 1024": ("ct", data(hounsfield() + np.int16(1024)), "as if 1024 had been added; subtract", False),
    "CT of eight bits": ("ct", data((hounsfield() // 16 + 64).astype(np.uint8)), "less than tissue and bone do", False),
    "MR and mask swapped in type": ("mr", data(body().astype(np.complex64)), "complex64 voxels", True),
}


@pytest.mark.parametrize("kind", REFUSED_PAIRS)
def test_bad_pair_is_reported_in_one_line_by_all_who_read_it(pair, kind):
    file, make, words, at_start = REFUSED_PAIRS[kind]
    make(pair / f"{file}.nii.gz")
    root = pair.parent
    line = refusal(load, root, "synthrad2023")
    assert words in line and "\n" not in line and line.startswith(str(pair))
    assert check(root, "synthrad2023")[0] == [line]
    assert (check(root, "synthrad2023", headers_only=True)[0] == [line]) == at_start
    if at_start:
        assert line in refusal(check_start, root, "synthrad2023").splitlines()


ACCEPTED_PAIRS = {
    "mask of 255": ("mask", data(body() * np.uint8(255)), None),
    "mask of doubles": ("mask", data(body().astype(np.float64)), None),
    "CT in capitals": ("ct", renamed(lambda name: "ct.NII.GZ"), None),
    "CT in another axis order": ("ct", in_another_axis_order(hounsfield()), None),
    "CT half a range off": ("ct", data(hounsfield() + np.int16(400)), "not near 0 as Hounsfield units do"),
}


@pytest.mark.parametrize("kind", ACCEPTED_PAIRS)
def test_unusual_pair_is_accepted_and_what_deserves_a_look_is_said(pair, kind):
    file, make, words = ACCEPTED_PAIRS[kind]
    make(pair / f"{file}.nii.gz")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", DataWarning)
        loaded = load(pair.parent, "synthrad2023")
    np.testing.assert_array_equal(loaded.mask, nib.as_closest_canonical(image(body())).get_fdata().T > 0)
    errors, warned = check(pair.parent, "synthrad2023")
    assert errors == [] and warned == [str(warning.message) for warning in caught]
    assert [words in line for line in warned] == [True] * bool(words)


def test_header_alone_refuses_what_the_header_tells(file):
    header(datatype=99)(file)
    assert "cannot be used" in refusal(read_header, file)
    shutil.rmtree(file.parent)
    assert "no such file" in refusal(read_header, file)
