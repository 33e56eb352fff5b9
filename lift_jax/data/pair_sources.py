"""From the data section of a configuration of MR to CT to its pairs."""

import pathlib

from ml_collections import ConfigDict

from lift_jax.data.cases import CaseSource
from lift_jax.data.phantom_head import PhantomHeads
from lift_jax.data.splits import SPLITS, read_split_file
from lift_jax.data.synthrad import SynthradCases, check_pairs, find_pairs, split_synthrad
from lift_jax.places import local_place


def pair_source(data: ConfigDict, split: str) -> CaseSource:
    """The pairs of one split (`train`, `validation` or `test`) of a configured data set.

    Splits of the phantom are disjoint ranges of indices. Splits of scanned data come from `split_file`, or from
    `split_synthrad`; every header of all three is checked here, and all problems are reported at once.

    Raises:
      UserError: if the folder holds no cases, or any case of any split cannot be used.
    """
    if data.layout == "phantom":
        counts = data.cases
        first = sum(counts[name] for name in SPLITS[: SPLITS.index(split)])
        return PhantomHeads(data.phantom_seed, first, counts[split], tuple(data.shape), data.spacing)
    root = local_place(data.root)
    names = find_pairs(root)
    splits = read_split_file(data.split_file, names) if data.split_file else split_synthrad(names)
    check_pairs(root, sorted(name for members in splits.values() for name in members), ("ct", "mask"))
    return SynthradCases(root, tuple(splits[split]), ("ct", "mask"), data.side or None)


def folder_pairs(root: pathlib.Path, side: int) -> SynthradCases:
    """All cases of a folder in SynthRAD's layout, CT and mask included."""
    names = tuple(find_pairs(root))
    check_pairs(root, names, ("ct", "mask"))
    return SynthradCases(root, names, ("ct", "mask"), side or None)
