"""Likeness of a predicted volume to the true one: PSNR, SSIM and the metrics of two challenges, in float64 on the host.

SSIM is that of Wang et al., "Image Quality Assessment: From Error Visibility to Structural Similarity", IEEE TIP 2004,
in three dimensions and with scikit-image's defaults.
"""

import numpy as np
from scipy.ndimage import uniform_filter, uniform_filter1d

from lift_jax.evaluation.metrics.inputs import nonempty_mask, paired_volumes, pearson

SSIM_WINDOW = 7
"""Side of the cubic uniform window, voxels."""

SSIM_BORDER = SSIM_WINDOW // 2
"""Voxels of the SSIM map left out of its mean on every side: their windows reach beyond the volume."""

SSIM_K1, SSIM_K2 = 0.01, 0.03
"""Wang's stabilizing constants, as fractions of the data range."""

HOUNSFIELD_RANGE = (-1024.0, 3000.0)
"""CT numbers to which SynthRAD clips, air to dense metal."""

MS_SSIM_WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
"""Weight of each scale, finest first (Wang, Simoncelli and Bovik, "Multi-scale structural similarity", 2003)."""

SYNTHRAD2025_SIDE = 97
"""Voxels to which SynthRAD2025 pads every side: the shortest that leaves one after four halvings and the border."""


def unit_range(target, prediction, mask=None) -> dict[str, float]:
    """PSNR in decibels and SSIM of two volumes `[D, H, W]` in [0, 1], with a data range of 1.

    Without a mask both equal scikit-image's `peak_signal_noise_ratio` and `structural_similarity` (whose mean leaves
    out 3 voxels a side). With one, PSNR is over the voxels in the mask, and the same SSIM map, still without those
    3 voxels a side, is averaged over the mask. Windows see the whole volumes in both cases.

    Returns:
      `{"psnr", "ssim"}`; PSNR is infinite where the volumes agree exactly.

    Raises:
      ValueError: shapes that differ or have a side under 7 voxels, values that are not finite, an empty mask.
    """
    target, prediction = paired_volumes(target, prediction)
    mask = np.ones(target.shape, bool) if mask is None else nonempty_mask(mask, target.shape)
    return {
        "psnr": peak_signal_to_noise((target - prediction) ** 2, mask, 1.0),
        "ssim": interior_mean(similarity_map(target, prediction, 1.0), mask),
    }


def synthrad2023(target, prediction, mask) -> dict[str, float]:
    """The metrics of the SynthRAD2023 challenge on CT volumes `[D, H, W]` in Hounsfield units, and NCC.

    MAE (HU) and NCC (Pearson's r) are over the mask, unclipped. PSNR is over the mask after both volumes are clipped to
    [-1024, 3000], with that range. For SSIM both are clipped, set to -1024 outside the mask and shifted to start at 0;
    the map is averaged over the mask without 3 voxels a side. Source: Huijben et al., "Generating synthetic computed
    tomography for radiotherapy: SynthRAD2023 challenge report", 2024, and the challenge's evaluation code.

    Returns:
      `{"mae", "psnr", "ssim", "ncc"}`; NCC is nan where a volume is constant in the mask.

    Raises:
      ValueError: as `unit_range`.
    """
    target, prediction = paired_volumes(target, prediction)
    mask = nonempty_mask(mask, target.shape)
    data_range = HOUNSFIELD_RANGE[1] - HOUNSFIELD_RANGE[0]
    shifted = [_masked_from_zero(volume, mask) for volume in (target, prediction)]
    return {
        "mae": float(np.abs(target - prediction)[mask].mean()),
        "psnr": peak_signal_to_noise((shifted[0] - shifted[1]) ** 2, mask, data_range),
        "ssim": interior_mean(similarity_map(*shifted, data_range), mask),
        "ncc": pearson(target[mask], prediction[mask]),
    }


def synthrad2025(target, prediction, mask) -> dict[str, float]:
    """The metrics of the SynthRAD2025 challenge on CT volumes `[D, H, W]` in Hounsfield units.

    MAE and PSNR as in `synthrad2023`. MS-SSIM as the challenge's evaluation code computes it: the volumes are clipped,
    set to -1024 outside the mask, shifted to start at 0 and edge-padded, with the mask, to at least 97 voxels a side.
    At each of five scales the map `(luminance · contrast · structure) ** weight`, each factor clipped below at 0, is
    averaged over the mask without 3 voxels a side; between scales volumes go through a 2³ mean filter with zeros
    beyond the border and lose every other voxel, the mask likewise but unfiltered. The value is the product of the
    five means, each clipped to [0, 1].

    Returns:
      `{"mae", "psnr", "ms_ssim"}`; MS-SSIM is nan where the mask is so thin that a scale has none of its voxels.

    Raises:
      ValueError: shapes that differ, values that are not finite, an empty mask.
    """
    target, prediction = paired_volumes(target, prediction)
    mask = nonempty_mask(mask, target.shape)
    data_range = HOUNSFIELD_RANGE[1] - HOUNSFIELD_RANGE[0]
    shifted = [_masked_from_zero(volume, mask) for volume in (target, prediction)]
    return {
        "mae": float(np.abs(target - prediction)[mask].mean()),
        "psnr": peak_signal_to_noise((shifted[0] - shifted[1]) ** 2, mask, data_range),
        "ms_ssim": _masked_ms_ssim(*shifted, mask, data_range),
    }


