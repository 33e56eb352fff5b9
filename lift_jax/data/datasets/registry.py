"""The data sets by name, and the search for the subjects of a configured one."""

import dataclasses
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path

from ml_collections import ConfigDict

from lift_jax.data.datasets import bids, brats, files, manifest, synthrad
from lift_jax.data.datasets.naming import ENDINGS, Found, Naming, SubjectFiles, find, guess_pattern
from lift_jax.errors import DataWarning, UserError
from lift_jax.paths import resolve_local_path


@dataclasses.dataclass(frozen=True)
class DataSet:
    """A kind of data set.

    Attributes:
      channels: its channels in their usual order and their intensity protocols, where `config.data.channels` is empty.
      naming: how its files are named, from the data section; None for a data set that is listed or made.
      few_validate: subjects validate as in SynthRAD (at most 4) and not as in BraTS (5 %); see `splits.split_patients`.
      scanned_as: of a made data set, the data set whose layout is read in its place.
    """

    channels: Mapping[str, str] = dataclasses.field(default_factory=dict)
    naming: Callable[[ConfigDict], Naming] | None = None
    few_validate: bool = False
    scanned_as: str = ""


PHANTOM_HEAD_CHANNELS = {"mr": "mr_foreground", "mr_t2": "mr_foreground", "ct": "ct_hu"}

DATASETS: dict[str, DataSet] = {
    "phantom": DataSet(brats.CHANNELS, scanned_as="brats"),
    "phantom_head": DataSet(PHANTOM_HEAD_CHANNELS, scanned_as="synthrad2023"),
    "brats": DataSet(brats.CHANNELS, brats.naming),
    "synthrad2023": DataSet(synthrad.CHANNELS, synthrad.naming_2023, few_validate=True),
    "synthrad2025": DataSet(synthrad.CHANNELS, synthrad.naming_2025, few_validate=True),
    "bids": DataSet(naming=bids.naming),
    "files": DataSet(naming=files.naming),
    "manifest": DataSet(),
}
"""`phantom` and `phantom_head` are made on demand, `manifest` is a table, the others are folders of files."""


def find_subjects(data: ConfigDict, *, one_subject: bool = False) -> Found:
    """The subjects of a configured data set of files, with all that is wrong with their names.

    Args:
      data: the data section; `channels` is not empty.
      one_subject: the root may be the folder of a single subject.

    Raises:
      UserError: there is no subject at all, or the data set is not described.
    """
    if data.dataset == "manifest":
        return manifest.find(data)
    if not data.root:
        raise UserError("config.data.root: not set; give the folder of the subjects, --config.data.root=DIR")
    naming = DATASETS[data.dataset].naming(data)
    return find(resolve_local_path(data.root), naming, lambda paths: _suggest(data, paths), one_subject=one_subject)


def scan(data: ConfigDict, *, one_subject: bool = False) -> tuple[SubjectFiles, ...]:
    """The subjects of a configured data set of files; warnings become DataWarnings.

    Raises:
      UserError: as `find_subjects`, and with one line for every file that is wrong.
    """
    found = find_subjects(data, one_subject=one_subject)
    if found.errors:
        raise UserError("\n".join(found.errors))
    for warning in found.warnings:
        warnings.warn(warning, DataWarning, stacklevel=2)
    return found.subjects


def _suggest(data: ConfigDict, paths: list[str]) -> str:
    """A hint which data set files may be that do not fit the configured one."""
    for name, dataset in DATASETS.items():
        if name == data.dataset or not dataset.channels or dataset.naming is None:
            continue
        if any(map(dataset.naming(ConfigDict({"channels": dict(dataset.channels)})).match, paths)):
            return f"; these are named as in config.data.dataset={name}"
    if data.dataset != "bids" and any("/anat/" in path and path.startswith("sub-") for path in paths):
        return "; these are named as in config.data.dataset=bids"
    pattern = guess_pattern(paths)
    if not pattern and not any(path.lower().endswith(ENDINGS) for path in paths):
        return f"; convert them to {ENDINGS[0]}"
    if data.dataset == "bids" and any("anat/" in path for path in paths):
        return "; give the suffixes of the channels, config.data.suffixes"
    return f"; describe them by config.data.dataset=files and a pattern, perhaps {pattern!r}" if pattern else ""


def path_of(data: ConfigDict) -> Path:
    """What names the data set in messages: its table or its root."""
    return Path(data.manifest if data.dataset == "manifest" else data.root)
