"""From files to subjects: grids, masks, resampling and protocols, and what one channel may not learn of another."""

import threading
import warnings

import nibabel as nib
import numpy as np
import pytest

from lift_jax.data import scans as scanned
from lift_jax.data.intensity import get_protocol
from lift_jax.data.naming import SubjectFiles
from lift_jax.data.resample import resample_foreground, resample_labels, resample_mask, resample_onto, resampled_grid
from lift_jax.data.scans import ScannedSubjects
from lift_jax.errors import DataWarning, UserError
from tests.data.written_scans import LAS, SHAPE, body, brain, ct, write

MR = {name: get_protocol("mr_quantile") for name in ("t1n", "t2w")}
PAIR = {"mr": get_protocol("mr_foreground"), "ct": get_protocol("ct_hu")}


def subject(folder, **arrays):
    """The files of a subject; an array may come with an affine."""
    paths = {
        kind: write(folder / f"{kind}.nii.gz", *(value if isinstance(value, tuple) else (value,)))
        for kind, value in arrays.items()
    }
    mask, segmentation = paths.pop("mask", None), paths.pop("segmentation", None)
    return SubjectFiles(folder.name, paths, mask, segmentation, folder.name)


def load(files, protocols=MR, channels=None, **options):
    return ScannedSubjects((files,), protocols, **options).load(0, channels)


def canonical(path):
    return nib.as_closest_canonical(nib.load(path)).get_fdata().T


def test_each_channel_is_normalized_on_the_canonical_grid(tmp_path):
    files = subject(tmp_path / "a", t1n=brain(0), t2w=brain(1))
    loaded = load(files)
    assert (loaded.name, list(loaded.images), loaded.mask, loaded.segmentation) == ("a", ["t1n", "t2w"], None, None)
    assert loaded.shape == SHAPE[::-1] and loaded.spacing == (1.5, 1, 1) and not loaded.references
    for channel, image in loaded.images.items():
        voxels = canonical(files.channels[channel])
        high = np.quantile(voxels, 0.999)
        assert image.dtype == np.float32
        np.testing.assert_allclose(image, np.minimum(voxels, high) / high, atol=1e-6)


def test_a_channel_is_the_same_whatever_the_others_are(tmp_path):
    """The mask of a hidden target gives it away: no channel is masked by another (a smaller T2 here)."""
    small = brain(1)
    small[:8] = 0
    files = subject(tmp_path / "a", t1n=brain(0), t2w=small)
    for options in ({}, {"spacing": 3.0}, {"size": (8, 9, 10)}):
        both, alone = load(files, **options), load(files, channels=("t1n",), **options)
        np.testing.assert_array_equal(both.images["t1n"], alone.images["t1n"])
        assert list(alone.images) == ["t1n"]
    files.channels["t2w"].write_bytes(b"not read")
    assert list(load(files, channels=("t1n",)).images) == ["t1n"]


def test_a_pair_is_read_within_its_mask_and_the_ct_is_scored_unclipped(tmp_path):
    metal = ct()
    metal[9, 9, 9] = 6000.4
    files = subject(tmp_path / "a", mr=brain(), ct=metal, mask=body(), segmentation=body() * 2)
    loaded = load(files, PAIR)
    mask = canonical(files.mask) > 0
    np.testing.assert_array_equal(loaded.mask, mask)
    np.testing.assert_array_equal(loaded.segmentation, mask * 2)
    voxels = canonical(files.channels["ct"]).astype(np.float32)
    np.testing.assert_array_equal(loaded.images["ct"], np.where(mask, np.minimum(voxels, 3000), -1024))
    np.testing.assert_array_equal(loaded.reference("ct"), np.where(mask, voxels, -1024))
    mr = canonical(files.channels["mr"])
    expected = np.where(mask, np.minimum(mr / np.quantile(mr[mask], 0.995), 1), 0)
    np.testing.assert_allclose(loaded.images["mr"], expected, atol=1e-6)


def test_without_a_mask_the_body_of_a_pair_is_found_in_the_first_channel_and_it_is_said(tmp_path):
    files = subject(tmp_path / "a", mr=brain() + np.random.default_rng(1).random(SHAPE), ct=ct())
    with pytest.warns(DataWarning, match=r"mr\.nii\.gz: has no mask beside it; the body was found"):
        loaded = load(files, PAIR)
    assert (loaded.mask == (canonical(files.channels["mr"]) > 50)).mean() > 0.98
    with pytest.warns(DataWarning, match=r"ct\.nii\.gz: has no mask"):
        assert (load(files, PAIR, ("ct",)).mask == loaded.mask).mean() > 0.97


