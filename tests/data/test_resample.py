import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lift_jax.data.resample import resample_foreground, resample_onto, resample_within_mask, resampled_grid

AFFINE = np.diag([1.0, 1.5, 2.0, 1.0])
AFFINE[:3, 3] = (-20.0, 5.0, 33.0)


def resample_to_spacing(array, affine, spacing):
    shape, new_affine = resampled_grid(array.shape[:3], affine, spacing, (0, 0, 0))
    return resample_onto(array, affine, shape, new_affine), new_affine


def center(shape, affine):
    return affine @ np.array([(size - 1) / 2 for size in shape[::-1]] + [1])


@pytest.mark.parametrize("spacing", [0.7, 1.3, 2.0, 4.1])
def test_result_equals_jaxs_antialiased_linear_resampling(spacing):
    array = np.random.default_rng(0).random((17, 21, 24), np.float32)
    result, _ = resample_to_spacing(array, AFFINE, spacing)
    scale = np.array([2.0, 1.5, 1.0]) / spacing
    # jax: sample x of the result lies at (x + 0.5 - translation) / scale - 0.5 of the input
    translation = np.array(result.shape) / 2 - scale * np.array(array.shape) / 2
    expected = jax.image.scale_and_translate(
        array, result.shape, (0, 1, 2), jnp.array(scale), jnp.array(translation), method="linear", antialias=True
    )
    np.testing.assert_allclose(result, expected, atol=2e-5)


@pytest.mark.parametrize("spacing", [0.7, 1.0, 4.0])
def test_new_grid_is_cubic_centered_and_just_covers_the_field_of_view(spacing):
    array = np.zeros((17, 21, 24), np.float32)
    result, affine = resample_to_spacing(array, AFFINE, spacing)
    np.testing.assert_allclose(np.linalg.norm(affine[:3, :3], axis=0), spacing)
    np.testing.assert_allclose(center(result.shape, affine), center(array.shape, AFFINE), atol=1e-9)
    overhang = np.array(result.shape) * spacing - np.array([17 * 2.0, 21 * 1.5, 24 * 1.0])
    assert (overhang > -1e-3).all() and (overhang < spacing).all()


def test_same_spacing_changes_nothing():
    array = np.random.default_rng(1).random((6, 7, 8, 2), np.float32)
    result, affine = resample_to_spacing(array, np.eye(4), 1.0)
    np.testing.assert_allclose(result, array, atol=1e-6)
    np.testing.assert_allclose(affine, np.eye(4), atol=1e-12)


def test_linear_ramp_keeps_its_value_in_every_place_there_and_back_on_a_rotated_grid():
    rotation, _ = np.linalg.qr(np.random.default_rng(2).normal(size=(3, 3)))
    affine = AFFINE.copy()
    affine[:3, :3] = rotation @ affine[:3, :3]
    normal, shape = np.array([0.3, -0.2, 0.5]), (30, 32, 48)

    def ramp(shape, affine):
        kji = np.stack(np.meshgrid(*map(np.arange, shape), indexing="ij"), axis=-1)
        return (kji[..., ::-1] @ affine[:3, :3].T + affine[:3, 3]) @ normal

    coarse, coarse_affine = resample_to_spacing(
        ramp(shape, affine), affine, 6.0
    )  # whole multiples, where the kernel is exact
    inner = (slice(2, -2),) * 3
    np.testing.assert_allclose(coarse[inner], ramp(coarse.shape, coarse_affine)[inner], atol=1e-3)
    back = resample_onto(coarse, coarse_affine, shape, affine)
    inner = (slice(9, -9), slice(12, -12), slice(18, -18))
    np.testing.assert_allclose(back[inner], ramp(shape, affine)[inner], atol=1e-3)


def test_coarse_voxels_keep_the_mean_and_never_leave_the_range_of_the_fine_ones():
    array = np.zeros((24, 24, 24), np.float32)
    array[8:16, 8:16, 8:16] = np.random.default_rng(3).random((8, 8, 8))
    coarse, _ = resample_to_spacing(array, np.eye(4), 4.0)
    assert coarse.mean() == pytest.approx(array.mean(), rel=1e-4)
    assert coarse.min() >= 0 and coarse.max() <= array.max()


def test_constant_volume_stays_constant_to_the_edge_of_both_grids():
    coarse, affine = resample_to_spacing(np.ones((9, 10, 11)), AFFINE, 3.7)
    np.testing.assert_allclose(coarse, 1, atol=1e-6)
    np.testing.assert_allclose(resample_onto(coarse, affine, (9, 10, 11), AFFINE), 1, atol=1e-6)


def test_grids_that_are_not_parallel_are_refused():
    turned = np.array([[0.8, -0.6, 0, 0], [0.6, 0.8, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1.0]])
    with pytest.raises(ValueError, match="not parallel"):
        resample_onto(np.zeros((4, 4, 4)), np.eye(4), (4, 4, 4), turned)


def test_a_flat_brain_stays_flat_to_its_edge_when_resampled_within_the_brain():
    """Half of the voxels along the edge are background; plain averages there would be darker than the brain."""
    axes = np.meshgrid(*[np.arange(size) - (size - 1) / 2 for size in (24, 26, 28)], indexing="ij")
    brain = np.sum(np.square(axes), axis=0) < 9.3**2
    affine = np.eye(4)
    shape, coarse_affine = resampled_grid(brain.shape, affine, 3.0, (0, 0, 0))
    coarse, inside = resample_foreground(0.7 * brain, brain, -1.0, affine, shape, coarse_affine)
    np.testing.assert_allclose(coarse[inside], 0.7, rtol=1e-5)
    assert (coarse[~inside] == -1).all()
    assert abs(inside.sum() * 27 / brain.sum() - 1) < 0.1

    back = resample_within_mask(coarse, inside, coarse_affine, brain, affine)
    assert not back[~brain].any()
    np.testing.assert_allclose(back[back > 0], 0.7, rtol=1e-5)
    assert (back[brain] > 0).mean() > 0.97


def test_tissue_predicted_as_zero_is_interpolated_and_not_overwritten_by_its_neighbors():
    coarse = np.broadcast_to(np.float32([0.4, 0.4, 0, 0.4, 0.4]), (4, 4, 5))
    everywhere, fine = np.ones(coarse.shape, bool), np.ones((8, 8, 10), bool)
    affine, fine_affine = np.diag([2.0, 2, 2, 1]), np.eye(4)
    fine_affine[:3, 3] = -0.5
    back = resample_within_mask(coarse, everywhere, affine, fine, fine_affine)
    np.testing.assert_allclose(back, resample_onto(coarse, affine, fine.shape, fine_affine), atol=1e-6)
    np.testing.assert_allclose(back[4, 4], [0.4, 0.4, 0.4, 0.3, 0.1, 0.1, 0.3, 0.4, 0.4, 0.4], atol=1e-6)
