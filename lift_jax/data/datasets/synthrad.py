"""SynthRAD: `<subject>/{mr,cbct,ct,mask}.nii.gz` of 2023, `.mha` of 2025; brain, pelvis and others, tasks 1 and 2."""

import re

from lift_jax.data.datasets.naming import MASK, Naming

CHANNELS = {"mr": "mr_foreground", "cbct": "ct_hu", "ct": "ct_hu"}
"""MR of task 1 or cone-beam CT of task 2, the planning CT, and their intensity protocols."""

_KINDS = r"(?:.*/)?(?P<subject>[^/]+)/(?P<kind>mr|cbct|ct|mask)"


def naming_2023(data) -> Naming:
    """Subject folders may lie in others, such as `Task1/brain`."""
    return _naming(data, r"\.nii(?:\.gz)?", ".nii.gz")


def naming_2025(data) -> Naming:
    """As of 2023, in MetaImage files."""
    return _naming(data, r"\.mha", ".mha")


def _naming(data, ending: str, shown: str) -> Naming:
    kinds = {channel: channel for channel in CHANNELS if channel in data.channels}
    return Naming(
        re.compile(_KINDS + ending, re.DOTALL), kinds | {"mask": MASK}, f"<subject>/{{mr,cbct,ct,mask}}{shown}"
    )
