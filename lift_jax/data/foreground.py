"""Foreground of scans: what is brain or body, and what is air or padding, whatever value the background has."""

import dataclasses
import functools
from collections.abc import Mapping
from typing import Literal

import numpy as np
from scipy import ndimage

RESIDUE = 2e-4
"""Share of the robust range up to which a difference from the background is a residue of interpolation, not tissue."""

RESIDUE_THRESHOLD = 1e-3
"""Share of the robust range above which tissue begins in a volume that has residue."""

RINGING_THRESHOLD = 0.02
"""The same where splines have left waves around the brain, which decay over several voxels."""

RINGING_SHARE = 0.1
"""Voxels between these two thresholds over voxels above them, from which on there are such waves."""

DARK = 0.05
"""Share of the robust range below which a voxel is dark: noise in air is, and most tissue is not."""

EXACT_SHARE = 0.3
"""Share of the voxels of the faces that have one value, from which on it is the value of a background."""

RESIDUE_SHARE = 0.01
"""Share of the non-background voxels that may be residue in a volume whose background is constant."""

SIGNED_SHARE = 0.02
"""Share of the non-background voxels clearly below the background, from which on they are tissue, not undershoot."""

SAMPLE = 200_000
"""Voxels from which quantiles and shares are estimated."""

NOISE_DEVIATIONS = 5.0
"""Standard deviations of the air's noise above which a voxel is tissue."""

LOCAL_DEVIATIONS = 1.3
"""The same for averages over 27 voxels; that of the noise's magnitude is 0.8, within 0.12."""

_NON_FINITE = "holds voxels that are not finite; replace them, for instance by 0"


@dataclasses.dataclass(frozen=True)
class Background:
    """The background of one volume, in the units of the file.

    Attributes:
      value: intensity of air or padding.
      kind: `constant`: all background voxels are exactly `value`; `residue`: they deviate by a small residue of
        interpolation; `noise`: they are noisy; `none`: no background was found.
      deviation: standard deviation of the background's noise, 0 for `constant`.
      range: 0.999 quantile of the distance of the other voxels from `value`.
      signed: whether tissue lies on both sides of `value`, as after z-scoring inside the brain.
      threshold: share of `range` above which tissue begins, where the background is not constant.
      box: the part of the volume within constant padding.
    """

    value: float
    kind: Literal["constant", "residue", "noise", "none"]
    deviation: float
    range: float
    signed: bool
    threshold: float
    box: tuple[slice, slice, slice]

    @property
    def constant(self) -> bool:
        """Whether all background voxels are exactly `value`."""
        return self.kind == "constant"

    @property
    def tolerance(self) -> float:
        """Distance from `value` up to which a voxel is background."""
        if self.constant:
            return 0.0
        return max(self.threshold * self.range, NOISE_DEVIATIONS * self.deviation)


