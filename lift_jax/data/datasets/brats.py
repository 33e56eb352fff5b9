"""BraTS: `<subject>/<subject>-{t1n,t1c,t2w,t2f,seg}` of 2023 on, `<subject>_{t1,t1ce,t2,flair,seg}` of 2018 to 2021."""

import re

from lift_jax.data.datasets.naming import MASK, SEGMENTATION, Naming

CHANNELS = {"t1n": "mr_quantile", "t1c": "mr_quantile", "t2w": "mr_quantile", "t2f": "mr_quantile"}
"""The four MR sequences, and their intensity protocol."""

WORDS = {name: name for name in CHANNELS} | {"t1": "t1n", "t1ce": "t1c", "t2": "t2w", "flair": "t2f"}

_PATTERN = re.compile(r"(?:.*/)?(?P<subject>[^/]+)/(?P=subject)[-_](?P<kind>[a-z0-9]+)\.nii(?:\.gz)?", re.DOTALL)


def naming(data) -> Naming:
    """Subject folders may lie in folders of their own, such as HGG and LGG of 2018."""
    kinds = {word: channel for word, channel in WORDS.items() if channel in data.channels}
    return Naming(
        _PATTERN,
        kinds | {"seg": SEGMENTATION, "mask": MASK},
        "<subject>/<subject>-{t1n,t1c,t2w,t2f}.nii.gz or <subject>/<subject>_{t1,t1ce,t2,flair}.nii.gz",
    )
