"""The SynthRAD2023 protocol's intensities: CT numbers to network units and back, and MR scaled inside the body."""

import numpy as np

HOUNSFIELD_RANGE = (-1024.0, 3000.0)
"""CT numbers to which SynthRAD clips, air to dense metal; the networks' -1 and 1."""

OUTSIDE = HOUNSFIELD_RANGE[0]
"""CT number given to all that is not body."""

MR_QUANTILE = 0.995
"""Fraction of a body's voxels below the MR intensity that becomes 1: above it lie vessels and fat under the coil."""

PLAUSIBLE_RANGE = 500.0
"""A CT in Hounsfield units holds air and bone, which lie farther apart than this."""

_MIDDLE, _HALF = sum(HOUNSFIELD_RANGE) / 2, (HOUNSFIELD_RANGE[1] - HOUNSFIELD_RANGE[0]) / 2


def hounsfield_to_network(hounsfield):
    """Network intensities in [-1, 1] from CT numbers, clipped to [-1024, 3000]; NumPy or JAX arrays."""
    return (hounsfield.clip(*HOUNSFIELD_RANGE) - _MIDDLE) / _HALF


def network_to_hounsfield(intensities):
    """CT numbers from network intensities, clipped to [-1024, 3000]; NumPy or JAX arrays."""
    return (intensities * _HALF + _MIDDLE).clip(*HOUNSFIELD_RANGE)


def normalize_mr(volume: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """An MR volume in [0, 1]: divided by its `MR_QUANTILE` in the mask, clipped, zero outside; float32 `[D, H, W]`.

    Raises:
      ValueError: voxels that are not finite, an empty mask, or an MR that is nowhere above zero in the mask.
    """
    if not np.isfinite(volume).all():
        raise ValueError("holds voxels that are not finite; replace them, for instance by 0")
    if not mask.any():
        raise ValueError("the mask is empty")
    high = np.quantile(volume[mask], MR_QUANTILE)
    if not high > 0:
        raise ValueError("shows nothing inside the mask; give an MR with an image in it")
    return np.where(mask, np.clip(volume / high, 0, 1), 0).astype(np.float32)


def doubts_about_hounsfield(volume: np.ndarray) -> str | None:
    """Why a CT `[D, H, W]` seems not to be in Hounsfield units, or None."""
    low, high = float(volume.min()), float(volume.max())
    if low >= 0:
        return f"has no value below 0 (lowest {low:g}), as if 1024 had been added"
    if high - low < PLAUSIBLE_RANGE:
        return f"spans {high - low:g} only, from {low:g} to {high:g}, less than air and bone do"
    return None
