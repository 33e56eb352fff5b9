"""Intensity protocols: from the units of files to a protocol's unit, and between that and the networks' [-1, 1].

The cWDM protocol is that of Friedrich et al., "cWDM: Conditional Wavelet Diffusion Models for Cross-Modality 3D
Medical Image Synthesis", 2024, for missing-modality MR on BraTS 2023. SynthRAD's is that of Thummerer et al.,
"SynthRAD2023 Grand Challenge dataset: Generating synthetic CT for radiotherapy", Medical Physics 50(7), 2023.
"""

import dataclasses
from collections.abc import Iterator

import numpy as np

from lift_jax.data.foreground import SAMPLE, Background, air_zero, background_of

CWDM_QUANTILES = (0.001, 0.999)
"""Fractions of the voxels of a whole volume at which cWDM clips a channel."""

CWDM_IN_PLANE = (240, 240)
"""Height and width in voxels of a BraTS volume, the only one for which cWDM defines its crop."""

CWDM_CROP = 8
"""Voxels that cWDM cuts from each in-plane side, leaving 224×224."""

SYNTHRAD_QUANTILE = 0.995
"""Fraction of a body's voxels below the MR intensity that becomes 1: above it lie vessels and fat under the coil."""

HU_RANGE = (-1024.0, 3000.0)
"""CT numbers to which SynthRAD clips, air to dense metal."""

ZSCORE_QUANTILES = (0.01, 0.999)
"""Fractions of the foreground between which `mr_zscore` scales."""

ZSCORE_FLOOR = 0.05
"""What `mr_zscore` makes of the darkest tissue, so that it differs from the background."""

FEW_VALUES = 16
"""Different values in a foreground up to which it looks like a segmentation."""

PLAUSIBLE_SPAN = 500.0
"""HU between the 0.001 and 0.999 quantiles of a body: soft tissue and bone lie farther apart than this."""

SOFT_TISSUE_HU = 250.0
"""HU from 0 within which the soft tissue of a CT, cone-beam CT included, has its peak."""

HU_OFFSET = 1024.0
"""What is often added to CT numbers, so that they are not negative."""

UNIT_TOLERANCE = 0.01
"""Overshoot of [0, 1] that is clipped, as in a prediction."""


_HALF_PRECISION = np.dtype(np.float16)


@dataclasses.dataclass(frozen=True)
class IntensityProtocol:
    """How the intensities of a channel are normalized; see `get_protocol`.

    Attributes:
      name: key of `PROTOCOLS`.
      unit: `[0, 1]` or `HU`; that of the attributes below.
      low, high: intensities that are -1 and 1 in the network.
      background: intensity outside the foreground.
      stored_dtype: dtype on disk.
    """

    name: str
    unit: str = "[0, 1]"
    low: float = 0.0
    high: float = 1.0
    background: float = 0.0
    stored_dtype: np.dtype = _HALF_PRECISION

    def normalize(self, volume: np.ndarray, foreground: np.ndarray) -> np.ndarray:
        """A volume in the protocol's unit, exactly `background` outside the foreground.

        Args:
          volume: `[D, H, W]` in the units of its file. Outside the foreground it is as read, or the value of its
            background, which tells where the raw zero is.
          foreground: `[D, H, W]` bool.

        Returns:
          `[D, H, W]` float32.

        Raises:
          ValueError: the volume cannot be normalized: it is constant or not finite, or the foreground is empty.
        """
        _check_numbers(volume, foreground)
        return PROTOCOLS[self.name][0](self, volume, foreground)

    def check(self, volume: np.ndarray, foreground: np.ndarray) -> tuple[list[str], list[str]]:
        """Errors and warnings about a volume, each the end of a line `FILE: ...` with the remedy.

        Args:
          volume: `[D, H, W]` in the units of its file.
          foreground: `[D, H, W]` bool.
        """
        try:
            _check_numbers(volume, foreground)
            return PROTOCOLS[self.name][1](self, volume, foreground)
        except ValueError as error:
            return [str(error)], []


def to_network(protocol: IntensityProtocol, intensities):
    """Network intensities in [-1, 1] from the protocol's unit; HU are clipped. NumPy or JAX arrays."""
    if protocol.unit == "HU":
        middle, half = _middle_and_half(protocol)
        return (intensities.clip(protocol.low, protocol.high) - middle) / half
    return unit_to_network(intensities)


def from_network(protocol: IntensityProtocol, intensities):
    """Intensities in the protocol's unit, clipped to its range, from network intensities. NumPy or JAX arrays."""
    if protocol.unit == "HU":
        middle, half = _middle_and_half(protocol)
        return (intensities * half + middle).clip(protocol.low, protocol.high)
    return network_to_unit(intensities).clip(protocol.low, protocol.high)


