"""Metrics of volumes, in float64 on the host: image similarity, the metrics of two challenges, through-plane steps.

SSIM is that of Wang et al., "Image Quality Assessment: From Error Visibility to Structural Similarity", IEEE TIP 2004,
in three dimensions and with scikit-image's defaults. MS-SSIM is written by hand, twice: no library has SynthRAD2025's
masked one, and MONAI's needs torch.
"""

import numpy as np
from scipy.ndimage import correlate1d, uniform_filter, uniform_filter1d

from lift_jax.data.intensity import HU_RANGE
from lift_jax.losses.paired import MS_SSIM_WEIGHTS

UNIFORM_WINDOW = 7
"""Side of the cubic uniform window, voxels."""

SSIM_BORDER = UNIFORM_WINDOW // 2
"""Voxels of the SSIM map left out of its mean on every side: their windows reach beyond the volume."""

SSIM_K1, SSIM_K2 = 0.01, 0.03
"""Wang's stabilizing constants, as fractions of the data range."""

SYNTHRAD2025_SIDE = 97
"""Voxels to which SynthRAD2025 pads every side: the shortest that leaves one after four halvings and the border."""

MS_SSIM_WINDOW = 7
"""Side of the Gaussian window, voxels."""

MS_SSIM_SIGMA = 1.5
"""Standard deviation of the Gaussian window, voxels."""

MS_SSIM_SIDE = MS_SSIM_WINDOW * 2 ** (len(MS_SSIM_WEIGHTS) - 1)
"""Shortest side, voxels: the coarsest of the five scales must hold one window."""

BONE_THRESHOLD = 250.0
"""Hounsfield units above which a voxel of a CT counts as bone."""


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
    data_range = HU_RANGE[1] - HU_RANGE[0]
    shifted = _masked_from_zero(target, mask), _masked_from_zero(prediction, mask)
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
    data_range = HU_RANGE[1] - HU_RANGE[0]
    shifted = _masked_from_zero(target, mask), _masked_from_zero(prediction, mask)
    return {
        "mae": float(np.abs(target - prediction)[mask].mean()),
        "psnr": peak_signal_to_noise((shifted[0] - shifted[1]) ** 2, mask, data_range),
        "ms_ssim": _masked_ms_ssim(*shifted, mask, data_range),
    }


def delta_z(target, prediction, mask, bone_threshold: float | None = None) -> dict[str, float]:
    """Agreement of the through-plane differences Δz = `volume[k + 1] - volume[k]` of two volumes `[D, H, W]`.

    A pair of neighboring voxels counts where both lie in the mask; it is a pair of bone where, besides, the target is
    above `bone_threshold` in both.

    Args:
      target: the true volume, any unit.
      prediction: in the target's unit.
      mask: `[D, H, W]`, voxels above zero count.
      bone_threshold: in the target's unit; `BONE_THRESHOLD` for CT, None without bone.

    Returns:
      `{"mae", "mae_bone", "correlation"}`: mean |Δz predicted - Δz true| over the mask and over its bone (nan without a
      threshold or without a pair of bone), and Pearson's r of both Δz in the mask (nan where one is constant).

    Raises:
      ValueError: shapes that differ, values that are not finite, or a mask without two neighboring slices.
    """
    target, prediction = paired_volumes(target, prediction)
    mask = nonempty_mask(mask, target.shape)
    pairs = mask[1:] & mask[:-1]
    if not pairs.any():
        raise ValueError("the mask holds no voxel and its neighbor in the next slice; Δz needs one such pair")
    true, predicted = np.diff(target, axis=0), np.diff(prediction, axis=0)
    error = np.abs(predicted - true)
    mae_bone = float("nan")
    if bone_threshold is not None:
        bone = target > bone_threshold
        bone_pairs = pairs & bone[1:] & bone[:-1]
        mae_bone = float(error[bone_pairs].mean()) if bone_pairs.any() else mae_bone
    return {
        "mae": float(error[pairs].mean()),
        "mae_bone": mae_bone,
        "correlation": pearson(true[pairs], predicted[pairs]),
    }


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


