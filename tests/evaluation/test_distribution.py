"""Distances between feature sets against closed forms and SciPy's matrix root; MS-SSIM against plain convolutions."""

import jax.numpy as jnp
import numpy as np
import pytest
from scipy.linalg import sqrtm
from scipy.signal import fftconvolve

from lift_jax.evaluation.metrics import frechet_distance, ms_ssim

WEIGHTS = [0.0448, 0.2856, 0.3001, 0.2363, 0.1333]


def feature_sets(n, m, features, seed=0):
    generator = np.random.default_rng(seed)
    mixing = generator.normal(size=(features, features)) / np.sqrt(features)
    return generator.normal(size=(n, features)), 0.3 + generator.normal(size=(m, features)) @ mixing


def with_moments(n, mean, covariance, seed=0):
    """Samples `[n, features]` whose sample mean and covariance are exactly these."""
    samples = np.random.default_rng(seed).normal(size=(n, len(mean)))
    samples -= samples.mean(0)
    white = samples @ np.linalg.inv(np.linalg.cholesky(np.cov(samples, rowvar=False))).T
    return mean + white @ np.linalg.cholesky(covariance).T


@pytest.mark.parametrize(("n", "m", "features"), [(60, 50, 8), (12, 300, 8), (9, 11, 9)])
def test_frechet_distance_equals_the_matrix_root(n, m, features):
    a, b = feature_sets(n, m, features)
    covariances = [np.cov(s, rowvar=False) for s in (a, b)]
    root = sqrtm(covariances[0] @ covariances[1]).real
    expected = np.sum((a.mean(0) - b.mean(0)) ** 2) + np.trace(covariances[0] + covariances[1] - 2 * root)
    assert frechet_distance(a, b) == pytest.approx(expected, rel=1e-5)


def test_frechet_distance_of_gaussians_on_common_axes_is_the_closed_form():
    mean, a_deviations, b_deviations = np.array([1.0, -2.0, 0.5]), np.array([1.0, 2.0, 3.0]), np.array([2.0, 1.0, 3.0])
    rotation, _ = np.linalg.qr(np.random.default_rng(0).normal(size=(3, 3)))
    a = with_moments(40, np.zeros(3), rotation @ np.diag(a_deviations**2) @ rotation.T)
    b = with_moments(70, mean, rotation @ np.diag(b_deviations**2) @ rotation.T, seed=1)
    expected = mean @ mean + np.sum((a_deviations - b_deviations) ** 2)
    assert frechet_distance(a, b) == pytest.approx(expected, rel=1e-9)


def test_frechet_distance_with_fewer_samples_than_features_ignores_directions_without_variance():
    a, b = feature_sets(6, 7, 5)
    rotation, _ = np.linalg.qr(np.random.default_rng(1).normal(size=(200, 5)))
    assert frechet_distance(a @ rotation.T, b @ rotation.T) == pytest.approx(frechet_distance(a, b), rel=1e-9)


def test_frechet_distance_is_zero_for_equal_sets_symmetric_and_blind_to_order():
    a, b = feature_sets(30, 20, 6)
    assert frechet_distance(a, a[::-1]) == pytest.approx(0, abs=1e-10)
    assert frechet_distance(a, b) == pytest.approx(frechet_distance(b, a), rel=1e-9)


def test_jax_features_give_a_python_float():
    a, b = feature_sets(10, 12, 4)
    value = frechet_distance(jnp.asarray(a, jnp.float32), jnp.asarray(b, jnp.float32))
    assert type(value) is float and value == pytest.approx(frechet_distance(a, b), rel=1e-4)


@pytest.mark.parametrize(
    ("a", "b", "message"),
    [
        (np.zeros((3, 4)), np.zeros((3, 5)), "same features"),
        (np.zeros(3), np.zeros(3), "same features"),
        (np.zeros((1, 4)), np.zeros((3, 4)), "two samples"),
        (np.full((3, 4), np.nan), np.zeros((3, 4)), "not finite"),
    ],
)
def test_unusable_features_are_refused(a, b, message):
    with pytest.raises(ValueError, match=message):
        frechet_distance(a, b)


def reference_ms_ssim(a, b):
    """Multi-scale SSIM from its definition, with the whole 3D Gaussian window in one convolution."""
    line = np.exp(-(np.arange(-3, 4) ** 2) / (2 * 1.5**2))
    window = np.einsum("i,j,k->ijk", line, line, line)
    window /= window.sum()
    terms = []
    for scale in range(5):
        mean_a, mean_b, square_a, square_b, product = (
            fftconvolve(volume, window, mode="valid") for volume in (a, b, a * a, b * b, a * b)
        )
        variances, covariance = square_a - mean_a**2 + square_b - mean_b**2, product - mean_a * mean_b
        values = (2 * covariance + 9e-4) / (variances + 9e-4)
        if scale == 4:
            values *= (2 * mean_a * mean_b + 1e-4) / (mean_a**2 + mean_b**2 + 1e-4)
        terms.append(max(values.mean(), 0))
        a, b = pooled(a), pooled(b)
    return np.prod(np.array(terms) ** WEIGHTS)


def pooled(volume):
    volume = volume[tuple(slice(n // 2 * 2) for n in volume.shape)]
    return sum(volume[i::2, j::2, k::2] for i, j, k in np.ndindex(2, 2, 2)) / 8


@pytest.fixture(scope="module")
def likely_pair():
    """Two alike volumes with structure at every scale and sides that are odd at some scale."""
    shape = (113, 112, 115)
    generator = np.random.default_rng(0)
    z, y, x = np.meshgrid(*(np.linspace(0, 12, n) for n in shape), indexing="ij")
    a = 0.5 + 0.3 * np.sin(z + np.cos(y)) * np.cos(x) + 0.05 * generator.normal(size=shape)
    return a.clip(0, 1), (0.8 * a + 0.1 + 0.05 * generator.normal(size=shape)).clip(0, 1)


def test_ms_ssim_equals_its_definition(likely_pair):
    assert ms_ssim(*likely_pair) == pytest.approx(reference_ms_ssim(*likely_pair), rel=1e-6)


def test_ms_ssim_of_a_volume_with_itself_is_one(likely_pair):
    assert ms_ssim(likely_pair[0], likely_pair[0]) == pytest.approx(1, abs=1e-12)


def test_ms_ssim_of_opposite_contrast_is_clipped_to_zero(likely_pair):
    assert ms_ssim(likely_pair[0], 1 - likely_pair[0]) == 0


@pytest.mark.parametrize("shape", [(111, 112, 112), (112, 112, 64)])
def test_volumes_too_small_for_five_scales_are_refused(shape):
    with pytest.raises(ValueError, match="112 voxels or more"):
        ms_ssim(np.zeros(shape), np.zeros(shape))
