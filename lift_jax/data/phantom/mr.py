"""The phantom's MR: four pulse sequences, and the scanner, with what sets a scan apart from its signal equations.

All is drawn once per subject from wide ranges, so that what is learned on phantoms carries over to scans; factors of
the site (echo times, repetition times, weighting) tie the channels together. Ranges of texture, bias field, resolution,
registration, noise, slice gains and brightest voxels cover those of real scans: docs/studies/real_scans.md.
"""

import dataclasses

import numpy as np

from lift_jax.data.phantom.fields import smooth_field
from lift_jax.data.phantom.tissues import WHITE, Relaxation

GAMMA_DEVIATION = (0.17, 0.1)
"""Standard deviations of the logarithm of the exponent on intensities, what the signal equations leave out: of the
site's, shared by the channels, and of each channel's own."""
SITE_ECHO_DEVIATION, SITE_REPETITION_DEVIATION = 0.2, 0.15
"""Standard deviations of the logarithm of a site's echo and repetition times, over all sites."""
OWN_DEVIATION = 0.03
"""Standard deviation of the logarithm of a sequence's own departure from the habits of its site."""
RELAXIVITY = 4.5
"""Longitudinal relaxivity of gadolinium chelates in 1/(mM s), of the order of that of gadopentetate at 1.5-3 T."""


T1_RANGES = {
    "spin echo": ((400, 700), (8, 15)),
    "spoiled": ((12, 30), (3, 6)),
    "prepared": ((1800, 2400), (2, 5)),
}
"""Ranges in clinical use of repetition and echo time in ms: spin echo, spoiled and inversion-prepared gradient echo."""


@dataclasses.dataclass(frozen=True)
class Protocol:
    """Sequence parameters: times in ms, `flip` in radians; `t1_sequence`, of t1n and t1c, is one of `T1_RANGES`.

    `site_echo` and `site_repetition` are the site's factors on its T2-weighted sequences, `weighting` in [0, 1] is how
    weak its T1 weighting is, `site_gamma` the part of the exponents `gamma [CHANNELS]` that the channels share.
    """

    site_echo: float
    site_repetition: float
    weighting: float
    site_gamma: float
    t1_sequence: str
    flip: float
    t1_repetition: float
    t1_echo: float
    t1_inversion: float
    t2_repetition: float
    t2_echo: float
    flair_repetition: float
    flair_echo: float
    flair_inversion: float
    gamma: np.ndarray


def draw_protocol(generator: np.random.Generator) -> Protocol:
    """Draws the sequences of a session within ranges in clinical use.

    A site favors short or long echoes and repetitions in all its T2-weighted sequences, and a weaker or stronger T1
    weighting; a sequence departs from the site's habits by a few per cent. So sources are informative about the
    target, as far as the tissues that show it are in view.
    """
    site_echo = np.exp(SITE_ECHO_DEVIATION * generator.standard_normal())
    site_repetition = np.exp(SITE_REPETITION_DEVIATION * generator.standard_normal())
    weighting = generator.uniform()

    def own() -> float:
        return np.exp(OWN_DEVIATION * generator.standard_normal())

    def within(low: float, high: float) -> float:
        return (low + weighting * (high - low)) * own()

    t1_sequence = str(generator.choice(tuple(T1_RANGES)))
    repetition, echo = T1_RANGES[t1_sequence]
    flair_repetition = 8500 * site_repetition * own()
    csf_t1 = 4200.0
    # The inversion time that nulls CSF after many repetitions, missed by a few per cent.
    null = csf_t1 * np.log(2 / (1 + np.exp(-flair_repetition / csf_t1)))
    t1_times = {
        "flip": np.radians(within(40, 20)),
        "t1_repetition": within(*repetition),
        "t1_echo": generator.uniform(*echo),
        "t1_inversion": within(950, 1250),
    }
    t2_times = {
        "t2_repetition": 4300 * site_repetition * own(),
        "t2_echo": 97 * site_echo * own(),
        "flair_repetition": flair_repetition,
        "flair_echo": 120 * site_echo * own(),
        "flair_inversion": null * generator.uniform(0.88, 1.03),
    }
    site_gamma = np.exp(GAMMA_DEVIATION[0] * generator.standard_normal())
    gamma = site_gamma * np.exp(GAMMA_DEVIATION[1] * generator.standard_normal(4))
    site = {"site_echo": site_echo, "site_repetition": site_repetition, "weighting": weighting}
    return Protocol(**site, site_gamma=site_gamma, t1_sequence=t1_sequence, **t1_times, **t2_times, gamma=gamma)