def frechet_distance(a, b) -> float:
    """The Fréchet distance between Gaussians fitted to two sets of features `[n, features]` (n may differ).

    `‖μa - μb‖² + Tr(Σa + Σb - 2 √(Σa Σb))` with sample covariances (Heusel et al., "GANs Trained by a Two Time-Scale
    Update Rule", 2017). With centered features `Σa = Aᵀ A` and `Σb = Bᵀ B`, the eigenvalues of `Σa Σb` are the squared
    singular values of `A Bᵀ`, so the trace of the root is their sum: exact where n is below the number of features.

    Raises:
      ValueError: features that do not match, are not finite, or are of a single sample.
    """
    a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
    if a.ndim != 2 or b.ndim != 2 or a.shape[1] != b.shape[1]:
        raise ValueError(f"feature sets must be [n, features] with the same features, got {a.shape} and {b.shape}")
    if min(len(a), len(b)) < 2:
        raise ValueError(f"each feature set needs two samples or more, got {len(a)} and {len(b)}")
    if not (np.isfinite(a).all() and np.isfinite(b).all()):
        raise ValueError("a feature set holds values that are not finite")
    root_a, root_b = (np.linalg.qr((s - s.mean(0)) / np.sqrt(len(s) - 1)).R for s in (a, b))
    shift = a.mean(0) - b.mean(0)
    cross = np.linalg.svd(root_a @ root_b.T, compute_uv=False).sum()
    return float(shift @ shift + np.sum(root_a**2) + np.sum(root_b**2) - 2 * cross)


def peak_signal_to_noise(squared_error: np.ndarray, mask: np.ndarray, data_range: float) -> float:
    """`10 log10(data_range² / mean squared error)` over the mask, decibels; infinite where the error is 0."""
    mean = squared_error[mask].mean()
    return float(10 * np.log10(data_range**2 / mean)) if mean > 0 else float("inf")


def similarity_map(target: np.ndarray, prediction: np.ndarray, data_range: float) -> np.ndarray:
    """SSIM at every voxel, `[D, H, W]`; windows of the outer 3 voxels reach beyond the volume and do not count.

    Raises:
      ValueError: a side is shorter than the window of 7 voxels.
    """
    if min(target.shape) < UNIFORM_WINDOW:
        raise ValueError(f"SSIM needs at least {UNIFORM_WINDOW} voxels a side, got a volume of {target.shape}")
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


def paired_volumes(target, prediction) -> tuple[np.ndarray, np.ndarray]:
    """`(target, prediction)` as float64 `[D, H, W]`; from NumPy or JAX arrays.

    Raises:
      ValueError: not three axes, different shapes, or a value that is not finite.
    """
    target, prediction = np.asarray(target, np.float64), np.asarray(prediction, np.float64)
    if target.ndim != 3 or target.shape != prediction.shape:
        raise ValueError(
            f"target and prediction must be volumes [D, H, W] of one shape, got {target.shape} and {prediction.shape}"
        )
    for name, volume in (("target", target), ("prediction", prediction)):
        if not np.isfinite(volume).all():
            raise ValueError(f"the {name} holds values that are not finite")
    return target, prediction


def nonempty_mask(mask, shape: tuple[int, ...]) -> np.ndarray:
    """`mask` as bool `[D, H, W]`: true where it is above zero.

    Raises:
      ValueError: another shape than `shape`, or nothing in the mask.
    """
    mask = np.asarray(mask) > 0
    if mask.shape != shape:
        raise ValueError(f"the mask must have the volumes' shape {shape}, got {mask.shape}")
    if not mask.any():
        raise ValueError("the mask is empty")
    return mask


def pearson(a: np.ndarray, b: np.ndarray) -> float:
    """Pearson's correlation of two `[n]` float64 samples; nan where one of them is constant."""
    if np.ptp(a) == 0 or np.ptp(b) == 0:
        return float("nan")
    a, b = a - a.mean(), b - b.mean()
    return float(a @ b / np.sqrt((a @ a) * (b @ b)))


def _masked_from_zero(volume: np.ndarray, mask: np.ndarray) -> np.ndarray:
    low, high = HU_RANGE
    return np.where(mask, np.clip(volume, low, high), low) - low


def _window_statistics(a: np.ndarray, b: np.ndarray) -> tuple[np.ndarray, ...]:
    """Means, sample variances and sample covariance of two volumes in the window around each voxel."""
    voxels = UNIFORM_WINDOW**3
    sample = voxels / (voxels - 1)
    mean_a, mean_b = uniform_filter(a, UNIFORM_WINDOW), uniform_filter(b, UNIFORM_WINDOW)
    variance_a = sample * (uniform_filter(a * a, UNIFORM_WINDOW) - mean_a * mean_a)
    variance_b = sample * (uniform_filter(b * b, UNIFORM_WINDOW) - mean_b * mean_b)
    covariance = sample * (uniform_filter(a * b, UNIFORM_WINDOW) - mean_a * mean_b)
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
