"""From the data section of a configuration to sources of subjects."""

import dataclasses
import itertools
import os
import warnings
from collections.abc import Mapping, Sequence

from ml_collections import ConfigDict

from lift_jax.data.channels import configured_channels, protocols_of
from lift_jax.data.datasets import DATASETS, path_of, scan
from lift_jax.data.intensity import IntensityProtocol
from lift_jax.data.naming import SubjectFiles, few, volumes_below, with_channels
from lift_jax.data.phantom.dataset import PhantomSubjects
from lift_jax.data.scans import ScannedSubjects, check_headers, files_of
from lift_jax.data.splits import (
    SPLIT_SALT,
    SPLITS,
    describe_split,
    patient_of,
    read_split_file,
    separated_patients,
    split_patients,
)
from lift_jax.data.subject import SubjectSource
from lift_jax.errors import DataWarning, UserError

HASH_RULE = "hash of patients"
"""What `DataSplit.rule` says where nobody has chosen a split."""

WORDED = ("files", "bids")
"""Data sets whose words for channels are configured."""

SPLIT_CHOICES = 50
"""Splits that are tried, where a channel is so rare that the first leaves no subject with it for training."""


@dataclasses.dataclass(frozen=True)
class DataSplit:
    """How a configured data set is split, as a run records it.

    Attributes:
      rule: what decided: `hash of patients`, `index`, or the file.
      subjects: names of the subjects of each split.
      patients: the patient of each subject, by name.
    """

    rule: str
    subjects: Mapping[str, Sequence[str]]
    patients: Mapping[str, str]

    def describe(self) -> str:
        """One line for the start of a run."""
        return f"{describe_split(self.subjects, self.patients)} (split by {self.rule})"

    def to_dict(self) -> dict:
        """What JSON holds of it; `DataSplit(**value)` gives it back."""
        return dataclasses.asdict(self)

    def seen(self, names: Sequence[str]) -> dict[str, list[str]]:
        """Of some subjects, those whose patients train or validate, by split; the rest are new to the run."""
        split_of = {self.patients[name]: key for key in SPLITS for name in self.subjects[key]}
        found = {name: split_of.get(self.patients.get(name, patient_of(name))) for name in names}
        return {key: [name for name in names if found[name] == key] for key in ("train", "validation")}


def subject_source(data: ConfigDict, split: str) -> SubjectSource:
    """The subjects of one split (`train`, `validation` or `test`) of a configured data set.

    Splits of phantoms are disjoint ranges of indices. Splits of scans come from `split_file`, the data set itself or a
    hash of the patients; the header of every file of all three is checked here, and all problems are reported at once.

    Raises:
      UserError: the data set cannot be found or used, or a channel is missing in all subjects that train.
    """
    protocols = protocols_of(data)
    if data.dataset in ("phantom", "phantom_head"):
        first = sum(data.subjects[key] for key in SPLITS[: SPLITS.index(split)])
        grid = tuple(data.size), float(data.spacing)
        return PhantomSubjects(data.dataset, protocols, data.phantom_seed, first, data.subjects[split], *grid)
    subjects = _scanned(data, protocols)
    rule, splits = _split_files(data, subjects)
    check_headers([subject for members in splits.values() for subject in members])
    for channel in protocols:
        _check_trained(data, channel, splits, by_hash=rule == HASH_RULE)
    return ScannedSubjects(tuple(splits[split]), protocols, float(data.spacing), tuple(data.size))


def data_split(data: ConfigDict) -> DataSplit:
    """How a configured data set is split; reads names only.

    Raises:
      UserError: as `subject_source`.
    """
    if data.dataset in ("phantom", "phantom_head"):
        subjects = {split: list(subject_source(data, split).names) for split in SPLITS}
        return DataSplit("index", subjects, {name: name for names in subjects.values() for name in names})
    rule, splits = _split_files(data, _scanned(data, protocols_of(data)))
    members = {split: [subject.name for subject in files] for split, files in splits.items()}
    return DataSplit(rule, members, {subject.name: subject.patient for files in splits.values() for subject in files})


