import errno
import itertools
import os
import pickle

import nibabel as nib
import numpy as np
import pytest

from lift_jax.data.geometry import describe_difference, new_geometry
from lift_jax.data.volumes import read_header, read_volume, write_volume
from lift_jax.errors import DataWarning, UserError

SHAPE = (3, 4, 5)  # stored axis order: distinct sizes, so that a wrong order cannot pass
AXIS_ORDERS = list(itertools.product(itertools.permutations(range(3)), itertools.product((1, -1), repeat=3)))


def axis_affine(permutation, signs):
    """An affine whose stored axis n runs along world axis `permutation[n]`."""
    affine = np.eye(4)
    affine[:3, :3] = 0
    for axis, (world, sign) in enumerate(zip(permutation, signs, strict=True)):
        affine[world, axis] = sign * (1.0, 1.5, 2.25)[axis]
    affine[:3, 3] = (-12.5, 30.25, 7.0)
    return affine


def oblique_affine():
    angles = np.deg2rad((12.0, -20.0, 33.0))
    affine = np.diag([0.9, 1.1, 2.5, 1.0])
    for axis, angle in enumerate(angles):
        rotation = np.eye(4)
        first, second = [other for other in range(3) if other != axis]
        rotation[[first, first, second, second], [first, second, first, second]] = (
            np.cos(angle),
            -np.sin(angle),
            np.sin(angle),
            np.cos(angle),
        )
        affine = rotation @ affine
    affine[:3, 3] = (3.0, -40.0, 12.5)
    return affine


def stored_image(affine, shape=SHAPE, dtype=np.float32, seed=0):
    voxels = np.random.default_rng(seed).normal(100, 50, shape).astype(dtype)
    image = nib.Nifti1Image(voxels, affine)
    image.set_sform(affine, code="mni")
    image.set_qform(affine, code="scanner")
    image.header.set_xyzt_units("mm", "sec")
    return image


def saved(image, path):
    image.to_filename(path)
    return path


@pytest.mark.parametrize(("permutation", "signs"), AXIS_ORDERS)
def test_any_axis_order_is_read_canonical_and_written_back_exactly(tmp_path, permutation, signs):
    path = saved(stored_image(axis_affine(permutation, signs)), tmp_path / "in.nii")
    original, canonical = nib.load(path), nib.as_closest_canonical(nib.load(path))
    volume = read_volume(path)
    np.testing.assert_array_equal(volume.array, canonical.get_fdata(dtype=np.float32).T)
    np.testing.assert_allclose(volume.affine, canonical.affine, atol=1e-12)
    assert volume.spacing == pytest.approx(canonical.header.get_zooms()[::-1])
    assert volume.array.flags.c_contiguous

    write_volume(tmp_path / "out.nii.gz", volume.array, volume)
    assert_same_file_geometry(nib.load(tmp_path / "out.nii.gz"), original)
    np.testing.assert_array_equal(nib.load(tmp_path / "out.nii.gz").get_fdata(), original.get_fdata())


def assert_same_file_geometry(result, original):
    np.testing.assert_array_equal(result.affine, original.affine)
    assert result.shape == original.shape
    for field in ("pixdim", "xyzt_units", "qform_code", "sform_code", "srow_x", "srow_y", "srow_z", "quatern_b"):
        np.testing.assert_array_equal(result.header[field], original.header[field], err_msg=field)


def test_oblique_affine_is_kept_exactly(tmp_path):
    path = saved(stored_image(oblique_affine()), tmp_path / "in.nii.gz")
    volume = read_volume(path)
    canonical = nib.as_closest_canonical(nib.load(path))
    np.testing.assert_allclose(volume.affine, canonical.affine, atol=1e-12)
    write_volume(tmp_path / "out.nii.gz", volume.array, volume)
    assert_same_file_geometry(nib.load(tmp_path / "out.nii.gz"), nib.load(path))


def test_sform_and_qform_that_differ_are_both_kept(tmp_path):
    image = stored_image(oblique_affine())
    image.header.set_qform(axis_affine((0, 1, 2), (-1, 1, 1)), code="aligned")
    path = saved(nib.Nifti1Image(image.get_fdata(), None, image.header), tmp_path / "in.nii")
    with pytest.warns(DataWarning, match=r"in.nii: its sform and qform are up to 74\.\d mm apart"):
        volume = read_volume(path)
    write_volume(tmp_path / "out.nii", volume.array, volume)
    assert_same_file_geometry(nib.load(tmp_path / "out.nii"), nib.load(path))


