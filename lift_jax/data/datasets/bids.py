"""BIDS: `sub-<label>/[ses-<label>/]anat/sub-<label>[_ses-<label>][_<entities>]_<suffix>.nii.gz`."""

import re

from lift_jax.data.datasets.naming import Naming


def naming(data) -> Naming:
    """A session is a subject of its own, `sub-01_ses-02`.

    `config.data.suffixes` gives the suffix of a channel, with entities where they are needed to tell files apart
    ("acq-mprage_T1w"); a channel without one has its own name for suffix.
    """
    kinds = {data.suffixes.get(channel, channel): channel for channel in data.channels}
    kinds |= {suffix: kind for kind, suffix in data.suffixes.items() if kind not in data.channels}
    words = "|".join(map(re.escape, sorted(kinds, key=len, reverse=True)))
    pattern = re.compile(
        r"(?P<subject>sub-[^/_]+)/(?:(?P<session>ses-[^/_]+)/)?anat/(?P=subject)(?:_[^/]*?)?"
        rf"_(?P<kind>{words})\.nii(?:\.gz)?"
    )
    example = f"sub-<label>/[ses-<label>/]anat/sub-<label>_*_{{{','.join(kinds)}}}.nii.gz"
    return Naming(pattern, kinds, example, _name_of)


def _name_of(match: re.Match) -> str:
    return f"{match['subject']}_{match['session']}" if match["session"] else match["subject"]