def signals(relaxation: Relaxation, protocol: Protocol) -> np.ndarray:
    """The noise-free signal of pure tissues, `[TISSUES, CHANNELS]` float64, relative to fully relaxed water.

    Spin echo: `ρ (1 - exp(-TR/T1)) exp(-TE/T2)`; spoiled gradient echo: `ρ sin α (1 - E1) / (1 - E1 cos α) exp(-TE/T2)`
    with `E1 = exp(-TR/T1)` (T2 in place of T2*, at echo times where it matters little); inversion recovery, for
    FLAIR and for inversion-prepared gradient echo: `ρ |1 - 2 exp(-TI/T1) + exp(-TR/T1)| exp(-TE/T2)`.
    Gadolinium: `1/T1' = 1/T1 + relaxivity · concentration`.
    """
    t1, t2, density = relaxation.t1, relaxation.t2, relaxation.density
    enhanced_t1 = 1 / (1 / t1 + RELAXIVITY * relaxation.gadolinium / 1000)

    def t1_weighted(t1: np.ndarray) -> np.ndarray:
        recovery = np.exp(-protocol.t1_repetition / t1)
        longitudinal = {
            "spin echo": 1 - recovery,
            "spoiled": np.sin(protocol.flip) * (1 - recovery) / (1 - np.cos(protocol.flip) * recovery),
            "prepared": np.abs(1 - 2 * np.exp(-protocol.t1_inversion / t1) + recovery),
        }[protocol.t1_sequence]
        return density * longitudinal * np.exp(-protocol.t1_echo / t2)

    t2_weighted = density * (1 - np.exp(-protocol.t2_repetition / t1)) * np.exp(-protocol.t2_echo / t2)
    inverted = 1 - 2 * np.exp(-protocol.flair_inversion / t1) + np.exp(-protocol.flair_repetition / t1)
    flair = density * np.abs(inverted) * np.exp(-protocol.flair_echo / t2)
    return np.stack([t1_weighted(t1), t1_weighted(enhanced_t1), t2_weighted, flair], axis=-1)


def water_slope(relaxation: Relaxation, protocol: Protocol) -> np.ndarray:
    """The change of pure signals per relative change of water: T1 and T2 move with it, density by a third of it."""
    step = 0.05
    moved = [
        dataclasses.replace(
            relaxation, t1=relaxation.t1 * (1 + e), t2=relaxation.t2 * (1 + e), density=relaxation.density * (1 + e / 3)
        )
        for e in (step, -step)
    ]
    return (signals(moved[0], protocol) - signals(moved[1], protocol)) / (2 * step)


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

    `axes` are voxel centers in mm along D, H, W; `mask` is `[D, H, W]` bool, with `fractions [N, TISSUES]` inside.
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
        signal = blur_within_mask(np.maximum(signal, 0), mask, axes, imaging.width[channel], imaging.shift[channel])
        signal = (signal / np.float32(largest[channel])) ** np.float32(protocol.gamma[channel]) * bias
        quadratures = np.float32(noise[channel]) * generator.standard_normal((2, len(signal)), dtype=np.float32)
        volume[mask, channel] = np.hypot(signal + quadratures[0], quadratures[1])
    return volume


def blur_within_mask(
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
    """The matrix `[N, N]` float32 that averages samples at `axis [N]` mm around positions `shift` mm away."""
    half = max(width, float(axis[1] - axis[0]))
    positions = np.clip(axis + shift, axis[0], axis[-1])
    weights = np.maximum(0, 1 - np.abs(positions[:, None] - axis) / half)
    return (weights / weights.sum(axis=1, keepdims=True)).astype(np.float32)
