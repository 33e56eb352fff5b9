"""Metrics of volumes against scikit-image, plain float64 references with explicit windows, and loops over voxels."""

import jax.numpy as jnp
import numpy as np
import pytest
from numpy.lib.stride_tricks import sliding_window_view
from scipy.signal import fftconvolve
from skimage.metrics import peak_signal_noise_ratio, structural_similarity

from lift_jax.evaluation.metrics import delta_z, synthrad2023, synthrad2025, unit_range

WEIGHTS = [0.0448, 0.2856, 0.3001, 0.2363, 0.1333]


def smooth_pair(shape, seed=0):
    """Two alike volumes in [0, 1] with structure at several scales."""
    generator = np.random.default_rng(seed)
    grid = np.stack(np.meshgrid(*(np.linspace(0, 6, n) for n in shape), indexing="ij"))
    target = 0.5 + 0.3 * np.sin(grid[0] + np.cos(grid[1])) * np.cos(grid[2]) + 0.05 * generator.normal(size=shape)
    prediction = 0.9 * target + 0.04 + 0.05 * generator.normal(size=shape)
    return target.clip(0, 1), prediction.clip(0, 1)


def ball(shape, radius=0.8):
    grid = np.meshgrid(*(np.linspace(-1, 1, n) for n in shape), indexing="ij")
    return sum(axis**2 for axis in grid) < radius**2


def hounsfield_pair(shape, seed=0):
    """Two volumes in HU that reach beyond [-1024, 3000] on both sides."""
    return tuple(volume * 5000 - 1500 for volume in smooth_pair(shape, seed))


def clipped_from_zero(volume, mask):
    volume = volume.copy()
    volume[~mask] = -1024
    return np.clip(volume, -1024, 3000) + 1024


def window_moments(a, b):
    """Means, sample variances and covariance of every full 7³ window, written out and two-pass, a plane at a time."""
    planes = []
    for start in range(a.shape[0] - 6):
        slabs = (sliding_window_view(volume[start : start + 7], (7, 7, 7))[0] for volume in (a, b))
        x, y = (slab.reshape(*slab.shape[:2], 343) for slab in slabs)
        mean_x, mean_y = x.mean(-1), y.mean(-1)
        x, y = x - mean_x[..., None], y - mean_y[..., None]
        moments = [mean_x, mean_y, *(np.einsum("ijk,ijk->ij", p, q) / 342 for p, q in ((x, x), (y, y), (x, y)))]
        planes.append(moments)
    return np.stack(planes, axis=1)


