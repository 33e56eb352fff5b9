"""Scans as people prepare them: one small brain or head, and what other software makes of its intensities."""

import functools

import numpy as np
from scipy import ndimage

from lift_jax.data.phantom.brain import head_spacing, make_phantom
from lift_jax.data.phantom.head import field_spacing, make_phantom_head

SHAPE = (40, 48, 48)

SCALE = 800.0
"""Scanner units of an intensity of 1."""


@functools.cache
def _subject():
    return make_phantom(3, 0, SHAPE, head_spacing(SHAPE))


def brain(channel: int = 0) -> np.ndarray:
    """A skull-stripped channel in scanner units, `[D, H, W]` float32, 0 outside."""
    return SCALE * _subject().sources[..., channel]


@functools.cache
def head_pair() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """MR in scanner units with 0 in the air, CT in HU and the mask of a head, `[D, H, W]` each."""
    shape = (40, 48, 48)
    pair = make_phantom_head(3, 0, shape, field_spacing(shape))
    return SCALE * pair.mr, pair.ct, pair.mask


def _range(volume: np.ndarray) -> float:
    return float(np.subtract(*np.quantile(volume, [0.999, 0.0])))


def zscored(volume: np.ndarray, background: float | None = 0.0) -> np.ndarray:
    """Mean 0 and deviation 1 in the brain, and a given background, or the same transform everywhere (None)."""
    inside = volume[volume > 0]
    scaled = (volume - inside.mean()) / inside.std()
    return scaled if background is None else np.where(volume > 0, scaled, np.float32(background))


def zscored_everywhere(volume: np.ndarray) -> np.ndarray:
    """Mean 0 and deviation 1 of all voxels, background included."""
    return (volume - volume.mean()) / volume.std()


def white_striped(volume: np.ndarray, background: float | None = 0.0) -> np.ndarray:
    """White matter, the peak of the histogram, at 0, its deviation 1."""
    counts, edges = np.histogram(volume[volume > 0], 60)
    peak = edges[counts.argmax()]
    scaled = ((volume - peak) / (0.06 * SCALE)).astype(np.float32)
    return scaled if background is None else np.where(volume > 0, scaled, np.float32(background))


def minmax(volume: np.ndarray, background: float | None = None) -> np.ndarray:
    """Scaled to [-1, 1], all of it, or the brain only."""
    low = 0 if background is None else volume[volume > 0].min()
    scaled = (2 * (volume - low) / (volume.max() - low) - 1).astype(np.float32)
    return scaled if background is None else np.where(volume > 0, scaled, np.float32(background))


def add_everywhere(volume: np.ndarray, deviation: float) -> np.ndarray:
    """Gaussian noise of a deviation relative to the scale of the brain, inside and outside."""
    noise = np.random.default_rng(0).normal(0, deviation * _range(volume), volume.shape)
    return (volume + noise).astype(np.float32)


def noisy_air(volume: np.ndarray, deviation: float = 0.04) -> np.ndarray:
    """A magnitude image: Rayleigh noise where there was no signal, of a deviation relative to the median of tissue.

    Relative to the range, it would grow with the brightest lesion of the subject.
    """
    sigma = deviation * np.median(volume[volume > 0])
    noise = np.abs(np.random.default_rng(1).normal(0, sigma, (2, *volume.shape)))
    return np.where(volume > 0, volume, np.hypot(*noise)).astype(np.float32)


def noise_outside(volume: np.ndarray, tissue: np.ndarray, deviation: float = 0.02) -> np.ndarray:
    """Gaussian noise around the background of a scaled volume, outside the brain only."""
    noise = np.random.default_rng(2).normal(0, deviation * _range(volume), volume.shape)
    return np.where(tissue, volume, volume + noise).astype(np.float32)


def ringing(volume: np.ndarray) -> np.ndarray:
    """Moved by a fraction of a voxel with cubic splines, back again: residue and undershoot all around the brain."""
    shift = (0.4, 0.3, 0.2)
    moved = ndimage.shift(volume.astype(np.float64), shift, order=3)
    return ndimage.shift(moved, [-step for step in shift], order=3).astype(np.float32)


def padded(volume: np.ndarray, value: float, width: int = 5) -> np.ndarray:
    """More field of view, filled with a value."""
    return np.pad(volume, width, constant_values=value).astype(np.float32)


def dilated_tissue(volume: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """What is brain for sure, and what may be: one voxel less and one more than where the volume is above 0."""
    ball = ndimage.generate_binary_structure(3, 3)
    return ndimage.binary_erosion(volume > 0, ball), ndimage.binary_dilation(volume > 0, ball)
