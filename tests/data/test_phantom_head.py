"""The phantom head: deterministic, one subject at every resolution, and a head in CT numbers and in MR."""

import numpy as np
import pytest
from scipy import ndimage

from lift_jax.data.intensity import get_protocol
from lift_jax.data.phantom.ct import _projector, hardening_pattern, scan_ct
from lift_jax.data.phantom.dataset import PhantomSubjects
from lift_jax.data.phantom.fields import Canvas, bump, capsule, ellipsoid
from lift_jax.data.phantom.head import field_spacing, make_phantom_head
from lift_jax.data.phantom.mr import draw_protocol, signals
from lift_jax.data.phantom.tissues import AIR, CORTICAL, FAT, HEAD_TISSUES, MARROW, draw_head_tissues, draw_relaxation
from lift_jax.data.resample import resample_onto
from lift_jax.errors import UserError

SHAPE = (32, 32, 32)
SPACING = field_spacing(SHAPE)


@pytest.fixture(scope="module")
def phantom():
    return make_phantom_head(3, 1, SHAPE, SPACING)


@pytest.fixture(scope="module")
def fine():
    shape = (92, 108, 92)
    return make_phantom_head(3, 1, shape, field_spacing(shape))


def heads(shape=SHAPE, spacing=SPACING, **settings):
    protocols = {"mr": get_protocol("mr_foreground"), "ct": get_protocol("ct_hu")}
    return PhantomSubjects("phantom_head", protocols, seed=3, shape=shape, spacing=spacing, **settings)


def test_a_phantom_is_determined_by_seed_and_index_alone(phantom):
    wide, narrow = heads(first=0, count=5), heads(first=1, count=1)
    assert wide.names[1] == narrow.names[0] == phantom.name
    assert wide.fingerprint(1) == narrow.fingerprint(0) != wide.fingerprint(2)
    made, again = narrow.load(0), wide.load(1)
    for channel in ("mr", "ct"):
        np.testing.assert_array_equal(made.images[channel], again.images[channel])
    np.testing.assert_array_equal(made.images["mr"], phantom.mr)
    np.testing.assert_array_equal(made.images["ct"][phantom.mask], phantom.ct[phantom.mask])
    np.testing.assert_array_equal(made.mask, phantom.mask)
    np.testing.assert_array_equal(made.affine, phantom.affine)
    assert not np.array_equal(wide.load(2).images["ct"], made.images["ct"])


def test_arrays_keep_what_a_pair_promises(phantom):
    assert phantom.mr.shape == phantom.ct.shape == phantom.mask.shape == SHAPE
    assert phantom.mr.dtype == phantom.ct.dtype == np.float32 and phantom.mask.dtype == bool
    assert phantom.mr.min() == 0 and phantom.mr.max() == 1 and (phantom.mr[~phantom.mask] == 0).all()
    assert phantom.ct.min() >= -1024 and phantom.ct.max() < 3000
    np.testing.assert_allclose(np.diag(phantom.affine), [SPACING] * 3 + [1])


def test_one_subject_at_two_resolutions(phantom, fine):
    coarse_of_fine = resample_onto(fine.ct, fine.affine, SHAPE, phantom.affine)
    inner = (slice(3, -3),) * 3
    assert np.corrcoef(coarse_of_fine[inner].ravel(), phantom.ct[inner].ravel())[0, 1] > 0.95


def test_the_brain_is_in_a_closed_vault_of_bone_under_a_scalp(fine):
    """From the middle of the brain every way out and up meets soft tissue, then bone, then soft tissue, then air."""
    depth, height, width = fine.ct.shape
    middle = np.array([0.6 * depth, 0.47 * height, 0.5 * width])
    for direction in ((1, 0, 0), (0, -1, 0), (0, 0, 1), (0, 0, -1), (1, 0, 1), (1, -1, 0)):
        line = [middle + step * np.array(direction) for step in range(60)]
        line = [tuple(p.astype(int)) for p in line if (p >= 0).all() and (p < fine.ct.shape).all()]
        values = np.array([fine.ct[p] for p in line])
        bone = np.flatnonzero(values > 250)
        assert bone.size, direction
        assert (np.abs(values[: bone[0] - 3]) < 110).all(), direction
        assert values[bone].max() > 500 and bone.size <= 9
        beyond = values[bone[-1] + 1 :]
        assert (beyond[:6] > -300).any() and beyond[-1] < -900


def test_ct_numbers_lie_where_tissues_lie(fine):
    inside = fine.ct[fine.mask]
    assert 0.05 < (inside > 250).mean() < 0.3
    assert 0.004 < (inside < -700).mean() < 0.12
    deep = ndimage.distance_transform_edt(np.abs(fine.ct - 30) < 60) > 4
    assert 15 < np.median(fine.ct[deep]) < 45
    assert 900 < np.quantile(inside, 0.995) < 2500


