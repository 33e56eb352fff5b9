"""The phantom's tissues: their classes, relaxation times, and CT numbers."""

import dataclasses
from collections.abc import Mapping

import numpy as np

TISSUES = ("gray", "white", "csf", "vessel", "core", "rim", "edema", "membrane")
"""Tissues of the brain, in the order of every tissue axis: blood in vessels, the tumor's necrotic core and enhancing
rim; edema stands for white-matter lesions too, membrane for dura and choroid plexus, which enhance."""

GRAY, WHITE, CSF, VESSEL, CORE, RIM, EDEMA, MEMBRANE = range(len(TISSUES))

HEAD_TISSUES = (*TISSUES, "air", "skin", "fat", "muscle", "cortical", "marrow", "vitreous", "mucosa", "enamel")
"""The brain's tissues, then the rest of the head; `marrow` is the diploë: trabeculae and what is between them."""

AIR, SKIN, FAT, MUSCLE, CORTICAL, MARROW, VITREOUS, MUCOSA, ENAMEL = range(len(TISSUES), len(HEAD_TISSUES))

CT_RANGES = {
    "gray": (35, 40),
    "white": (25, 30),
    "csf": (8, 16),
    "vessel": (40, 55),
    "core": (18, 30),
    "rim": (34, 46),
    "edema": (16, 24),
    "membrane": (45, 65),
    "air": (-1000, -1000),
    "skin": (40, 60),
    "fat": (-110, -90),
    "muscle": (45, 60),
    "cortical": (1150, 1800),
    "marrow": (300, 600),
    "vitreous": (4, 12),
    "mucosa": (30, 50),
    "enamel": (2000, 2800),
}
"""Hounsfield units of pure tissues over subjects, from radiology textbooks."""

T1_MS = {"air": 1000, "skin": 900, "fat": 340, "muscle": 1300, "cortical": 250, "vitreous": 4200, "mucosa": 1500}
T2_MS = {"air": 100, "skin": 30, "fat": 65, "muscle": 38, "cortical": 0.5, "vitreous": 1500, "mucosa": 80}
DENSITY = {"air": 0.0, "skin": 0.7, "fat": 0.9, "muscle": 0.8, "cortical": 0.15, "vitreous": 1.0, "mucosa": 0.8}
"""Of the order of published values at 1.5 to 3 T. Enamel is as cortical bone, whose signal is gone before it can be
read; marrow lies between red and yellow."""

RED_MARROW, YELLOW_MARROW = (900.0, 45.0, 0.55), (340.0, 60.0, 0.8)
"""(T1 ms, T2 ms, proton density) of marrow with little and with much fat, trabeculae included."""

MARROW_CT_DEVIATION = 0.2
"""Standard deviation over subjects, in parts of the range, of the CT number of marrow of a given fat content."""


@dataclasses.dataclass(frozen=True)
class Relaxation:
    """Parameters by tissue: `t1`, `t2` in ms, `density` of protons relative to water, `gadolinium` in mM.

    `field` is the field strength in T that they hold at.
    """

    field: float
    t1: np.ndarray
    t2: np.ndarray
    density: np.ndarray
    gadolinium: np.ndarray


def draw_relaxation(generator: np.random.Generator) -> Relaxation:
    """Draws the brain tissues `[TISSUES]` of a subject at a field strength between 1.5 and 3 T.

    Gray and white matter at 3 T lie near Wansapura et al., J Magn Reson Imaging 9:531, 1999 (T1 1331 and 832 ms, T2 110
    and 80 ms) and Stanisz et al., Magn Reson Med 54:507, 2005 (T1 1820 and 1084 ms, T2 99 and 69 ms). The rest is
    of the order of published values: CSF (T1 4 s, T2 2 s), blood (T1 1.6 s; the short T2 stands for its flow void),
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


def draw_head_tissues(generator: np.random.Generator, brain: Relaxation) -> tuple[np.ndarray, Relaxation]:
    """Draws the CT numbers of all tissues of a head, `[HEAD_TISSUES]`, and adds relaxation to that of its brain.

    Fat replaces trabeculae as bone loses mineral, so that brighter diploë in MR goes with lower CT numbers, loosely,
    and cortical bone follows a little.
    """
    positions = dict(zip(HEAD_TISSUES, generator.uniform(size=len(HEAD_TISSUES)), strict=True))
    fat_share = generator.uniform()
    scatter = MARROW_CT_DEVIATION * generator.standard_normal()
    positions["marrow"] = np.clip(1 - fat_share + scatter, 0, 1)
    positions["cortical"] = 0.6 * positions["cortical"] + 0.4 * positions["marrow"]
    hounsfield = np.array([low + positions[name] * (high - low) for name, (low, high) in CT_RANGES.items()])
    marrow = (1 - fat_share) * np.array(RED_MARROW) + fat_share * np.array(YELLOW_MARROW)

    def extended(of_brain: np.ndarray, table: Mapping[str, float], of_marrow: float) -> np.ndarray:
        values = {**table, "marrow": of_marrow, "enamel": table["cortical"]}
        return np.concatenate([of_brain, [float(values[name]) for name in HEAD_TISSUES[len(TISSUES) :]]])

    t1 = extended(brain.t1, T1_MS, marrow[0])
    t2 = extended(brain.t2, T2_MS, marrow[1])
    density = extended(brain.density, DENSITY, marrow[2])
    gadolinium = np.concatenate([brain.gadolinium, np.zeros(len(HEAD_TISSUES) - len(TISSUES))])
    return hounsfield, Relaxation(brain.field, t1, t2, density, gadolinium)