def test_empty_masks_and_labels_that_are_none_are_refused(tmp_path):
    files = subject(tmp_path / "a", mr=brain(), ct=ct(), mask=np.zeros(SHAPE))
    with pytest.raises(UserError, match=r"mask\.nii\.gz: the mask is empty"):
        load(files, PAIR)
    for bad in (body() * 0.5, body() * -1.0, body() * 300.0):
        with pytest.raises(UserError, match=r"segmentation\.nii\.gz: holds no labels"):
            load(subject(tmp_path / "b", t1n=brain(), segmentation=bad))
    with pytest.raises(UserError, match="b: has none of t2w; it has t1n"):
        load(subject(tmp_path / "b", t1n=brain()), channels=("t2w",))


@pytest.mark.parametrize("kind", ["t2w", "mask", "segmentation"])
def test_files_on_another_grid_are_refused_by_both_names(tmp_path, kind):
    moved = LAS.copy()
    moved[0, 3] = 0.06
    files = subject(tmp_path / "a", **({"t1n": brain(), kind: (body(), moved)}))
    with pytest.raises(UserError, match=rf"{kind}\.nii\.gz: is not on the grid of .*t1n\.nii\.gz: affines .* 0\.06 mm"):
        load(files)


def test_a_difference_of_grids_below_a_twentieth_of_a_voxel_is_reported_and_rounding_is_not(tmp_path):
    for name, offset, reported in (("rounded", 5e-4, False), ("off", 0.04, True)):
        moved = LAS.copy()
        moved[0, 3] = offset
        files = subject(tmp_path / name, t1n=brain(), t2w=(brain(1), moved))
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            loaded = load(files)
        assert (
            len(loaded.images) == 2
            and [f"lies up to {offset:.2g} mm" in str(w.message) for w in caught] == [True] * reported
        )


def test_volumes_that_a_protocol_cannot_use_are_refused_by_name(tmp_path):
    files = subject(tmp_path / "a", t1n=brain(), t2w=np.full(SHAPE, 7.0))
    with pytest.raises(UserError, match=r"t2w\.nii\.gz: ") as refusal:
        load(files)
    assert "\n" not in str(refusal.value)


def test_fingerprint_follows_content_name_protocol_and_grid_but_not_the_place(tmp_path):
    def print_of(files, protocols=MR, **options):
        return ScannedSubjects((files,), protocols, **options).fingerprint(0)

    files = subject(tmp_path / "x" / "a", t1n=brain(0), t2w=brain(1), mask=body(), segmentation=body())
    first = print_of(files)
    assert first == print_of(
        subject(tmp_path / "y" / "a", t1n=brain(0), t2w=brain(1), mask=body(), segmentation=body())
    )
    others = [
        print_of(subject(tmp_path / "x" / "b", t1n=brain(0), t2w=brain(1), mask=body(), segmentation=body())),
        print_of(subject(tmp_path / "z" / "a", t1n=brain(1), t2w=brain(0), mask=body(), segmentation=body())),
        print_of(subject(tmp_path / "v" / "a", t1n=brain(0), t2w=brain(1), segmentation=body())),
        print_of(subject(tmp_path / "w" / "a", t1n=brain(0), t2w=brain(1), mask=body())),
        print_of(files, MR | {"t1n": get_protocol("unit")}),
        print_of(files, spacing=2.0),
        print_of(files, size=(8, 8, 8)),
    ]
    assert len({first, *others}) == 8


def test_geometry_is_that_of_the_first_channel(tmp_path):
    files = subject(tmp_path / "a", t2w=brain(1), t1n=brain(0))
    grid = ScannedSubjects((files,), MR).geometry(0)
    np.testing.assert_array_equal(grid.header.get_best_affine(), LAS)
    assert grid.shape == SHAPE[::-1]


AFFINE = np.array([[1.1, 0, 0, -9], [0, 0.9, 0.1, 5], [0, -0.1, 1.4, 2], [0, 0, 0, 1.0]])