def test_air_in_the_head_and_bone_are_both_dark_in_mr(fine):
    inner = ndimage.binary_erosion(fine.mask, iterations=4)
    air = inner & (ndimage.minimum_filter(fine.ct, 3) < -600) & (ndimage.maximum_filter(fine.ct, 3) < -300)
    bone = inner & (fine.ct > 1000)
    tissue = inner & (np.abs(fine.ct - 35) < 30)
    assert air.sum() > 100 and bone.sum() > 100
    assert np.median(fine.mr[air]) < 0.15 * np.median(fine.mr[tissue])
    assert np.median(fine.mr[bone]) < 0.6 * np.median(fine.mr[tissue])
    assert fine.ct[~fine.mask].max() < -150  # the mask leaves no more than a rim of skin outside


def test_slices_fluctuate_in_mr_and_not_in_ct(fine):
    """Second differences of slice means of deep tissue: gains of several per cent in MR, none in CT."""
    deep = ndimage.binary_erosion(np.abs(fine.ct - 30) < 40, iterations=2)
    slices = range(45, 70)
    mr = np.array([fine.mr[z][deep[z]].mean() for z in slices])
    ct = np.array([fine.ct[z][deep[z]].mean() + 1000 for z in slices])
    jitter = [np.std(np.diff(means, 2)) / means.mean() for means in (mr, ct)]
    assert jitter[0] > 0.03 and jitter[1] < 0.01


def test_subjects_differ_and_marrow_that_is_fatter_is_brighter_in_mr_and_less_dense():
    numbers, t1_weighted = [], []
    for index in range(300):
        generator = np.random.default_rng([7, index])
        brain, protocol = draw_relaxation(generator), draw_protocol(generator)
        drawn, relaxation = draw_head_tissues(generator, brain)
        numbers.append(drawn)
        t1_weighted.append(signals(relaxation, protocol)[:, 0])
    hounsfield, signal = np.array(numbers), np.array(t1_weighted)
    assert hounsfield.shape == (300, len(HEAD_TISSUES))
    assert (hounsfield[:, AIR] == -1000).all() and (signal[:, AIR] == 0).all()
    assert (signal[:, CORTICAL] < 0.05 * signal[:, FAT]).all()
    assert hounsfield[:, MARROW].min() >= 300 and hounsfield[:, MARROW].max() <= 600
    ratio = signal[:, MARROW] / signal[:, FAT]
    assert -0.95 < np.corrcoef(ratio, hounsfield[:, MARROW])[0, 1] < -0.6


def test_hardening_darkens_between_two_dense_bones():
    volume = np.full((1, 48, 48), -1000.0, np.float32)
    y, x = np.indices((48, 48)) - 23.5
    head = (np.hypot(y, x) < 20)[None]
    volume[head] = 30
    for side in (-12, 12):
        volume[0][np.hypot(y, x - side) < 4] = 1500
    pattern = hardening_pattern(volume, head)
    assert np.sqrt((pattern[head] ** 2).mean()) == pytest.approx(1, rel=1e-3)
    assert (pattern[~head] == 0).all() and abs(pattern[head].mean()) < 1e-4
    assert pattern[0, 23, 23] < pattern[0, 34, 23] - 0.5  # between the bones against beside them


def test_no_bone_no_hardening_and_noise_as_drawn():
    volume, head = np.full((4, 24, 24), 30.0, np.float32), np.ones((4, 24, 24), bool)
    assert (hardening_pattern(volume, head) == 0).all()
    scanned = scan_ct(np.random.default_rng(0), volume, head, 1.0)
    assert 2.5 < (scanned - volume).std() < 9


def test_projector_keeps_the_sum_of_an_image_in_every_direction():
    image = np.random.default_rng(0).random((9, 12))
    projections = (_projector(9, 12) @ image.ravel()).reshape(90, -1)
    np.testing.assert_allclose(projections.sum(axis=1), image.sum(), rtol=1e-5)


def test_shapes_are_distances_and_partial_volume_follows():
    points = np.stack(np.meshgrid(*[np.arange(-10.0, 11)] * 3, indexing="ij")).astype(np.float32)
    from_center = np.sqrt((points**2).sum(axis=0))
    np.testing.assert_allclose(ellipsoid(points, (0, 0, 0), (5, 5, 5)), from_center - 5, atol=1e-3)
    along = np.maximum(np.abs(points[2]) - 4, 0)
    rod = np.sqrt(points[0] ** 2 + points[1] ** 2 + along**2) - 2
    np.testing.assert_allclose(capsule(points, (0, 0, -4), (0, 0, 4), 2), rod, atol=1e-5)
    assert bump(points, (0, 0, 0), (2, 3, 4))[10, 10, 10] == 1
    canvas = Canvas(np.array([[0.0], [100.0], [50.0]]), 0, (21, 21, 21), 1.0)
    canvas.paint(canvas.inside(from_center - 6), 1)
    assert canvas.volumes[0].sum() / 100 == pytest.approx(4 / 3 * np.pi * 6**3, rel=0.05)
    canvas.paint(np.float32(0.5) * (from_center < 1), 2)
    assert canvas.volumes[0, 10, 10, 10] == pytest.approx(75, abs=0.1)


@pytest.mark.parametrize("shape, spacing", [((4, 32, 32), 6.0), ((32, 32), 6.0), ((32, 32, 32), 0.0)])
def test_grids_that_hold_no_head_are_refused(shape, spacing):
    with pytest.raises(UserError, match="at least 8 voxels"):
        heads(shape, spacing, first=0, count=1)
