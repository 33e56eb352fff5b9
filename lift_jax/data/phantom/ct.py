"""The phantom's CT scanner: beam hardening, noise, and numbers that stop at -1024."""

import functools

import numpy as np
from scipy import ndimage, sparse

HARDENING_RANGE = (4.0, 14.0)
"""Hounsfield units: standard deviation in the head of the worst slice of what beam hardening adds."""

NOISE_RANGE = (3.0, 8.0)
"""Standard deviation in HU of the noise of 1 mm voxels; it falls with the square root of the voxel's side."""

NOISE_BLUR_MM = 0.8
"""Standard deviation of the reconstruction kernel, which makes noise grainy, along rows and columns."""

ANGLES = 90
PLANE = 64
"""Directions of projection, and the side of the grid on which hardening is reconstructed: it has no fine detail."""

BONE_START = 150.0
"""HU above which attenuation counts as bone's."""


def scan_ct(generator: np.random.Generator, volume: np.ndarray, head: np.ndarray, spacing: float) -> np.ndarray:
    """Scans a head (`[D, H, W]` bool) of true CT numbers `volume [D, H, W]`: float32 HU, not below -1024."""
    amplitude, deviation = generator.uniform(*HARDENING_RANGE), generator.uniform(*NOISE_RANGE)
    result = volume + np.float32(amplitude) * hardening_pattern(volume, head)
    noise = generator.standard_normal(volume.shape, dtype=np.float32)
    blur = NOISE_BLUR_MM / spacing
    if blur > 0.2:
        noise = ndimage.gaussian_filter1d(ndimage.gaussian_filter1d(noise, blur, axis=1), blur, axis=2)
        noise /= noise.std()
    result += np.float32(deviation / np.sqrt(max(spacing, 1))) * noise
    return np.maximum(result, -1024)


def hardening_pattern(volume: np.ndarray, head: np.ndarray) -> np.ndarray:
    """Streaks and shades of beam hardening, `[D, H, W]`, of unit deviation in the head of the slice that has most.

    Water correction leaves an error that grows with the square of the bone that a ray has met: this is the filtered
    back-projection of minus that square, slice by slice. So dark bands lie between dense bones, as between the petrous
    ones. Reconstructed in parallel beams on a coarse grid.
    """
    depth, height, width = volume.shape
    bone = np.maximum(volume - np.float32(BONE_START), 0)
    coarse = _resized(bone, (depth, min(PLANE, height), min(PLANE, width)))
    paths = _projector(*coarse.shape[1:]) @ coarse.reshape(depth, -1).T
    errors = -(paths**2).reshape(ANGLES, -1, depth)
    bins = errors.shape[1]
    ramp = np.abs(np.fft.rfftfreq(2 * bins)).astype(np.float32)[None, :, None]
    filtered = np.fft.irfft(np.fft.rfft(errors, 2 * bins, axis=1) * ramp, axis=1)[:, :bins].astype(np.float32)
    pattern = (_projector(*coarse.shape[1:]).T @ filtered.reshape(-1, depth)).T.reshape(coarse.shape)
    pattern = _resized(pattern, volume.shape) * head
    count = np.maximum(head.sum(axis=(1, 2)), 1)
    means = pattern.sum(axis=(1, 2)) / count
    pattern = (pattern - means[:, None, None]) * head
    worst = np.sqrt((pattern**2).sum(axis=(1, 2)) / count).max()
    return (pattern / worst if worst > 0 else pattern).astype(np.float32)


def _resized(volume: np.ndarray, shape: tuple[int, int, int]) -> np.ndarray:
    """Linear interpolation to another grid over the same field of view."""
    if volume.shape == shape:
        return volume
    factors = [new / old for new, old in zip(shape, volume.shape, strict=True)]
    return ndimage.zoom(volume, factors, order=1, mode="nearest", grid_mode=True)


@functools.lru_cache(maxsize=4)
def _projector(height: int, width: int) -> sparse.csr_matrix:
    """Parallel projections of an image as a matrix, `[ANGLES bins, height width]`, with linear interpolation."""
    bins = int(np.ceil(np.hypot(height, width))) + 2
    rows, columns = np.indices((height, width)).reshape(2, -1)
    y, x = rows - (height - 1) / 2, columns - (width - 1) / 2
    parts = []
    for angle in np.arange(ANGLES) * np.pi / ANGLES:
        position = y * np.sin(angle) + x * np.cos(angle) + (bins - 1) / 2
        below = np.floor(position).astype(int)
        share = (position - below).astype(np.float32)
        pixels = np.arange(height * width)
        entries = (np.concatenate([1 - share, share]), (np.concatenate([below, below + 1]), np.tile(pixels, 2)))
        parts.append(sparse.csr_matrix(entries, shape=(bins, height * width)))
    return sparse.vstack(parts, format="csr")
