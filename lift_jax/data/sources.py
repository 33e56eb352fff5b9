"""From the data section of a configuration to cases."""

import pathlib

from ml_collections import ConfigDict

from lift_jax.data.brats import BratsCases, check_split, find_cases
from lift_jax.data.cases import CONTRASTS, CaseSource
from lift_jax.data.phantom import PhantomCases
from lift_jax.data.splits import SPLITS, read_split_file, split_cases
from lift_jax.places import local_place


def case_source(data: ConfigDict, split: str) -> CaseSource:
    """The cases of one split (`train`, `validation` or `test`) of a configured data set.

    Splits of the phantom are disjoint ranges of indices. Splits of scanned data come from `split_file`, or from a hash
    of the case names; every header of all three is checked here, and all problems are reported at once.

    Raises:
      UserError: if the folder holds no cases, or any case of any split cannot be used.
    """
    if data.layout == "phantom":
        counts = data.cases
        first = sum(counts[name] for name in SPLITS[: SPLITS.index(split)])
        return PhantomCases(data.phantom_seed, first, counts[split], tuple(data.shape), data.spacing)
    root = local_place(data.root)
    names = find_cases(root)
    splits = read_split_file(data.split_file, names) if data.split_file else split_cases(names)
    check_split(root, sorted(name for members in splits.values() for name in members), CONTRASTS)
    return BratsCases(root, tuple(splits[split]), CONTRASTS, data.spacing or None)


def folder_source(root: pathlib.Path, required: tuple[str, ...], spacing: float) -> BratsCases:
    """All cases of a folder in BraTS layout, of which at least `required` contrasts must be there."""
    names = tuple(find_cases(root))
    check_split(root, names, required)
    return BratsCases(root, names, required, spacing or None)
