"""The tissues of the phantom head beside the brain's: what they show in CT and in T1-weighted MR.

CT numbers are drawn per subject within ranges of radiology textbooks; relaxation times are of the order of
published values at 1.5 to 3 T. Cortical bone has protons, but their signal is gone before it can be read.
"""

import dataclasses

import numpy as np

from lift_jax.data.phantom.acquisition import Protocol, Relaxation, signals
from lift_jax.data.phantom.tissues import TISSUES

HEAD_TISSUES = (*TISSUES, "air", "skin", "fat", "muscle", "cortical", "marrow", "vitreous", "mucosa", "enamel")
"""The brain's tissues, then the rest of the head; `marrow` is the diploë: trabeculae and what is between them."""

AIR, SKIN, FAT, MUSCLE, CORTICAL, MARROW, VITREOUS, MUCOSA, ENAMEL = range(len(TISSUES), len(HEAD_TISSUES))

CT_RANGES = {
    "gray": (35, 40),
    "white": (25, 30),
    "fluid": (8, 16),
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
"""Hounsfield units of pure tissues, over subjects."""

T1_MS = {"air": 1000, "skin": 900, "fat": 340, "muscle": 1300, "cortical": 250, "vitreous": 4200, "mucosa": 1500}
T2_MS = {"air": 100, "skin": 30, "fat": 65, "muscle": 38, "cortical": 0.5, "vitreous": 1500, "mucosa": 80}
DENSITY = {"air": 0.0, "skin": 0.7, "fat": 0.9, "muscle": 0.8, "cortical": 0.15, "vitreous": 1.0, "mucosa": 0.8}
"""Of pure tissues; enamel is as cortical bone, marrow between red and yellow below."""

RED_MARROW, YELLOW_MARROW = (900.0, 45.0, 0.55), (340.0, 60.0, 0.8)
"""(T1 ms, T2 ms, proton density) of marrow with little and with much fat, trabeculae included."""

MARROW_CT_DEVIATION = 0.2
"""Standard deviation over subjects, in parts of the range, of the CT number of marrow of a given fat content."""


@dataclasses.dataclass(frozen=True)
class HeadTissues:
    """Levels of pure tissues of one subject: `hounsfield` and `signal` (one MR sequence), each `[HEAD_TISSUES]`."""

    hounsfield: np.ndarray
    signal: np.ndarray


def draw_head_tissues(
    generator: np.random.Generator, brain: Relaxation, protocol: Protocol, channel: int = 0
) -> HeadTissues:
    """Draws the CT numbers of a subject and computes what the MR sequence makes of the same tissues.

    Fat replaces trabeculae as bone loses mineral, so that brighter diploë in MR goes with lower CT numbers, loosely,
    and cortical bone follows a little.

    Args:
      generator: source of the draws.
      brain: relaxation of the brain's tissues.
      protocol: the sequences.
      channel: the one that is taken; the first is T1-weighted without contrast agent, the third T2-weighted.
    """
    places = dict(zip(HEAD_TISSUES, generator.uniform(size=len(HEAD_TISSUES)), strict=True))
    fat_share = generator.uniform()
    scatter = MARROW_CT_DEVIATION * generator.standard_normal()
    places["marrow"] = np.clip(1 - fat_share + scatter, 0, 1)
    places["cortical"] = 0.6 * places["cortical"] + 0.4 * places["marrow"]
    hounsfield = np.array([low + places[name] * (high - low) for name, (low, high) in CT_RANGES.items()])
    marrow = (1 - fat_share) * np.array(RED_MARROW) + fat_share * np.array(YELLOW_MARROW)
    properties = []
    for i, table in enumerate((T1_MS, T2_MS, DENSITY)):
        known = table | {"marrow": marrow[i], "enamel": table["cortical"]}
        properties.append([known[name] for name in HEAD_TISSUES[len(TISSUES) :]])
    t1, t2, density = (
        np.concatenate([of_brain, rest])
        for of_brain, rest in zip((brain.t1, brain.t2, brain.density), np.array(properties, float), strict=True)
    )
    gadolinium = np.concatenate([brain.gadolinium, np.zeros(len(HEAD_TISSUES) - len(TISSUES))])
    signal = signals(Relaxation(brain.field, t1, t2, density, gadolinium), protocol)[:, channel]
    return HeadTissues(hounsfield, signal / signal.max())