def test_grids_by_spacing_cover_the_field_of_view_and_both_together_keep_the_center():
    volume = np.random.default_rng(0).random(SHAPE[::-1])
    extent = np.linalg.norm(AFFINE[:3, :3], axis=0)[::-1] * volume.shape
    shape, affine = resampled_grid(volume.shape, AFFINE, 2.0, (0, 0, 0))
    assert shape == tuple(np.ceil(extent / 2.0 - 1e-4).astype(int))
    shape, affine = resampled_grid(volume.shape, AFFINE, 0.0, (8, 9, 7))
    np.testing.assert_allclose(np.linalg.norm(affine[:3, :3], axis=0)[::-1] * shape, extent)
    shape, affine = resampled_grid(volume.shape, AFFINE, 2.0, (8, 9, 7))
    assert shape == (8, 9, 7)
    np.testing.assert_allclose(np.linalg.norm(affine[:3, :3], axis=0), 2.0)
    centers = [a @ [*(np.array(s[::-1]) - 1) / 2, 1] for a, s in ((AFFINE, volume.shape), (affine, shape))]
    np.testing.assert_allclose(*centers, atol=1e-9)


def test_resampling_within_the_foreground_is_that_of_a_brain_and_follows_the_background():
    volume = np.transpose(brain())
    new = resampled_grid(volume.shape, AFFINE, 2.3, (0, 0, 0))
    image, inside = resample_foreground(volume, volume > 0, 0.0, AFFINE, *new)
    share = resample_onto((volume > 0).astype(np.float32), AFFINE, *new)
    mean = resample_onto(volume, AFFINE, *new)
    np.testing.assert_allclose(image[inside], (mean / np.maximum(share, 1e-6))[inside], rtol=1e-4)
    np.testing.assert_array_equal(inside, share >= 0.5)
    shifted, same = resample_foreground(volume - 50, volume > 0, -50.0, AFFINE, *new)
    np.testing.assert_array_equal(same, inside)
    np.testing.assert_allclose(shifted, image - 50, rtol=1e-4, atol=1e-3)


def test_nothing_is_foreground_beyond_the_field_of_view():
    full = np.ones((6, 5, 4), bool)
    new = resampled_grid(full.shape, np.eye(4), 1.0, (10, 3, 8))
    expected = np.zeros((10, 3, 8), bool)
    expected[2:8, :, 2:6] = True
    np.testing.assert_array_equal(resample_mask(full, np.eye(4), *new), expected)
    image, inside = resample_foreground(full * 5.0, full, -1.0, np.eye(4), *new)
    np.testing.assert_array_equal(inside, expected)
    np.testing.assert_allclose(image, np.where(expected, 5, -1), rtol=1e-6)
    np.testing.assert_array_equal(resample_labels(full * np.uint8(3), np.eye(4), *new), expected * 3)


def test_labels_stay_labels():
    labels = np.zeros((8, 8, 8), np.uint8)
    labels[2:6, 2:6, 2:6] = 1
    labels[4:6, 2:6, 2:6] = 4
    new = resampled_grid(labels.shape, np.eye(4), 2.0, (0, 0, 0))
    np.testing.assert_array_equal(resample_labels(labels, np.eye(4), *new), labels[::2, ::2, ::2])


@pytest.mark.parametrize("spacing", [2.0, 3.0])
def test_levels_do_not_depend_on_the_voxel_size(tmp_path, spacing):
    """A few bright voxels set the quantile; averaged with their neighbors they would not."""
    spots = brain(0)
    rng = np.random.default_rng(0)
    spots[brain(0) > 0] = 200 + rng.uniform(-5, 5, np.count_nonzero(brain(0) > 0))
    inside = np.argwhere(brain(0) > 0)
    spots[tuple(inside[rng.permutation(len(inside))[: spots.size // 400]].T)] = 1000
    files = subject(tmp_path / "a", t1n=spots)
    native, coarse = load(files).images["t1n"], load(files, spacing=spacing).images["t1n"]
    assert np.median(native[native > 0]) == pytest.approx(0.2, abs=2e-3)
    assert np.median(coarse[coarse > 0]) == pytest.approx(0.2, abs=0.03)


def test_the_files_of_a_subject_are_read_at_once(tmp_path, monkeypatch):
    files = subject(tmp_path / "a", t1n=brain(0), t2w=brain(1), mask=body())
    together, read_volume = threading.Barrier(3), scanned.read_volume

    def read(path):
        together.wait(timeout=30)  # raises where one file is read after another
        return read_volume(path)

    monkeypatch.setattr(scanned, "read_volume", read)
    assert list(load(files).images) == ["t1n", "t2w"]


def test_of_several_bad_files_the_first_is_named(tmp_path):
    files = subject(tmp_path / "a", t1n=brain(0), t2w=brain(1))
    for path in files.channels.values():
        path.write_bytes(b"")
    with pytest.raises(UserError, match=r"t1n\.nii\.gz: is empty"):
        load(files)