def background_of(volume: np.ndarray) -> Background:
    """Finds the background of a volume from its faces and corners; it need not be 0.

    Args:
      volume: `[D, H, W]`, any real dtype and unit.

    Raises:
      ValueError: a voxel is not finite.
    """
    if not np.isfinite(volume).all():
        raise ValueError(_NON_FINITE)
    box = _without_padding(volume)
    inner = _forwards(volume[box])
    faces, corners = _faces(inner), _corners(inner)
    value, share = _most_frequent(faces)
    exact = share >= EXACT_SHARE
    if not exact:
        value = float(np.median(corners))
    others = inner[inner != value]
    if others.size == 0:
        return Background(value, "constant", 0.0, 0.0, False, RESIDUE_THRESHOLD, box)
    distances = others[:: max(1, others.size // SAMPLE)].astype(np.float64) - value
    span = float(np.quantile(np.abs(distances), 0.999))
    shares = np.abs(distances) / max(span, np.finfo(np.float64).tiny)
    deviation = 0.0 if exact else _deviation(corners - value)
    below = np.mean(distances < -max(DARK * span, 3 * deviation))
    noise = NOISE_DEVIATIONS * deviation > RESIDUE_THRESHOLD * span
    signed = bool(below > (SIGNED_SHARE / 3 if noise else SIGNED_SHARE))  # noisy air is most of the others
    tiny, dark = (float(np.mean(shares <= part)) for part in (RESIDUE, DARK))
    kind: Literal["constant", "residue", "noise", "none"]
    if exact and tiny < RESIDUE_SHARE and dark <= (0.6 if signed else 0.3):
        kind = "constant"
    elif exact:
        kind = "residue" if tiny > dark / 2 else "noise"
    elif deviation > 0.1 * span:
        kind = "none"
    else:
        kind = "noise" if noise else "residue"
    ringing = np.mean(shares > RESIDUE_THRESHOLD) > (1 + RINGING_SHARE) * np.mean(shares > RINGING_THRESHOLD)
    threshold = RINGING_THRESHOLD if ringing and kind == "residue" else RESIDUE_THRESHOLD
    return Background(value, kind, deviation, span, signed, threshold, box)


def find_foreground(volume: np.ndarray) -> np.ndarray:
    """The brain or body of a volume `[D, H, W]` of any real dtype, bool; ValueError if a voxel is not finite.

    With a constant background and tissue above it, as in a skull-stripped scan, it is exactly `volume > background`.
    """
    return _foreground(volume, background_of(volume))


def subject_foreground(volumes: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The foreground of each channel of a subject, `[D, H, W]` bool each; ValueError if a voxel is not finite.

    A channel with noise in the air takes the union of the foregrounds of channels without, where there are any.
    """
    backgrounds = {channel: background_of(volume) for channel, volume in volumes.items()}
    noisy = {channel for channel, background in backgrounds.items() if background.kind in ("noise", "none")}
    masks = {c: _foreground(volume, backgrounds[c]) for c, volume in volumes.items() if c not in noisy}
    shared = functools.reduce(np.logical_or, masks.values()) if masks else None
    for channel in noisy:
        masks[channel] = _foreground(volumes[channel], backgrounds[channel]) if shared is None else shared
    return {channel: masks[channel] for channel in volumes}


def _foreground(volume: np.ndarray, background: Background) -> np.ndarray:
    mask = np.zeros(volume.shape, bool)
    mask[background.box] = _inner_foreground(volume[background.box], background)
    return mask


def _inner_foreground(volume: np.ndarray, background: Background) -> np.ndarray:
    """The foreground within the padding."""
    if background.constant and not background.signed:
        return volume > background.value
    differences = _relative_to(volume, background.value)
    if background.signed:
        np.abs(differences, out=differences)
    if background.kind == "none" or (background.kind == "noise" and background.deviation == 0):
        return _solid_body(differences)
    mask = differences > background.tolerance
    if background.kind == "noise":
        mask |= _above_noise(differences, background.deviation)
    if background.threshold == RINGING_THRESHOLD:
        mask = ndimage.binary_opening(mask)  # the waves are thin
    return fill_holes(mask if background.constant else largest_component(mask))


def _above_noise(differences: np.ndarray, deviation: float) -> np.ndarray:
    """Where differences from the air exceed its noise on average over neighbors, as dim tissue does."""
    local = largest_component(ndimage.uniform_filter(differences, 3) > LOCAL_DEVIATIONS * deviation)
    return ndimage.binary_erosion(fill_holes(local), np.ones((3, 3, 3)))  # averaging has spread it by a voxel


def largest_component(mask: np.ndarray) -> np.ndarray:
    """The largest piece of a mask `[D, H, W]`, connected by faces."""
    pieces, count = ndimage.label(mask)
    if count <= 1:
        return mask
    sizes = np.bincount(pieces.ravel())
    return pieces == 1 + int(np.argmax(sizes[1:]))


def fill_holes(mask: np.ndarray) -> np.ndarray:
    """A mask `[D, H, W]` without its holes, the pieces of its complement that touch no face of the volume."""
    pieces, count = ndimage.label(~mask)
    outside = np.zeros(count + 1, bool)
    outside[np.unique(_faces(pieces))] = True
    outside[0] = False
    return ~outside[pieces]


def bounding_box(mask: np.ndarray) -> tuple[slice, slice, slice]:
    """The smallest box that holds a mask `[D, H, W]`; the whole volume, if it is empty."""
    found = ndimage.find_objects(mask.astype(np.uint8))
    return found[0] if found else (slice(None), slice(None), slice(None))


def body_mask(mr: np.ndarray) -> np.ndarray:
    """The body in an MR that has no mask, `[D, H, W]` bool: above Otsu's threshold, the largest piece, made solid.

    The threshold (Otsu, IEEE Trans. Systems, Man, Cybernetics 9:62, 1979) is of the logarithm, because fat is much
    brighter than the rest; gaps such as airways at the surface are closed, and every slice is filled. An MR that was
    z-scored or shifted is taken relative to its air.

    Raises:
      ValueError: a voxel is not finite.
    """
    background = background_of(mr)
    above = _relative_to(mr, air_zero(mr, background)) if mr.min() != mr.max() else mr
    return _solid_body(np.abs(above) if background.signed else above)


def air_zero(volume: np.ndarray, background: Background) -> float:
    """The intensity of no signal by the air of a volume: its background, or 0 in the noise of a magnitude image."""
    if background.kind in ("noise", "none") and not background.signed:
        sample = volume.ravel()[:: max(1, volume.size // SAMPLE)]
        is_magnitude = np.quantile(sample, 0.001) >= -0.1 * background.deviation
        if is_magnitude and background.value <= max(6 * background.deviation, 0.03 * background.range):
            return 0.0
    return background.value


def _relative_to(volume: np.ndarray, value: float) -> np.ndarray:
    dtype = np.result_type(volume, np.float32)  # whole numbers would wrap around
    return volume.astype(dtype) - dtype.type(value)


def _solid_body(mr: np.ndarray) -> np.ndarray:
    level = np.log1p(np.maximum(mr, 0) / max(float(np.mean(np.maximum(mr, 0))), 1e-6))
    bright = level > _otsu(level)
    if not bright.any():
        return bright
    body = largest_component(bright)
    ball = ndimage.generate_binary_structure(3, 1)
    body = ndimage.binary_closing(np.pad(body, 3), ball, iterations=3)[3:-3, 3:-3, 3:-3]
    return np.stack([ndimage.binary_fill_holes(plane) for plane in body])


def _otsu(values: np.ndarray) -> float:
    """The threshold between two classes that leaves most variance between them, of a histogram with 256 bins."""
    if np.ptp(values) == 0:
        return float(values.flat[0])
    counts, edges = np.histogram(values, bins=256)
    centers = (edges[1:] + edges[:-1]) / 2
    below = np.cumsum(counts)
    above = below[-1] - below
    total = np.cumsum(counts * centers)
    with np.errstate(divide="ignore", invalid="ignore"):
        between = below * above * (total / below - (total[-1] - total) / above) ** 2
    return float(centers[np.nanargmax(between)])


def _faces(volume: np.ndarray) -> np.ndarray:
    """The voxels of the six faces, edges more than once."""
    return np.concatenate([_plane(volume, axis, side).ravel() for axis in range(3) for side in (0, -1)])


def _plane(volume: np.ndarray, axis: int, index: int) -> np.ndarray:
    return volume[(slice(None),) * axis + (index,)]  # np.take would copy the whole view first


def _corners(volume: np.ndarray) -> np.ndarray:
    """The voxels of eight blocks at the corners, a twelfth of each side long."""
    sides = [max(1, size // 12) for size in volume.shape]
    index = np.ix_(*[np.r_[:side, size - side : size] for side, size in zip(sides, volume.shape, strict=True)])
    return volume[index].ravel().astype(np.float64)


def _most_frequent(values: np.ndarray) -> tuple[float, float]:
    """The most frequent value and its share; zero, where it makes up half of the values."""
    for candidate in (values.dtype.type(0), values[0]):
        share = float(np.mean(values == candidate))
        if share >= 0.5:
            return float(candidate), share
    unique, counts = np.unique(values, return_counts=True)
    return float(unique[np.argmax(counts)]), float(np.max(counts) / values.size)


def _without_padding(volume: np.ndarray) -> tuple[slice, slice, slice]:
    """The part of a volume that is left when planes of one value are cut off its faces, whatever that value."""
    box: list[slice] = [slice(0, size) for size in volume.shape]
    for axis in (0, 1, 2):
        for side in (0, -1):
            while box[axis].stop - box[axis].start > 1:
                plane = _plane(volume[tuple(box)], axis, side)
                if plane.min() != plane.max():
                    break
                box[axis] = slice(box[axis].start + 1 + side, box[axis].stop + side)
    return box[0], box[1], box[2]


def _deviation(differences: np.ndarray) -> float:
    """A robust standard deviation of differences from a median."""
    absolute = np.abs(differences)
    return float(max(1.4826 * np.median(absolute), absolute[absolute <= np.quantile(absolute, 0.9)].mean()))


def _forwards(volume: np.ndarray) -> np.ndarray:
    """The volume without its negative strides: a flipped view takes five times as long to read."""
    return volume[tuple(slice(None, None, -1 if stride < 0 else 1) for stride in volume.strides)]
