"""Likeness of a set of generated volumes to a set of real ones: distances between features, and variety."""

import numpy as np
from scipy.ndimage import correlate1d

from lift_jax.evaluation.metrics.image import MS_SSIM_WEIGHTS, SSIM_K1, SSIM_K2
from lift_jax.evaluation.metrics.inputs import paired_volumes

MS_SSIM_WINDOW = 7
"""Side of the Gaussian window, voxels."""

MS_SSIM_SIGMA = 1.5
"""Standard deviation of the Gaussian window, voxels."""

MS_SSIM_SIDE = MS_SSIM_WINDOW * 2 ** (len(MS_SSIM_WEIGHTS) - 1)
"""Shortest side, voxels: the coarsest of the five scales must hold one window."""

KERNEL_DEGREE = 3
"""Degree of the polynomial kernel of the kernel distance (Binkowski et al., 2018)."""


def frechet_distance(a, b) -> float:
    """The Fréchet distance between Gaussians fitted to two sets of features `[n, features]` (n may differ).

    `‖μa - μb‖² + Tr(Σa + Σb - 2 √(Σa Σb))` with sample covariances (Heusel et al., "GANs Trained by a Two Time-Scale
    Update Rule", 2017). With centered features `Σa = Aᵀ A` and `Σb = Bᵀ B`, the eigenvalues of `Σa Σb` are the squared
    singular values of `A Bᵀ`, so the trace of the root is their sum: exact where n is below the number of features.

    Raises:
      ValueError: features that do not match, are not finite, or are of a single sample.
    """
    a, b = _feature_sets(a, b)
    roots = [np.linalg.qr((s - s.mean(0)) / np.sqrt(len(s) - 1), mode="r") for s in (a, b)]
    shift = a.mean(0) - b.mean(0)
    cross = np.linalg.svd(roots[0] @ roots[1].T, compute_uv=False).sum()
    return float(shift @ shift + sum(np.sum(root**2) for root in roots) - 2 * cross)


def kernel_distance(a, b) -> float:
    """The unbiased squared maximum mean discrepancy of two sets of features `[n, features]` (n may differ).

    Kernel `(x · y / features + 1)³`: the kernel inception distance of Binkowski et al., "Demystifying MMD GANs", 2018,
    over whole sets. Unbiased, so it can be slightly negative for sets of one distribution.

    Raises:
      ValueError: as `frechet_distance`.
    """
    a, b = _feature_sets(a, b)

    def kernel(x, y):
        return (x @ y.T / x.shape[1] + 1) ** KERNEL_DEGREE

    def mean_between_different(x):
        values = kernel(x, x)
        return (values.sum() - np.trace(values)) / (len(x) * (len(x) - 1))

    return float(mean_between_different(a) + mean_between_different(b) - 2 * kernel(a, b).mean())


def ms_ssim(a, b) -> float:
    """Multi-scale SSIM of two volumes `[D, H, W]` in [0, 1], as MONAI's `MultiScaleSSIMMetric` with a window of 7.

    Gaussian window (σ 1.5), windows that lie within the volume alone, population moments. Contrast-structure at the
    four finest scales and full SSIM at the fifth, each averaged, clipped below at 0 and raised to the weight of its
    scale; 2³ average pooling in between. Source: Wang, Simoncelli and Bovik, "Multi-scale structural similarity", 2003.

    Raises:
      ValueError: shapes that differ, values that are not finite, or a side under 112 voxels.
    """
    a, b = paired_volumes(a, b)
    if min(a.shape) < MS_SSIM_SIDE:
        raise ValueError(f"MS-SSIM over five scales needs {MS_SSIM_SIDE} voxels or more a side, got {a.shape}")
    product = 1.0
    for scale, weight in enumerate(MS_SSIM_WEIGHTS):
        similarity, contrast_structure = _gaussian_similarity(a, b)
        is_last = scale == len(MS_SSIM_WEIGHTS) - 1
        product *= max(similarity if is_last else contrast_structure, 0.0) ** weight
        a, b = _pooled(a), _pooled(b)
    return float(product)


def _feature_sets(a, b) -> tuple[np.ndarray, np.ndarray]:
    a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
    if a.ndim != 2 or b.ndim != 2 or a.shape[1] != b.shape[1]:
        raise ValueError(f"feature sets must be [n, features] with the same features, got {a.shape} and {b.shape}")
    if min(len(a), len(b)) < 2:
        raise ValueError(f"each feature set needs two samples or more, got {len(a)} and {len(b)}")
    if not (np.isfinite(a).all() and np.isfinite(b).all()):
        raise ValueError("a feature set holds values that are not finite")
    return a, b


def _gaussian_similarity(a: np.ndarray, b: np.ndarray) -> tuple[float, float]:
    """Mean SSIM and mean contrast-structure over all windows that lie within two volumes in [0, 1]."""
    mean_a, mean_b = _window_mean(a), _window_mean(b)
    variances = _window_mean(a * a) - mean_a**2 + _window_mean(b * b) - mean_b**2
    covariance = _window_mean(a * b) - mean_a * mean_b
    contrast_structure = (2 * covariance + SSIM_K2**2) / (variances + SSIM_K2**2)
    luminance = (2 * mean_a * mean_b + SSIM_K1**2) / (mean_a**2 + mean_b**2 + SSIM_K1**2)
    return float((luminance * contrast_structure).mean()), float(contrast_structure.mean())


def _window_mean(volume: np.ndarray) -> np.ndarray:
    """Gaussian-weighted means of all windows that lie within the volume."""
    reach = MS_SSIM_WINDOW // 2
    weights = np.exp(-0.5 * (np.arange(-reach, reach + 1) / MS_SSIM_SIGMA) ** 2)
    for axis in range(3):
        volume = correlate1d(volume, weights / weights.sum(), axis=axis)
    return volume[reach:-reach, reach:-reach, reach:-reach]


def _pooled(volume: np.ndarray) -> np.ndarray:
    """Means of 2³ blocks; an odd last plane is left out."""
    depth, height, width = (side // 2 for side in volume.shape)
    blocks = volume[: 2 * depth, : 2 * height, : 2 * width].reshape(depth, 2, height, 2, width, 2)
    return blocks.mean((1, 3, 5))
