"""Intensity protocols: from scanner units to [0, 1], and between [0, 1] and the networks' [-1, 1].

The cWDM protocol is that of Friedrich et al., "cWDM: Conditional Wavelet Diffusion Models for Cross-Modality 3D
Medical Image Synthesis", 2024, for missing-modality MR on BraTS 2023.
"""

import functools

import numpy as np

CWDM_QUANTILES = (0.001, 0.999)
"""Fractions of the voxels of a whole volume at which cWDM clips a contrast."""

CWDM_IN_PLANE = (240, 240)
"""Height and width in voxels of a BraTS volume, the only one for which cWDM defines its crop."""

CWDM_CROP = 8
"""Voxels that cWDM cuts from each in-plane side, leaving 224×224."""


def normalize_cwdm(volume: np.ndarray) -> np.ndarray:
    """One contrast in [0, 1] by the cWDM protocol: clipped to two quantiles over the whole volume, then min-max.

    Negative voxels are set to 0 first. Magnitude images have none, so that BraTS as published is not touched; in other
    data they are the undershoot of a resampling, and would lift the background off zero.

    Args:
      volume: `[D, H, W]`, any real dtype, any unit proportional to the scanner's.

    Returns:
      float32 of the same shape, with minimum 0 and maximum 1.

    Raises:
      ValueError: a voxel is not finite, or the volume is constant between the two quantiles.
    """
    magnitudes = np.maximum(np.asarray(volume, dtype=np.float32), 0)
    if not np.isfinite(magnitudes).all():
        raise ValueError("holds voxels that are not finite; replace them, for instance by 0")
    low, high = _cwdm_range(magnitudes)
    np.clip(magnitudes, low, high, out=magnitudes)
    magnitudes -= low
    magnitudes /= high - low
    return magnitudes


def check_cwdm(volume: np.ndarray) -> None:
    """Raises the ValueError that `normalize_cwdm` would raise of a volume of finite numbers, in a tenth of its time."""
    steps = (-1 if stride < 0 else 1 for stride in volume.strides)
    forwards = volume[tuple(slice(None, None, step) for step in steps)]  # a flipped view takes five times as long
    positive = np.count_nonzero(forwards > 0)
    background = volume.size - positive
    low, high = CWDM_QUANTILES
    if background <= low * volume.size + 1 or positive <= (1 - high) * volume.size + 1:
        _cwdm_range(np.maximum(volume, 0))  # else the low quantile is zero and the high one is not: no need to sort


def _cwdm_range(magnitudes: np.ndarray) -> tuple[np.float32, np.float32]:
    low, high = (np.float32(quantile) for quantile in _magnitude_quantiles(magnitudes, CWDM_QUANTILES))
    if not high > low:
        raise ValueError(
            f"is constant (value {low:g}) between its {CWDM_QUANTILES[0]} and {CWDM_QUANTILES[1]} quantiles, "
            "so it cannot be scaled to [0, 1]; give a volume with an image in it"
        )
    return low, high


def _magnitude_quantiles(magnitudes: np.ndarray, fractions: tuple[float, ...]) -> list[float]:
    """The quantiles of non-negative numbers that `np.quantile` gives in float64, by linear interpolation of two ranks.

    Zeros, four fifths of a skull-stripped volume, come first in any order: only the rest is partitioned.
    """
    positive = magnitudes[magnitudes > 0]
    zeros = magnitudes.size - positive.size
    positions = [fraction * (magnitudes.size - 1) for fraction in fractions]
    ranks = sorted({rank for position in positions for rank in (int(np.floor(position)), int(np.ceil(position)))})
    ordered = np.partition(positive, np.array([rank - zeros for rank in ranks if rank >= zeros], dtype=np.intp))

    def value_at(rank: int) -> float:
        return float(ordered[rank - zeros]) if rank >= zeros else 0.0

    quantiles = []
    for position in positions:
        below, above = value_at(int(np.floor(position))), value_at(int(np.ceil(position)))
        quantiles.append(below + (above - below) * (position - np.floor(position)))
    return quantiles


def brain_mask(sources: np.ndarray) -> np.ndarray:
    """The brain by the cWDM protocol, `[D, H, W]` bool: where any of the sources `[D, H, W, C]` is above zero."""
    # Pairwise over channels: np.any along so short an axis takes five times as long.
    return functools.reduce(np.logical_or, np.moveaxis(np.asarray(sources) > 0, -1, 0))


def crop_cwdm(array: np.ndarray) -> np.ndarray:
    """The 224×224 in-plane center of a `[D, 240, 240, ...]` array, on which cWDM reports as well (a view).

    Raises:
      ValueError: the planes are not 240×240.
    """
    if array.shape[1:3] != CWDM_IN_PLANE:
        raise ValueError(f"the cWDM crop is defined for planes of 240x240 voxels, not of shape {array.shape[1:3]}")
    return array[:, CWDM_CROP:-CWDM_CROP, CWDM_CROP:-CWDM_CROP]


def apply_cwdm_background(prediction: np.ndarray, first_source: np.ndarray) -> np.ndarray:
    """A prediction as cWDM scores it, `[D, H, W]`: clamped to [0, 1], and zero where the first source is zero."""
    return np.where(np.asarray(first_source) == 0, 0, np.clip(prediction, 0, 1)).astype(np.float32)


def to_network(unit):
    """Intensities of the networks, in [-1, 1], from protocol intensities in [0, 1]; NumPy or JAX arrays."""
    return unit * 2 - 1


def from_network(intensities):
    """Protocol intensities in [0, 1] from intensities of the networks in [-1, 1], not clamped; NumPy or JAX arrays."""
    return (intensities + 1) / 2
