"""Losses between slabs against float64 NumPy, SciPy and scikit-image."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import ndimage
from skimage.metrics import structural_similarity

from lift_jax.losses.paired import (
    LossWeights,
    first_difference_loss,
    fitting_scales,
    l1_loss,
    ms_ssim_loss,
    paired_terms,
    structure_loss,
)

PUBLISHED_WEIGHTS = np.array([0.0448, 0.2856, 0.3001, 0.2363, 0.1333])  # Wang et al., Asilomar 2003


def slabs(shape=(2, 3, 24, 20), noise=0.3, seed=0):
    """A smooth target in [-1, 1] and a noisy prediction of it, float32."""
    rng = np.random.default_rng(seed)
    target = np.tanh(ndimage.gaussian_filter(rng.normal(size=shape), (0, 0, 2, 2)) * 8)
    prediction = target + noise * rng.normal(size=shape)
    return prediction.astype(np.float32), target.astype(np.float32)


def ssim_reference(x, y):
    """Mean SSIM and mean contrast-structure of two images in [0, 1]: Gaussian window 11, σ 1.5, valid, float64."""

    def valid(image):
        smoothed = ndimage.gaussian_filter(image, 1.5, mode="constant", radius=5)
        return smoothed[5:-5, 5:-5]

    mean_x, mean_y = valid(x), valid(y)
    variance_x, variance_y = valid(x * x) - mean_x**2, valid(y * y) - mean_y**2
    contrast = (2 * (valid(x * y) - mean_x * mean_y) + 0.03**2) / (variance_x + variance_y + 0.03**2)
    luminance = (2 * mean_x * mean_y + 0.01**2) / (mean_x**2 + mean_y**2 + 0.01**2)
    return (luminance * contrast).mean(), contrast.mean()


def similarity_reference(prediction, target, scales):
    """1 - MS-SSIM per slice in plain loops, `[B, D]`."""
    weights = PUBLISHED_WEIGHTS[:scales] / PUBLISHED_WEIGHTS[:scales].sum()
    result = []
    for predicted_slab, true_slab in zip(prediction, target, strict=True):
        values = []
        for x, y in zip((predicted_slab + 1.0) / 2, (true_slab + 1.0) / 2, strict=True):
            x, y, product = x.astype(np.float64), y.astype(np.float64), 1.0
            for scale, weight in enumerate(weights):
                whole, contrast = ssim_reference(x, y)
                product *= max(whole if scale == scales - 1 else contrast, 1e-2) ** weight
                x, y = (
                    (i[:-1:2, :-1:2] + i[1::2, :-1:2] + i[:-1:2, 1::2] + i[1::2, 1::2]) / 4 for i in (even(x), even(y))
                )
            values.append(1 - product)
        result.append(values)
    return np.array(result)


def even(image):
    """The image with a row and a column to spare beyond an even number, so that strides of 2 end before them."""
    height, width = (side // 2 * 2 for side in image.shape)
    return np.pad(image[:height, :width], ((0, 1), (0, 1)))


LOSSES = [l1_loss, ms_ssim_loss, first_difference_loss]


def test_l1_loss_is_the_mean_absolute_difference_of_each_slab():
    prediction, target = slabs()
    expected = np.abs(prediction.astype(np.float64) - target).mean(axis=(1, 2, 3))
    np.testing.assert_allclose(l1_loss(prediction, target), expected, rtol=1e-5)


def test_l1_loss_weights_of_slices_and_voxels_multiply_and_are_not_normalized():
    prediction, target = slabs()
    rng = np.random.default_rng(1)
    voxels, slices = (rng.random(shape).astype(np.float32) * 3 for shape in (target.shape, target.shape[:2]))
    expected = np.abs(prediction.astype(np.float64) - target) * voxels * slices[:, :, None, None]
    np.testing.assert_allclose(l1_loss(prediction, target, slices, voxels), expected.mean(axis=(1, 2, 3)), rtol=1e-5)


def test_first_difference_loss_compares_differences_of_neighboring_slices():
    prediction, target = slabs()
    expected = np.abs(np.diff(prediction.astype(np.float64), axis=1) - np.diff(target.astype(np.float64), axis=1))
    np.testing.assert_allclose(first_difference_loss(prediction, target), expected.mean(axis=(1, 2, 3)), rtol=1e-5)


def test_structure_loss_is_what_a_least_squares_scale_and_offset_leave_in_the_foreground():
    prediction, target = slabs()
    target = np.where(target < -0.2, -1, target)
    expected = []
    for made, true in zip(prediction.astype(np.float64), target.astype(np.float64), strict=True):
        inside = true > -1
        line = np.polyfit(made[inside], true[inside], 1)
        expected.append(np.abs(np.polyval(line, made[inside]) - true[inside]).sum() / true.size)
    np.testing.assert_allclose(structure_loss(prediction, target), expected, rtol=2e-3)
    np.testing.assert_allclose(structure_loss(0.5 * prediction + 0.2, target), expected, rtol=5e-3)


def test_terms_are_means_over_the_batch_and_those_without_weight_are_left_out():
    prediction, target = slabs()
    weights = np.random.default_rng(1).random(target.shape).astype(np.float32) * 3
    loss = LossWeights()
    terms = paired_terms(prediction, target, loss, voxel_weights=weights)
    error = prediction.astype(np.float64) - target
    np.testing.assert_allclose(terms["pixel"], (np.abs(error) * weights).mean(), rtol=1e-5)
    np.testing.assert_allclose(terms["through_plane"], np.abs(np.diff(error, axis=1)).mean(), rtol=1e-5)
    np.testing.assert_allclose(terms["similarity"], similarity_reference(prediction, target, 1).mean(), rtol=1e-4)
    assert paired_terms(prediction, target, LossWeights(pixel=0.0, similarity=0.0)).keys() == {"through_plane"}
    assert paired_terms(prediction, target, LossWeights(structure=0.5)).keys() == terms.keys() | {"structure"}


def test_first_difference_loss_ignores_what_is_added_to_all_slices_alike():
    prediction, target = slabs()
    image = np.random.default_rng(1).normal(size=(2, 1, 24, 20)).astype(np.float32)
    np.testing.assert_allclose(
        first_difference_loss(prediction + image, target), first_difference_loss(prediction, target), rtol=1e-5
    )


def test_a_single_slice_has_no_first_difference_loss():
    prediction, target = slabs((2, 1, 12, 12))
    np.testing.assert_array_equal(first_difference_loss(prediction, target), [0, 0])


@pytest.mark.parametrize(
    ("height", "width", "scales"),
    [(11, 11, 1), (21, 30, 1), (23, 25, 2), (47, 45, 3), (176, 181, 5)],
)
def test_ms_ssim_loss_equals_ms_ssim_in_plain_float64(height, width, scales):
    prediction, target = slabs((2, 1, height, width))
    expected = similarity_reference(prediction, target, scales)
    np.testing.assert_allclose(ms_ssim_loss(prediction, target), expected, rtol=1e-4)


def test_ms_ssim_loss_at_one_scale_equals_scikit_image_where_the_window_fits():
    prediction, target = slabs((1, 1, 21, 20), noise=0.1)
    _, full = structural_similarity(
        (target[0, 0].astype(np.float64) + 1) / 2,
        (prediction[0, 0].astype(np.float64) + 1) / 2,
        gaussian_weights=True,
        sigma=1.5,
        use_sample_covariance=False,
        data_range=1,
        full=True,
    )
    np.testing.assert_allclose(ms_ssim_loss(prediction, target), [[1 - full[5:-5, 5:-5].mean()]], rtol=1e-4)


def test_opposite_slices_are_held_just_above_zero_similarity():
    _, target = slabs((1, 1, 20, 20))
    np.testing.assert_allclose(ms_ssim_loss(-target, target), similarity_reference(-target, target, 1), rtol=1e-5)
    assert 0.98 < ms_ssim_loss(-target, target)[0, 0] < 1


def test_a_slice_that_is_hardly_similar_does_not_outweigh_the_others():
    """Of five scales the finest has the exponent .0448, whose slope near zero is steepest."""
    (_, target), noise = slabs((1, 1, 176, 176)), np.random.default_rng(5).normal(size=(1, 1, 176, 176))
    slope = jax.jit(
        jax.grad(lambda share: ms_ssim_loss(share * target + (1 - share) * noise.astype(np.float32), target)[0, 0])
    )
    steepest = max(abs(float(slope(np.float32(share)))) for share in np.linspace(-0.02, 0.02, 81))
    assert steepest < 3


def test_ms_ssim_loss_takes_every_slice_by_itself():
    prediction, target = slabs()
    of_slices = [ms_ssim_loss(prediction[:, k : k + 1], target[:, k : k + 1]) for k in range(target.shape[1])]
    np.testing.assert_allclose(ms_ssim_loss(prediction, target), np.concatenate(of_slices, axis=1), rtol=1e-5)


@pytest.mark.parametrize("loss", LOSSES)
def test_identical_slabs_have_no_loss(loss):
    _, target = slabs()
    np.testing.assert_allclose(loss(target, target), 0, atol=1e-6)


@pytest.mark.parametrize("loss", LOSSES)
def test_losses_are_symmetric(loss):
    prediction, target = slabs()
    np.testing.assert_allclose(loss(prediction, target), loss(target, prediction), rtol=1e-5)


@pytest.mark.parametrize("loss", LOSSES)
def test_slabs_of_a_batch_are_independent(loss):
    prediction, target = slabs()
    alone = [loss(prediction[b : b + 1], target[b : b + 1])[0] for b in range(2)]
    np.testing.assert_allclose(loss(prediction, target), alone, rtol=1e-5)


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("value", [-1.0, 0.0, 1.0])
def test_gradients_are_finite_for_constant_and_for_identical_slabs(loss, value):
    _, target = slabs((1, 2, 24, 24))
    constant = np.full_like(target, value)
    gradient = jax.jit(jax.grad(lambda prediction, target: jnp.sum(loss(prediction, target))))
    for prediction, true in [(constant, target), (target, constant), (constant, constant), (target, target)]:
        assert np.isfinite(gradient(prediction, true)).all()


def test_the_similarity_gradient_points_uphill():
    prediction, target = slabs((1, 2, 24, 24))
    value, gradient = jax.jit(jax.value_and_grad(lambda p: ms_ssim_loss(p, target).mean()))(prediction)
    step = 0.1 * gradient / np.abs(gradient).max()
    difference = (ms_ssim_loss(prediction + step, target) - ms_ssim_loss(prediction - step, target)).mean()
    assert value > 0
    np.testing.assert_allclose(difference, 2 * np.vdot(gradient, step), rtol=0.02)


@pytest.mark.parametrize(
    ("height", "width", "scales"),
    [
        (11, 11, 1),
        (11, 500, 1),
        (21, 21, 1),
        (22, 22, 2),
        (43, 44, 2),
        (44, 44, 3),
        (88, 87, 3),
        (88, 88, 4),
        (175, 175, 4),
        (176, 176, 5),
        (240, 240, 5),
        (1000, 1000, 5),
    ],
)
def test_as_many_scales_as_the_window_fits_into(height, width, scales):
    assert fitting_scales(height, width) == scales
    side = min(height, width)
    assert side // 2 ** (scales - 1) >= 11 and (scales == 5 or side // 2**scales < 11)


def test_slices_smaller_than_the_window_are_refused():
    with pytest.raises(ValueError, match="at least 11 pixels a side, not 10"):
        ms_ssim_loss(*slabs((1, 1, 10, 30)))