def all_subjects(data: ConfigDict, root: str | os.PathLike, *, check: bool = True) -> ScannedSubjects:
    """All subjects of a folder in the layout of a configured data set; the folder may be that of one subject.

    After training on phantoms the layout is BraTS's or SynthRAD2023's, and only their spacing is taken over. Of the
    data set `manifest`, `root` is the CSV.

    Args:
      data: the data section of a run.
      root: the folder.
      check: read the headers of all files, and report all problems at once.

    Raises:
      UserError: nothing is found, or a file cannot be used.
    """
    protocols = protocols_of(data)
    values = dict(data.items()) | {"channels": configured_channels(data)}
    values |= {"manifest": os.fspath(root), "root": ""} if data.dataset == "manifest" else {"root": os.fspath(root)}
    values["dataset"] = DATASETS[data.dataset].scanned_as or data.dataset
    elsewhere = ConfigDict(values)
    subjects = _scanned(elsewhere, protocols, one_subject=True)
    if check:
        check_headers(subjects)
    size = (0, 0, 0) if DATASETS[data.dataset].scanned_as else tuple(data.size)
    return ScannedSubjects(subjects, protocols, float(data.spacing), size)


def resolve_paths(data: ConfigDict) -> None:
    """Makes the paths of a data section absolute, so that a run finds its data from any working directory."""
    for key in ("root", "manifest", "split_file", "cache"):
        if data.get(key) and "://" not in data[key]:
            data[key] = os.path.abspath(os.path.expanduser(data[key]))


def _scanned(data: ConfigDict, protocols: Mapping[str, IntensityProtocol], *, one_subject: bool = False):
    """The subjects that have any of the channels, with no files of others."""
    values = dict(data.items()) | {"channels": dict.fromkeys(protocols, "")}
    subjects = with_channels(scan(ConfigDict(values), one_subject=one_subject), protocols)
    return tuple(dataclasses.replace(files, patient=files.patient or patient_of(files.name)) for files in subjects)


def _split_files(data: ConfigDict, subjects: Sequence[SubjectFiles]) -> tuple[str, dict[str, list[SubjectFiles]]]:
    """What decided on the split, and the subjects of each of `SPLITS`."""
    patients = {subject.name: subject.patient for subject in subjects}
    if data.split_file:
        rule, names = data.split_file, read_split_file(data.split_file, patients)
    elif any(subject.split for subject in subjects):
        rule = data.manifest
        names = {key: [subject.name for subject in subjects if subject.split == key] for key in SPLITS}
        for warning in separated_patients(names, patients):
            warnings.warn(f"{rule}: {warning}", DataWarning, stacklevel=2)
    else:
        rule, names = HASH_RULE, _hash_split(subjects, patients, DATASETS[data.dataset].few_validate)
    by_name = {subject.name: subject for subject in subjects}
    return rule, {key: [by_name[name] for name in names[key]] for key in SPLITS}


def _check_trained(data: ConfigDict, channel: str, splits: Mapping[str, Sequence[SubjectFiles]], by_hash: bool) -> None:
    """Refuses a channel that no training subject has; of too few subjects for a split by hash it is a warning."""
    has = {key: any(channel in subject.channels for subject in members) for key, members in splits.items()}
    if has["train"]:
        return
    message = f"{path_of(data)}: no subject that trains has the channel {channel}"
    if by_hash and any(has.values()) and channel not in data.targets:
        message = f"{message}, so it is not learned; add subjects, or choose those that train by config.data.split_file"
        return warnings.warn(message, DataWarning, stacklevel=3)
    found = "" if any(has.values()) else describe_others(data, splits)
    raise UserError(
        f"{message}{found}; add one, or leave the channel out of config.data.channels, config.data.sources and "
        "config.data.targets"
    )


def describe_others(data: ConfigDict, splits: Mapping[str, Sequence[SubjectFiles]]) -> str:
    """The volumes of a data set that are no channel, for a message: a channel may lie there under another name."""
    if data.dataset == "manifest":
        return ""
    used = {path for members in splits.values() for files in members for path in files_of(files).values()}
    others = [path for path in volumes_below(path_of(data)) if path not in used]
    if not others:
        return ""
    remedy = "; a channel's word in file names is set by config.data.suffixes" if data.dataset in WORDED else ""
    return f" (not used: {few(path.relative_to(path_of(data)) for path in others)}{remedy})"


def _hash_split(
    subjects: Sequence[SubjectFiles], patients: Mapping[str, str], few_validate: bool
) -> dict[str, list[str]]:
    """The split by a hash of the patients; of few subjects the first one whose training subjects have most channels."""
    channels = {subject.name: set(subject.channels) for subject in subjects}
    salts = (SPLIT_SALT, *(f"{SPLIT_SALT}, choice {i}" for i in range(2, SPLIT_CHOICES + 1)))
    splits = (split_patients(patients, few_validate=few_validate, salt=salt) for salt in salts)
    everything = set().union(*channels.values())
    best, most = next(splits), -1
    for split in itertools.chain([best], splits):
        covered = len(set().union(*(channels[name] for name in split["train"])))
        if covered > most:
            best, most = split, covered
        if most == len(everything):
            break
    return best