def test_voxel_sides_of_sform_and_pixdim_that_differ_are_warned_about_by_reader_and_header(tmp_path):
    image = nib.Nifti1Image(np.ones(SHAPE, np.float32), np.eye(4))
    image.header["pixdim"][1:4] = 2
    content = bytearray(image.to_bytes())
    np.ndarray((), image.header.template_dtype, content)["pixdim"][1:4] = 2
    path = tmp_path / "in.nii"
    path.write_bytes(content)
    for read in (read_volume, read_header):
        with pytest.warns(DataWarning, match=r"its sform has voxels of 1x1x1 mm and its pixdim says 2x2x2 mm"):
            assert read(path).spacing == (1, 1, 1)


def test_a_result_carries_geometry_and_units_of_its_source_and_nothing_else(tmp_path):
    image = stored_image(oblique_affine())
    for field in ("aux_file", "db_name", "intent_name", "descrip"):
        image.header[field] = b"Doe, Jane"
    image.header.set_intent(1002, allow_unknown=True)  # label
    image.header["cal_max"], image.header["toffset"], image.header["slice_duration"] = 700, 3, 0.1
    path = saved(image, tmp_path / "in.nii.gz")
    volume = read_volume(path)
    write_volume(tmp_path / "out.nii", volume.array, volume)
    assert b"Doe" not in (tmp_path / "out.nii").read_bytes()
    header = nib.load(tmp_path / "out.nii").header
    assert header["intent_code"] == 0 and header["cal_max"] == 0 and header["toffset"] == 0
    assert_same_file_geometry(nib.load(tmp_path / "out.nii"), nib.load(path))


def test_a_sheared_sform_is_warned_about_and_its_result_has_a_qform_without_shear(tmp_path):
    affine = np.diag([1.0, 1.0, 2.0, 1.0])
    affine[0, 1] = np.tan(np.deg2rad(0.6))
    image = nib.Nifti1Image(np.ones(SHAPE, np.float32), None)
    image.header.set_sform(affine, code="scanner")
    image.header.set_zooms((1.0, 1.0, 2.0))
    path = saved(nib.Nifti1Image(image.get_fdata(), None, image.header), tmp_path / "in.nii")
    with pytest.warns(DataWarning, match=r"axes are up to 0\.6 degrees off right angles"):
        volume = read_volume(path)
    write_volume(tmp_path / "out.nii", volume.array, volume)
    result = nib.load(tmp_path / "out.nii").header
    np.testing.assert_allclose(result.get_sform(), affine, atol=1e-6)
    qform, code = result.get_qform(coded=True)
    axes = qform[:3, :3] / np.linalg.norm(qform[:3, :3], axis=0)
    assert code > 0
    np.testing.assert_allclose(axes.T @ axes, np.eye(3), atol=1e-6)  # which ITK asks for
    np.testing.assert_allclose(qform, affine, atol=0.02)


def test_a_name_as_long_as_the_file_system_allows_is_written(tmp_path):
    name = "a" * (255 - len(".nii.gz")) + ".nii.gz"
    write_volume(tmp_path / name, np.zeros((1, 1, 1)), new_geometry((1, 1, 1), np.eye(4)))
    assert os.listdir(tmp_path) == [name]


@pytest.mark.parametrize("image_class", [nib.Nifti1Image, nib.Nifti2Image])
@pytest.mark.parametrize("byte_order", ["<", ">"])
def test_scale_factor_is_applied_on_reading_and_reset_on_writing(tmp_path, image_class, byte_order):
    header = image_class.header_class(endianness=byte_order)
    header.set_data_dtype(np.int16)
    header.set_slope_inter(0.037, -5)
    voxels = np.random.default_rng(1).normal(300, 200, SHAPE)
    path = saved(image_class(voxels, np.eye(4), header), tmp_path / "in.nii.gz")
    volume = read_volume(path)
    np.testing.assert_array_equal(volume.array, nib.load(path).get_fdata().astype(np.float32).T)
    write_volume(tmp_path / "out.nii.gz", volume.array, volume)
    result = nib.load(tmp_path / "out.nii.gz")
    assert type(result) is image_class
    assert (result.dataobj.slope, result.dataobj.inter) == (1, 0)
    np.testing.assert_array_equal(result.get_fdata(dtype=np.float32).T, volume.array)


def test_fourth_axis_of_one_volume_is_accepted_and_restored(tmp_path):
    path = saved(nib.Nifti1Image(np.ones((3, 4, 5, 1), np.float32), np.eye(4)), tmp_path / "in.nii")
    volume = read_volume(path)
    assert volume.array.shape == volume.shape == (5, 4, 3)
    write_volume(tmp_path / "out.nii", volume.array, volume)
    assert nib.load(tmp_path / "out.nii").shape == (3, 4, 5, 1)