def unit_to_network(intensities):
    """Network intensities in [-1, 1] from intensities in [0, 1]; NumPy or JAX arrays."""
    return intensities * 2 - 1


def network_to_unit(intensities):
    """Intensities in [0, 1] from network intensities in [-1, 1], not clipped; NumPy or JAX arrays."""
    return (intensities + 1) / 2


def _middle_and_half(protocol: IntensityProtocol) -> tuple[float, float]:
    return (protocol.low + protocol.high) / 2, (protocol.high - protocol.low) / 2


def _check_numbers(volume: np.ndarray, foreground: np.ndarray) -> None:
    if not np.isfinite(volume).all():
        raise ValueError("holds voxels that are not finite; replace them, for instance by 0")
    if not foreground.any():
        raise ValueError("has an empty foreground; give a volume with an image in it, or a mask")


def _above_origin(volume: np.ndarray, foreground: np.ndarray) -> np.ndarray:
    """Intensities above the raw zero, `[D, H, W]` float32, 0 outside the foreground and never negative."""
    origin = np.float32(raw_zero(volume, foreground, background_of(volume)))
    above = np.where(foreground, np.asarray(volume, dtype=np.float32), origin)
    if origin:
        above -= origin
    return np.maximum(above, 0, out=above)


def raw_zero(volume: np.ndarray, foreground: np.ndarray, background: Background) -> float:
    """The intensity that was 0 before a volume was scaled or shifted.

    It is the background, unless tissue lies on both sides of that; then it is the darkest tissue. In the noise of a
    magnitude image, whose background is not 0 but close to it, it is 0.
    """
    zero = air_zero(volume, background)
    if background.kind == "none" and zero == 0:
        return zero
    if background.signed or background.kind == "none":
        tissue = volume[foreground].astype(np.float64)
        dark, darker = np.quantile(tissue, (0.01, 0.001))
        return float(max(tissue.min(), darker - 2 * (dark - darker)))  # a single low voxel is no zero
    return zero


def _mr_quantile(protocol: IntensityProtocol, volume: np.ndarray, foreground: np.ndarray) -> np.ndarray:
    """Clipped to two quantiles over the whole volume, then min-max, as cWDM does."""
    magnitudes = _above_origin(volume, foreground)
    low, high = (np.float32(quantile) for quantile in _magnitude_quantiles(magnitudes, CWDM_QUANTILES))
    if not high > low:
        raise ValueError(
            f"is constant (value {low:g}) between its {CWDM_QUANTILES[0]} and {CWDM_QUANTILES[1]} quantiles, "
            "so it cannot be scaled to [0, 1]; give a volume with an image in it"
        )
    np.clip(magnitudes, low, high, out=magnitudes)
    magnitudes -= low
    magnitudes /= high - low
    return magnitudes


def _mr_foreground(protocol: IntensityProtocol, volume: np.ndarray, foreground: np.ndarray) -> np.ndarray:
    """Divided by a quantile in the foreground and clipped, for SynthRAD."""
    magnitudes = _above_origin(volume, foreground)
    high = np.quantile(magnitudes[foreground], SYNTHRAD_QUANTILE)
    if not high > 0:
        raise ValueError("shows nothing inside the mask; give an MR with an image in it")
    return np.clip(magnitudes / high, 0, 1).astype(np.float32)


def _mr_zscore(protocol: IntensityProtocol, volume: np.ndarray, foreground: np.ndarray) -> np.ndarray:
    """Two quantiles of the foreground become `ZSCORE_FLOOR` and 1: the same for every scaling and shift."""
    low, high = np.quantile(volume[foreground].astype(np.float64), ZSCORE_QUANTILES)
    if not high > low:
        raise ValueError(f"is constant (value {low:g}) in its foreground; give a volume with an image in it")
    scaled = np.clip((volume - low) / (high - low), 0, 1)
    return np.where(foreground, ZSCORE_FLOOR + (1 - ZSCORE_FLOOR) * scaled, 0).astype(np.float32)


def _clipped(protocol: IntensityProtocol, volume: np.ndarray, foreground: np.ndarray) -> np.ndarray:
    """Clipped to the protocol's range."""
    return np.where(foreground, np.clip(volume, protocol.low, protocol.high), protocol.background).astype(np.float32)


