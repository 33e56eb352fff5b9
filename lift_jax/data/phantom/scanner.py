"""The phantom's scanner: from tissues to images, with what sets a scan apart from its signal equations.

Texture, bias field, resolution, registration, noise, gains of slices, and the height of the brightest voxels. Ranges
were chosen so that levels and joint relations of channels cover those of real scans: docs/studies/real_scans.md.
"""

import dataclasses

import numpy as np

from lift_jax.data.phantom.acquisition import Protocol, Relaxation, signals, water_slope
from lift_jax.data.phantom.fields import smooth_field
from lift_jax.data.phantom.tissues import WHITE

GAIN_INTERLEAVE = 0.055
"""Standard deviation over volumes of the log-gain between even slices and the mean: interleaved acquisition."""
GAIN_SLICE = 0.058
"""Standard deviation of the independent log-gain of each slice; both together are about 8 %, in the worst channel."""

BIAS_PITCH_MM = 110.0
BIAS_DEVIATION = 0.07
"""Control point pitch, and standard deviation of the logarithm, of a channel's bias field (receive coil, B1)."""
TEXTURE_FIELDS = ((25.0, 0.05), (12.0, 0.05), (5.0, 0.06))
"""The largest relative variation of water content within tissues, shared by the channels: (pitch in mm, deviation)."""
OWN_TEXTURE_FIELDS = ((12.0, 0.05), (5.0, 0.07))
"""The largest relative variation of one channel by itself (flow, susceptibility, ringing), likewise."""
NOISE_RANGE = (0.01, 0.035)
"""Noise of each quadrature channel, relative to white matter."""

THICK_PROBABILITY = (0.4, 0.3, 0.6, 0.6)
"""How often each channel is acquired in thick slices and interpolated, as most clinical scans are."""
THICK_WIDTH_MM = (4.0, 7.0)
THIN_WIDTH_MM = (1.0, 2.0)
"""Full widths at half maximum of the point spread across thick slices, and in all other directions."""
SHIFT_MM = 0.5
"""Standard deviation, along each axis, of what registration leaves of a channel's shift."""

HEADROOM = (0.12, 0.4, 0.3, 0.2)
"""The most by which the 0.999 quantile of a scan of each channel, at 1 mm, may lie above that of the phantom: specks,
vessels and noise that set it vanish in larger voxels, and no phantom holds all of them."""


@dataclasses.dataclass(frozen=True)
class Imaging:
    """How each channel is imaged: `width [CHANNELS, 3]` and `shift [CHANNELS, 3]` in mm along D, H, W; `headroom`.

    `headroom [CHANNELS]` in [0, 1] is the height at which the phantom's own 0.999 quantile lies after normalization.
    """

    width: np.ndarray
    shift: np.ndarray
    headroom: np.ndarray


def draw_imaging(generator: np.random.Generator) -> Imaging:
    """Draws the resolution, misregistration and headroom of the channels of a session."""
    count = len(HEADROOM)
    width = generator.uniform(*THIN_WIDTH_MM, (count, 3))
    thick = generator.random(count) < THICK_PROBABILITY
    width[:, 0] = np.where(thick, generator.uniform(*THICK_WIDTH_MM, count), width[:, 0])
    shift = SHIFT_MM * generator.standard_normal((count, 3))
    shift -= shift[0]
    return Imaging(width, shift, 1 - np.array(HEADROOM) * generator.uniform(size=count))