def test_header_alone_gives_the_grid_of_the_volume(tmp_path):
    path = saved(stored_image(oblique_affine()), tmp_path / "in.nii.gz")
    assert describe_difference(read_header(path), read_volume(path)) is None


def test_integers_are_rounded_and_clipped_and_not_scaled(tmp_path):
    grid = new_geometry((1, 1, 4), np.eye(4))
    write_volume(tmp_path / "ct.nii", np.array([[[-1024.6, 0.4, 70000, -70000]]]), grid, np.int16)
    image = nib.load(tmp_path / "ct.nii")
    assert image.get_data_dtype() == np.int16
    np.testing.assert_array_equal(np.asarray(image.dataobj).ravel(), [-1025, 0, 32767, -32768])


def test_description_is_kept_within_the_header_field(tmp_path):
    grid = new_geometry((1, 1, 1), np.eye(4))
    write_volume(tmp_path / "a.nii", np.zeros((1, 1, 1)), grid, description="é" + "x" * 100)
    assert nib.load(tmp_path / "a.nii").header["descrip"].item() == b"?" + b"x" * 78


def test_new_geometry_is_stored_as_ras_in_millimeters(tmp_path):
    affine = np.diag([1.0, 2.0, 3.0, 1.0])
    affine[:3, 3] = (-90.0, -126.0, -72.0)
    array = np.random.default_rng(2).random((5, 4, 3), np.float32)
    write_volume(tmp_path / "new.nii.gz", array, new_geometry((5, 4, 3), affine))
    image = nib.load(tmp_path / "new.nii.gz")
    assert nib.aff2axcodes(image.affine) == ("R", "A", "S")
    assert image.header.get_xyzt_units()[0] == "mm"
    np.testing.assert_array_equal(image.affine, affine)
    np.testing.assert_array_equal(image.get_fdata(dtype=np.float32), array.T)
    with pytest.raises(ValueError, match="right, anterior, superior"):
        new_geometry((5, 4, 3), np.diag([-1.0, 1, 1, 1]))


def test_grids_are_the_same_up_to_rounding_and_their_differences_are_reported():
    affine = np.eye(4)
    moved, enlarged = affine.copy(), affine.copy()
    moved[0, 3] += 0.5
    enlarged[2, 2] *= 1 + 1e-6
    grid = new_geometry((30, 20, 10), affine)
    assert describe_difference(grid, new_geometry((30, 20, 10), enlarged)) is None
    assert "0.5 mm" in describe_difference(grid, new_geometry((30, 20, 10), moved))
    assert "10x20x30 and 10x20x31" in describe_difference(grid, new_geometry((31, 20, 10), affine))
    assert describe_difference(grid, grid) is None


def test_volume_survives_pickling_to_a_worker_process(tmp_path):
    volume = read_volume(saved(stored_image(oblique_affine()), tmp_path / "in.nii"))
    copy = pickle.loads(pickle.dumps(volume))
    assert describe_difference(copy, volume) is None and copy.header == volume.header


def test_array_of_another_shape_is_refused(tmp_path):
    with pytest.raises(ValueError, match="is not on a grid"):
        write_volume(tmp_path / "out.nii", np.zeros((2, 2, 3)), new_geometry((2, 2, 2), np.eye(4)))


@pytest.mark.parametrize("call", ["write_bytes", "replace"])
def test_full_disk_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch, call):
    grid = new_geometry((2, 2, 2), np.eye(4))
    path = tmp_path / "out.nii.gz"
    write_volume(path, np.ones((2, 2, 2)), grid)
    before = path.read_bytes()

    def fail(target, *_):
        if call == "write_bytes":
            open(target, "wb").close()
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr("pathlib.Path.write_bytes" if call == "write_bytes" else "os.replace", fail)
    with pytest.raises(UserError, match=r"out.nii.gz: cannot be written \(No space left on device\)"):
        write_volume(path, np.zeros((2, 2, 2)), grid)
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == ["out.nii.gz"]


def test_impossible_output_paths_are_refused(tmp_path):
    grid = new_geometry((2, 2, 2), np.eye(4))
    with pytest.raises(UserError, match="cannot be written"):
        write_volume(tmp_path / "absent" / "out.nii", np.zeros((2, 2, 2)), grid)
    with pytest.raises(UserError, match="not named as a NIfTI file"):
        write_volume(tmp_path / "out.png", np.zeros((2, 2, 2)), grid)


def test_same_volume_is_written_as_the_same_bytes(tmp_path):
    grid = new_geometry((2, 2, 2), np.eye(4))
    for name in ("a.nii.gz", "b.nii.gz"):
        write_volume(tmp_path / name, np.ones((2, 2, 2)), grid)
    assert (tmp_path / "a.nii.gz").read_bytes() == (tmp_path / "b.nii.gz").read_bytes()