def _check_mr(protocol: IntensityProtocol, volume: np.ndarray, foreground: np.ndarray) -> tuple[list, list]:
    background, inside = background_of(volume), np.count_nonzero(foreground)
    low, high = CWDM_QUANTILES
    clean = background.constant and background.value == 0 and not background.signed
    some, outside = inside > (1 - high) * volume.size + 1, volume.size - inside > low * volume.size + 1
    if not (protocol.name == "mr_quantile" and clean and some and outside):  # else it cannot fail: no need to sort
        protocol.normalize(volume, foreground)
    tissue = volume[foreground]
    warnings = list(_background_warnings(protocol, background))
    values = np.unique(tissue[:: max(1, tissue.size // 5000)])
    if values.size <= FEW_VALUES and (values := np.unique(tissue)).size <= FEW_VALUES:
        what = "is constant" if values.size == 1 else f"holds only {values.size} different values"
        warnings.append(f"{what} in its foreground; is it a segmentation? give the image")
    return [], warnings


def _background_warnings(protocol: IntensityProtocol, background: Background) -> Iterator[str]:
    value = f"{background.value:.4g}"
    if background.signed:
        yield (
            f"has tissue on both sides of its background ({value}), as after z-scoring; its darkest tissue is taken as "
            "zero; give the scan as it was before, or set the channel's protocol to mr_zscore for all subjects"
            if protocol.name != "mr_zscore"
            else f"has tissue on both sides of its background ({value}), as after z-scoring; its foreground is where "
            "voxels differ from that; check its outline, or give a mask"
        )
    elif background.constant and background.value != 0:
        yield f"has a background of {value}, not 0; it is taken as zero; check that it was not scaled by mistake"
    if background.kind == "residue":
        yield f"has small residues of interpolation in its background ({value}); they are removed; a mask is safer"
    elif background.kind == "noise" and protocol.name != "mr_foreground":
        yield "has noise in the air; its foreground was found by threshold; strip the skull, or give a mask"
    elif background.kind == "none":
        yield "has no air at its faces; its foreground was found by threshold; give a mask, or the whole field of view"


def _check_ct(protocol: IntensityProtocol, volume: np.ndarray, foreground: np.ndarray) -> tuple[list, list]:
    inside = volume[foreground]
    inside = inside[:: max(1, inside.size // SAMPLE)].astype(np.float64)
    low, high = np.quantile(inside, (0.001, 0.999))
    remedy = "give the CT in Hounsfield units"
    if high - low < PLAUSIBLE_SPAN:
        return [
            f"spans {high - low:.4g} only, from {low:.4g} to {high:.4g}, less than tissue and bone do; {remedy}"
        ], []
    peak = soft_tissue_peak(inside)
    if abs(peak - HU_OFFSET) < HU_OFFSET / 4:
        return [f"has its soft tissue at {peak:.0f}, as if 1024 had been added; subtract 1024"], []
    if abs(peak) > SOFT_TISSUE_HU:
        return [], [f"has its soft tissue at {peak:.0f}, not near 0 as Hounsfield units do; {remedy}"]
    return [], []


def soft_tissue_peak(inside: np.ndarray) -> float:
    """The most frequent CT number of a body, `[N]` voxels, in steps of 20, air in cavities left out."""
    low, high = np.quantile(inside, (0.001, 0.999))
    dense = inside[inside > low + 0.15 * (high - low)]
    counts, edges = np.histogram(dense, np.arange(dense.min() - 20, dense.max() + 40, 20))
    counts = np.convolve(counts, np.ones(3), mode="same")
    return float(edges[np.argmax(counts)] + 10)


def _check_unit(protocol: IntensityProtocol, volume: np.ndarray, foreground: np.ndarray) -> tuple[list, list]:
    low, high = float(volume.min()), float(volume.max())
    extent = f"reaches from {low:.4g} to {high:.4g}"
    if low < -UNIT_TOLERANCE or high > 1 + UNIT_TOLERANCE:
        return [f"{extent}, not from 0 to 1; set the channel's protocol to mr_quantile or mr_zscore, or rescale it"], []
    if low < 0 or high > 1:
        return [], [f"{extent}, a little outside [0, 1]; it is clipped"]
    return [], []


PROTOCOLS = {
    "mr_quantile": (_mr_quantile, _check_mr),
    "mr_zscore": (_mr_zscore, _check_mr),
    "mr_foreground": (_mr_foreground, _check_mr),
    "ct_hu": (_clipped, _check_ct),
    "unit": (_clipped, _check_unit),
}
"""By name: how a protocol normalizes a volume, and how it checks one."""


def get_protocol(name: str, hu_range: tuple[float, float] = HU_RANGE) -> IntensityProtocol:
    """The protocol of a name.

    Args:
      name: `mr_quantile` (cWDM's: two quantiles of the whole volume), `mr_zscore` (two quantiles of the foreground),
        `mr_foreground` (SynthRAD's: a quantile of the foreground is 1), `ct_hu`, or `unit` (already in [0, 1]).
      hu_range: CT numbers that are -1 and 1 in the network.

    Raises:
      ValueError: the name is unknown.
    """
    if name not in PROTOCOLS:
        raise ValueError(f"{name!r} is no intensity protocol; choose one of {', '.join(PROTOCOLS)}")
    if name == "ct_hu":
        low, high = (float(bound) for bound in hu_range)
        return IntensityProtocol(name, "HU", low, high, low, np.dtype(np.int16))
    return IntensityProtocol(name)


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