def reference_synthrad2025_ms_ssim(target, prediction, mask):
    """MS-SSIM as the challenge defines it, from full windows alone, so that no border rule of a filter enters."""
    volumes = [clipped_from_zero(volume, mask) for volume in (target, prediction)]
    before = [max(0, 97 - n) // 2 for n in mask.shape]
    padding = [(b, max(0, 97 - n) - b) for b, n in zip(before, mask.shape, strict=True)]
    x, y, m = (np.pad(array, padding, mode="edge") for array in (*volumes, mask.astype(float)))
    c1, c2 = (0.01 * 4024) ** 2, (0.03 * 4024) ** 2
    scores = []
    for weight in WEIGHTS:
        mean_x, mean_y, var_x, var_y, cov = window_moments(x, y)
        luminance = (2 * mean_x * mean_y + c1) / (mean_x**2 + mean_y**2 + c1)
        contrast = (2 * np.sqrt(var_x * var_y) + c2) / (var_x + var_y + c2)
        structure = (cov + c2 / 2) / (np.sqrt(var_x * var_y) + c2 / 2)
        product = np.ones_like(luminance)
        for factor in (luminance, contrast, structure):
            product *= np.clip(factor, 0, None) ** weight
        scores.append(np.clip(product[m[3:-3, 3:-3, 3:-3] > 0].mean(), 0, 1))
        x, y = (fftconvolve(array, np.full((2, 2, 2), 1 / 8), mode="same")[::2, ::2, ::2] for array in (x, y))
        m = m[::2, ::2, ::2]
    return np.prod(scores)


@pytest.mark.parametrize("shape", [(7, 7, 7), (20, 31, 26)])
def test_unit_range_equals_scikit_image(shape):
    target, prediction = smooth_pair(shape)
    scores = unit_range(target, prediction)
    assert scores["psnr"] == pytest.approx(peak_signal_noise_ratio(target, prediction, data_range=1), rel=1e-9)
    assert scores["ssim"] == pytest.approx(structural_similarity(target, prediction, data_range=1), rel=1e-9)


def test_masked_unit_range_averages_error_and_ssim_map_over_the_mask():
    target, prediction = smooth_pair((20, 31, 26))
    mask = ball(target.shape, radius=1.1)
    assert mask[0].any() and not mask.all()
    scores = unit_range(target, prediction, mask)
    _, similarity = structural_similarity(target, prediction, data_range=1, full=True)
    inner = (slice(3, -3),) * 3
    assert scores["psnr"] == pytest.approx(-10 * np.log10(np.mean((target - prediction)[mask] ** 2)), rel=1e-9)
    assert scores["ssim"] == pytest.approx(similarity[inner][mask[inner]].mean(), rel=1e-9)


def test_ssim_equals_the_definition_with_explicit_windows():
    target, prediction = smooth_pair((12, 15, 13))
    mean_t, mean_p, var_t, var_p, cov = window_moments(target, prediction)
    luminance = (2 * mean_t * mean_p + 1e-4) / (mean_t**2 + mean_p**2 + 1e-4)
    similarity = luminance * (2 * cov + 9e-4) / (var_t + var_p + 9e-4)
    assert unit_range(target, prediction)["ssim"] == pytest.approx(similarity.mean(), rel=1e-9)


def test_float32_and_jax_arrays_score_as_their_float64_values():
    target, prediction = (volume.astype(np.float32) for volume in smooth_pair((9, 10, 11)))
    expected = unit_range(target.astype(np.float64), prediction.astype(np.float64))
    assert unit_range(jnp.asarray(target), jnp.asarray(prediction)) == expected == unit_range(target, prediction)
    assert all(type(value) is float for value in expected.values())


def test_a_volume_is_perfectly_like_itself():
    target, _ = smooth_pair((9, 10, 11))
    scores = unit_range(target, target)
    assert scores["psnr"] == float("inf") and scores["ssim"] == pytest.approx(1, abs=1e-12)


def test_synthrad2023_equals_the_challenge_definition():
    target, prediction = hounsfield_pair((20, 31, 26))
    mask = ball(target.shape)
    scores = synthrad2023(target, prediction, mask)
    t, p = clipped_from_zero(target, mask), clipped_from_zero(prediction, mask)
    _, similarity = structural_similarity(t, p, data_range=4024, full=True)
    inner = (slice(3, -3),) * 3
    assert scores["mae"] == pytest.approx(np.sum(np.abs(target * mask - prediction * mask)) / mask.sum(), rel=1e-9)
    assert scores["psnr"] == pytest.approx(peak_signal_noise_ratio(t[mask], p[mask], data_range=4024), rel=1e-9)
    assert scores["ssim"] == pytest.approx(similarity[inner][mask[inner]].mean(), rel=1e-9)
    assert scores["ncc"] == pytest.approx(np.corrcoef(target[mask], prediction[mask])[0, 1], rel=1e-9)


@pytest.mark.parametrize("shape", [(30, 25, 40), (99, 18, 97)])
def test_synthrad2025_equals_a_plain_reference(shape):
    target, prediction = hounsfield_pair(shape)
    mask = ball(shape)
    scores = synthrad2025(target, prediction, mask)
    assert scores["ms_ssim"] == pytest.approx(reference_synthrad2025_ms_ssim(target, prediction, mask), rel=1e-6)
    plain = synthrad2023(target, prediction, mask)
    assert (scores["mae"], scores["psnr"]) == (plain["mae"], plain["psnr"])


@pytest.mark.parametrize("metric", [synthrad2023, synthrad2025])
def test_challenge_metrics_do_not_see_what_lies_outside_the_mask(metric):
    target, prediction = hounsfield_pair((20, 22, 24))
    mask = ball(target.shape)
    noise = np.random.default_rng(1).normal(0, 1000, target.shape)
    assert metric(target, prediction, mask) == metric(target + noise * ~mask, prediction - noise * ~mask, mask)


def test_synthrad2025_of_a_mask_that_vanishes_at_a_scale_is_nan():
    target, prediction = hounsfield_pair((100, 100, 100))
    mask = np.zeros(target.shape, bool)
    mask[51, 51, 51] = True
    assert np.isnan(synthrad2025(target, prediction, mask)["ms_ssim"])


def test_correlation_with_a_constant_prediction_is_nan():
    target, _ = hounsfield_pair((9, 9, 9))
    assert np.isnan(synthrad2023(target, np.zeros_like(target), np.ones_like(target))["ncc"])


@pytest.mark.parametrize("metric", [unit_range, synthrad2023, synthrad2025])
@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t, p, m: (t[1:], p, m), "one shape"),
        (lambda t, p, m: (t[0], p[0], m[0]), r"\[D, H, W\]"),
        (lambda t, p, m: (t, p, m[1:]), "the mask must have"),
        (lambda t, p, m: (t, p, m * 0), "mask is empty"),
        (lambda t, p, m: (np.where(t == t.max(), np.nan, t), p, m), "target holds"),
        (lambda t, p, m: (t, np.where(p == p.max(), np.inf, p), m), "prediction holds"),
    ],
)
def test_unusable_volumes_are_refused_in_one_line(metric, change, message):
    target, prediction = smooth_pair((9, 9, 9))
    with pytest.raises(ValueError, match=message) as raised:
        metric(*change(target, prediction, ball(target.shape).astype(float)))
    assert "\n" not in str(raised.value)