def scan(
    generator: np.random.Generator,
    axes: list[np.ndarray],
    mask: np.ndarray,
    fractions: np.ndarray,
    relaxation: Relaxation,
    protocol: Protocol,
    imaging: Imaging,
) -> np.ndarray:
    """The four channels of a head, `[D, H, W, CHANNELS]` float32: exactly 0 outside the mask, no gains yet.

    Args:
      generator: source of texture, bias field and noise.
      axes: voxel centers in mm along D, H, W.
      mask: `[D, H, W]` bool.
      fractions: `[N, TISSUES]` for the voxels of the mask.
      relaxation: the tissues.
      protocol: the sequences.
      imaging: resolution and registration.
    """
    texture = np.float32(generator.uniform(0.3, 1)) * _texture(generator, axes, mask, TEXTURE_FIELDS)
    own = [_texture(generator, axes, mask, OWN_TEXTURE_FIELDS) for _ in range(2)]
    pure = signals(relaxation, protocol)
    slope = water_slope(relaxation, protocol)
    largest = pure.max(axis=0)
    white_level = (pure[WHITE] / largest) ** protocol.gamma
    noise = generator.uniform(*NOISE_RANGE, 4) * white_level
    volume = np.zeros((*mask.shape, 4), np.float32)
    for channel in range(4):
        bias = np.exp(np.float32(BIAS_DEVIATION) * smooth_field(generator, axes, BIAS_PITCH_MM)[mask])
        signal = fractions @ pure[:, channel].astype(np.float32)
        signal += texture * (fractions @ slope[:, channel].astype(np.float32))
        amount, angle = generator.uniform(0, 1), generator.uniform(0, 2 * np.pi)
        signal *= 1 + np.float32(amount * np.cos(angle)) * own[0] + np.float32(amount * np.sin(angle)) * own[1]
        signal = resample(np.maximum(signal, 0), mask, axes, imaging.width[channel], imaging.shift[channel])
        signal = (signal / np.float32(largest[channel])) ** np.float32(protocol.gamma[channel]) * bias
        quadratures = np.float32(noise[channel]) * generator.standard_normal((2, len(signal)), dtype=np.float32)
        volume[mask, channel] = np.hypot(signal + quadratures[0], quadratures[1])
    return volume


def resample(
    signal: np.ndarray, mask: np.ndarray, axes: list[np.ndarray], width: np.ndarray, shift: np.ndarray
) -> np.ndarray:
    """What voxels of another resolution, a little out of place, see of a signal `[N]` within the mask, `[N]` float32.

    A triangular point spread of `width` mm along each axis, no narrower than a voxel, centered `shift` mm away. Means
    are over the part of it that lies in the mask. Widths below a voxel without a shift change nothing.
    """
    both = np.zeros((2, *mask.shape), np.float32)
    both[0, mask], both[1, mask] = signal, 1
    for i, (axis, size, offset) in enumerate(zip(axes, width, shift, strict=True)):
        weights = _triangle(axis, size, offset)
        both = np.moveaxis(np.tensordot(weights, both, axes=(1, i + 1)), 0, i + 1)
    value, share = both[:, mask]
    return np.where(share > 0.05, value / np.maximum(share, np.float32(0.05)), signal)


def draw_gains(generator: np.random.Generator, slices: int, least: float = 0.0) -> np.ndarray:
    """The factor on each slice of each channel, `[slices, CHANNELS]` float32: interleaving, and each slice's own.

    Each channel has its own amount, from the share `least` of about 8 %, or nothing, as in 3D acquisition, upwards.
    """
    amount = generator.uniform(least, 1, 4)
    interleave = GAIN_INTERLEAVE * generator.standard_normal(4) * (-1.0) ** np.arange(slices)[:, None]
    return np.exp(amount * (interleave + GAIN_SLICE * generator.standard_normal((slices, 4)))).astype(np.float32)


def _texture(generator: np.random.Generator, axes: list[np.ndarray], mask: np.ndarray, fields: tuple) -> np.ndarray:
    return sum(np.float32(deviation) * smooth_field(generator, axes, pitch)[mask] for pitch, deviation in fields)


def _triangle(axis: np.ndarray, width: float, shift: float) -> np.ndarray:
    """The matrix `[len(axis), len(axis)]` float32 that averages samples at `axis` mm around places `shift` mm away."""
    half = max(width, float(axis[1] - axis[0]))
    places = np.clip(axis + shift, axis[0], axis[-1])
    weights = np.maximum(0, 1 - np.abs(places[:, None] - axis) / half)
    return (weights / weights.sum(axis=1, keepdims=True)).astype(np.float32)
