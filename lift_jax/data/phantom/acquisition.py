"""The phantom's physics: tissue relaxation and four pulse sequences.

Everything is drawn once per subject from wide ranges, so that what is learnt on phantoms carries over to scans; shared
factors (field strength, water content, echo times of the site) tie the four channels together.
"""

import dataclasses

import numpy as np

from lift_jax.data.phantom.tissues import CSF, TISSUES

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
T1_SEQUENCES = tuple(T1_RANGES)


@dataclasses.dataclass(frozen=True)
class Relaxation:
    """Tissue parameters `[TISSUES]`: `t1`, `t2` in ms, `density` of protons relative to water, `gadolinium` in mM.

    `field` is the field strength in T that they hold at.
    """

    field: float
    t1: np.ndarray
    t2: np.ndarray
    density: np.ndarray
    gadolinium: np.ndarray


@dataclasses.dataclass(frozen=True)
class Protocol:
    """Sequence parameters: times in ms, `flip` in radians; `t1_sequence`, of t1n and t1c, is one of `T1_SEQUENCES`.

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


def draw_relaxation(generator: np.random.Generator) -> Relaxation:
    """Draws the tissues of a subject at a field strength between 1.5 and 3 T.

    Gray and white matter at 3 T lie near Wansapura et al., J Magn Reson Imaging 9:531, 1999 (T1 1331 and 832 ms, T2 110
    and 80 ms) and Stanisz et al., Magn Reson Med 54:507, 2005 (T1 1820 and 1084 ms, T2 99 and 69 ms). The rest is
    of the order of published values: fluid (T1 4 s, T2 2 s), blood (T1 1.6 s; the short T2 stands for its flow void),
    membranes and pathology, whose water content, which sets T1, T2 and density together, varies widely.
    """
    field = generator.uniform(1.5, 3.0)
    slowing = (field / 3.0) ** 0.35  # T1 falls with field by about a fifth from 3 to 1.5 T
    core, rim, edema = generator.uniform(0, 1, 3)  # water content within the tissue's range
    t1 = np.array([1560.0, 920.0, 4200.0, 1650.0, 1900 + 1300 * core, 1350 + 450 * rim, 1350 + 800 * edema, 1100.0])
    t1 *= np.where(np.arange(len(TISSUES)) == CSF, 1, slowing)
    t2 = np.array([93.0, 73.0, 1800.0, 45.0, 170 + 330 * core, 105 + 55 * rim, 130 + 150 * edema, 45.0])
    density = np.array([0.82, 0.70, 1.0, 0.8, 0.9 + 0.08 * core, 0.84 + 0.06 * rim, 0.82 + 0.1 * edema, 0.7])
    dose = generator.uniform(0.5, 1.3)
    enhancement = np.exp(generator.uniform(*np.log((0.08, 0.8))))
    vessel, membrane = generator.uniform(0.4, 1.2), generator.uniform(0.15, 0.6)
    gadolinium = dose * np.array([0.035, 0.015, 0.01, vessel, 0.02, enhancement, 0.02, membrane])
    variation = 0.05 * generator.standard_normal((2, len(TISSUES)))
    return Relaxation(field, t1 * np.exp(variation[0]), t2 * np.exp(variation[1]), density, gadolinium)


def draw_protocol(generator: np.random.Generator) -> Protocol:
    """Draws the sequences of a session: the site's habits, shared by the channels, within ranges in clinical use.

    A site favors short or long echoes and repetitions in all its T2-weighted sequences, and a weaker or stronger T1
    weighting; a sequence departs from the site's habits by a few per cent. So sources tell of the channel that is
    wanted, in so far as the tissues that show it are in view.
    """
    site_echo = np.exp(SITE_ECHO_DEVIATION * generator.standard_normal())
    site_repetition = np.exp(SITE_REPETITION_DEVIATION * generator.standard_normal())
    weighting = generator.uniform()

    def own() -> float:
        return np.exp(OWN_DEVIATION * generator.standard_normal())

    def within(low: float, high: float) -> float:
        return (low + weighting * (high - low)) * own()

    t1_sequence = str(generator.choice(T1_SEQUENCES))
    repetition, echo = T1_RANGES[t1_sequence]
    flair_repetition = 8500 * site_repetition * own()
    fluid_t1 = 4200.0
    # The inversion time that nulls fluid after many repetitions, missed by a few per cent.
    null = fluid_t1 * np.log(2 / (1 + np.exp(-flair_repetition / fluid_t1)))
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