def test_volumes_thinner_than_the_window_are_refused():
    with pytest.raises(ValueError, match="at least 7 voxels"):
        unit_range(np.zeros((6, 9, 9)), np.zeros((6, 9, 9)))


def test_a_mask_on_the_border_alone_has_no_ssim():
    mask = np.zeros((9, 9, 9), bool)
    mask[0] = True
    with pytest.raises(ValueError, match="no voxel of the mask"):
        unit_range(np.zeros(mask.shape), np.zeros(mask.shape), mask)


def volumes(shape=(6, 5, 4), seed=0):
    generator = np.random.default_rng(seed)
    target = generator.normal(size=shape)
    return target, target + 0.3 * generator.normal(size=shape), generator.random(shape) < 0.7


def pairs_by_loop(target, prediction, inside):
    """(true Δz, predicted Δz) of every voxel and its upper neighbor that both satisfy `inside`."""
    found = []
    for k, j, i in np.ndindex(target.shape[0] - 1, *target.shape[1:]):
        if inside[k, j, i] and inside[k + 1, j, i]:
            found.append((target[k + 1, j, i] - target[k, j, i], prediction[k + 1, j, i] - prediction[k, j, i]))
    return np.array(found)


def test_mae_and_correlation_equal_a_loop_over_pairs():
    target, prediction, mask = volumes()
    pairs = pairs_by_loop(target, prediction, mask)
    scores = delta_z(target, prediction, mask)
    assert scores["mae"] == pytest.approx(np.abs(pairs[:, 1] - pairs[:, 0]).mean(), rel=1e-12)
    assert scores["correlation"] == pytest.approx(np.corrcoef(pairs.T)[0, 1], rel=1e-12)


def test_bone_counts_pairs_whose_voxels_are_both_bone_in_the_target():
    target, prediction, mask = volumes()
    pairs = pairs_by_loop(target, prediction, mask & (target > 0.2))
    scores = delta_z(target, prediction, mask, bone_threshold=0.2)
    assert scores["mae_bone"] == pytest.approx(np.abs(pairs[:, 1] - pairs[:, 0]).mean(), rel=1e-12)
    assert scores["mae_bone"] != scores["mae"] == delta_z(target, prediction, mask)["mae"]


def test_bone_is_nan_without_a_threshold_and_without_bone():
    target, prediction, mask = volumes()
    assert np.isnan(delta_z(target, prediction, mask)["mae_bone"])
    assert np.isnan(delta_z(target, prediction, mask, bone_threshold=100.0)["mae_bone"])


def test_a_constant_offset_does_not_show_and_slice_gains_do():
    target, _, mask = volumes()
    shifted = delta_z(target, target + 5.0, mask)
    assert shifted["mae"] == pytest.approx(0, abs=1e-12) and shifted["correlation"] == pytest.approx(1)
    gains = np.where(np.arange(6) % 2, 1.1, 0.9)[:, None, None]
    assert delta_z(target + 3.0, (target + 3.0) * gains, mask)["mae"] > 0.3


def test_values_outside_the_mask_do_not_count():
    target, prediction, mask = volumes()
    changed = np.where(mask, prediction, 99.0)
    assert delta_z(target, changed, mask) == pytest.approx(delta_z(target, prediction, mask), nan_ok=True)


def test_jax_arrays_give_python_floats():
    target, prediction, mask = volumes()
    scores = delta_z(jnp.asarray(target), jnp.asarray(prediction), jnp.asarray(mask))
    assert all(type(value) is float for value in scores.values())


def test_a_constant_prediction_has_no_correlation():
    target, _, mask = volumes()
    assert np.isnan(delta_z(target, np.zeros_like(target), mask)["correlation"])


def test_a_mask_without_neighboring_slices_is_refused():
    target, prediction, mask = volumes()
    mask[1::2] = False
    with pytest.raises(ValueError, match="next slice"):
        delta_z(target, prediction, mask)


def test_an_empty_mask_is_refused():
    target, prediction, mask = volumes()
    with pytest.raises(ValueError, match="empty"):
        delta_z(target, prediction, mask & False)