def peak_signal_to_noise(squared_error: np.ndarray, mask: np.ndarray, data_range: float) -> float:
    """`10 log10(data_range² / mean squared error)` over the mask, decibels; infinite where the error is 0."""
    mean = squared_error[mask].mean()
    return float(10 * np.log10(data_range**2 / mean)) if mean > 0 else float("inf")


def similarity_map(target: np.ndarray, prediction: np.ndarray, data_range: float) -> np.ndarray:
    """SSIM at every voxel, `[D, H, W]`; windows of the outer 3 voxels reach beyond the volume and do not count.

    Raises:
      ValueError: a side is shorter than the window of 7 voxels.
    """
    if min(target.shape) < SSIM_WINDOW:
        raise ValueError(f"SSIM needs at least {SSIM_WINDOW} voxels a side, got a volume of {target.shape}")
    mean_t, mean_p, variance_t, variance_p, covariance = _window_statistics(target, prediction)
    c1, c2 = (SSIM_K1 * data_range) ** 2, (SSIM_K2 * data_range) ** 2
    numerator = (2 * mean_t * mean_p + c1) * (2 * covariance + c2)
    return numerator / ((mean_t**2 + mean_p**2 + c1) * (variance_t + variance_p + c2))


def interior_mean(similarity: np.ndarray, mask: np.ndarray) -> float:
    """The mean of a similarity map over the part of the mask that lies 3 voxels or more from every side.

    Raises:
      ValueError: no voxel of the mask lies there.
    """
    interior = (slice(SSIM_BORDER, -SSIM_BORDER),) * 3
    values = similarity[interior][mask[interior]]
    if values.size == 0:
        raise ValueError(
            f"no voxel of the mask is {SSIM_BORDER} voxels or more from the volume's sides; SSIM needs one"
        )
    return float(values.mean())


def _masked_from_zero(volume: np.ndarray, mask: np.ndarray) -> np.ndarray:
    low, high = HOUNSFIELD_RANGE
    return np.where(mask, np.clip(volume, low, high), low) - low


def _window_statistics(a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, ...]:
    """Means, sample variances and sample covariance of two volumes in the window around each voxel."""
    voxels = SSIM_WINDOW**3
    sample = voxels / (voxels - 1)
    mean_a, mean_b = uniform_filter(a, SSIM_WINDOW), uniform_filter(b, SSIM_WINDOW)
    variance_a = sample * (uniform_filter(a * a, SSIM_WINDOW) - mean_a * mean_a)
    variance_b = sample * (uniform_filter(b * b, SSIM_WINDOW) - mean_b * mean_b)
    covariance = sample * (uniform_filter(a * b, SSIM_WINDOW) - mean_a * mean_b)
    return mean_a, mean_b, variance_a, variance_b, covariance


def _masked_ms_ssim(target: np.ndarray, prediction: np.ndarray, mask: np.ndarray, data_range: float) -> float:
    missing = [max(0, SYNTHRAD2025_SIDE - side) for side in target.shape]
    padding = [(m // 2, m - m // 2) for m in missing]
    target, prediction, mask = (np.pad(array, padding, mode="edge") for array in (target, prediction, mask))
    interior = (slice(SSIM_BORDER, -SSIM_BORDER),) * 3
    product = 1.0
    for weight in MS_SSIM_WEIGHTS:
        if not mask[interior].any():
            return float("nan")
        similarity = _weighted_factors(target, prediction, weight, data_range)
        product *= min(max(interior_mean(similarity, mask), 0.0), 1.0)
        target, prediction, mask = _halved(target), _halved(prediction), mask[::2, ::2, ::2]
    return product


def _weighted_factors(target: np.ndarray, prediction: np.ndarray, weight: float, data_range: float) -> np.ndarray:
    """Luminance, contrast and structure at every voxel, each clipped below at 0, their product to the power `weight`.

    The challenge clips the variances at 0 in the two standard deviations alone, and so does this.
    """
    mean_t, mean_p, variance_t, variance_p, covariance = _window_statistics(target, prediction)
    deviations = np.sqrt(np.maximum(variance_t, 0) * np.maximum(variance_p, 0))
    c1, c2 = (SSIM_K1 * data_range) ** 2, (SSIM_K2 * data_range) ** 2
    c3 = c2 / 2
    luminance = (2 * mean_t * mean_p + c1) / (mean_t**2 + mean_p**2 + c1)
    contrast = (2 * deviations + c2) / (variance_t + variance_p + c2)
    structure = (covariance + c3) / (deviations + c3)
    return (np.maximum(luminance, 0) * np.maximum(contrast, 0) * np.maximum(structure, 0)) ** weight


def _halved(volume: np.ndarray) -> np.ndarray:
    """Every other voxel of the mean of each voxel and its lower neighbors, zeros beyond the border."""
    for axis in range(3):
        volume = uniform_filter1d(volume, 2, axis=axis, mode="constant")
    return volume[::2, ::2, ::2]
