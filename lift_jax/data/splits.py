"""Which subjects train, validate and test: by a hash of their patients, or as a file says."""

import hashlib
import json
import math
import os
import re
import warnings
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from lift_jax.errors import DataWarning, UserError

SPLITS = ("train", "validation", "test")
"""The names of the splits."""

TEST_FRACTION = 0.15
"""Share of the patients that test, rounded to nearest and at least one; of BraTS 2023's 1,470 subjects about 219.

They are not the 219 of its official validation set, for which a split file is needed."""

VALIDATION_FRACTION = 0.05
"""Share of the patients that validate: what is left for it of the rounded share of both, at least one."""

SYNTHRAD_TEST_FRACTION, SYNTHRAD_VALIDATION = 0.2, 4
"""Of SynthRAD2023's 180 brains 36 test, and 4 of the other 144 are only looked at during training."""

SPLIT_SALT = "lift_jax split 1"
"""What is hashed before each patient; another salt is another split."""

PATIENT_PATTERNS = (
    re.compile(r"(?P<patient>.*\D\d{5})-\d{3}"),  # BraTS-GLI-<patient>-<time point> of 2023 on
    re.compile(r"(?P<patient>sub-[^_]+)(?:_ses-[^_]+)?"),  # BIDS
)


def patient_of(name: str) -> str:
    """The patient of a subject by its name; a name of no known form is a patient of its own."""
    for pattern in PATIENT_PATTERNS:
        if match := pattern.fullmatch(name):
            return match["patient"]
    return name


def split_patients(
    patients: Mapping[str, str], *, few_validate: bool = False, salt: str = SPLIT_SALT
) -> dict[str, list[str]]:
    """The split of a data set by its patients: the same on every machine, in any order of listing.

    Patients are ranked by the SHA-256 digest of salt and patient; the first test, the next validate, the rest train.
    One patient added to or taken from the data set moves at most one other across each of the two cuts.

    Args:
      patients: the patient of each subject, by the subject's name; at least three patients, so that no split is empty.
      few_validate: SynthRAD's shares, 20 % test and at most 4 validate, and not BraTS's, 15 and 5 %.
      salt: a text that chooses among splits.

    Returns:
      The sorted names of the subjects of each of `SPLITS`.

    Raises:
      UserError: there are fewer than three patients.
    """
    order = sorted(
        set(patients.values()),
        key=lambda patient: hashlib.sha256(f"{salt}\n{patient}".encode(errors="surrogateescape")).digest(),
    )
    if len(order) < len(SPLITS):
        raise UserError(
            f"{len(order)} patient(s) cannot be split into {', '.join(SPLITS)}; add some or give config.data.split_file"
        )
    if few_validate:
        test = max(1, _rounded(len(order) * SYNTHRAD_TEST_FRACTION))
        held_out = test + max(1, min(SYNTHRAD_VALIDATION, (len(order) - test) // 4))
    else:
        test = max(1, _rounded(len(order) * TEST_FRACTION))
        # Both cuts are rounded, not both sizes: two sizes that round up together would move the second cut by two.
        held_out = max(test + 1, _rounded(len(order) * (TEST_FRACTION + VALIDATION_FRACTION)))
    parts = {"train": order[held_out:], "validation": order[test:held_out], "test": order[:test]}
    split_of = {patient: split for split, members in parts.items() for patient in members}
    names = sorted(patients)
    return {split: [name for name in names if split_of[patients[name]] == split] for split in SPLITS}


def _rounded(number: float) -> int:
    return math.floor(number + 0.5)


def read_split_file(path: str | os.PathLike, patients: Mapping[str, str]) -> dict[str, list[str]]:
    """The split that a JSON file gives: `{"train": [...], "validation": [...], "test": [...]}`, subjects in lists.

    Subjects in none of the lists are left out. A list may be empty, where the task at hand does not need it. A patient
    in several splits is a DataWarning.

    Args:
      path: the JSON file.
      patients: the patient of each subject of the data set, by the subject's name.

    Returns:
      The names of each of `SPLITS`, in the order of the file.

    Raises:
      UserError: the file cannot be read or has another form; a subject is unknown or is listed twice.
    """
    split = _read_json(Path(path))
    form = f"give {{{', '.join(f'{json.dumps(key)}: [...]' for key in SPLITS)}}} with subject names in the lists"
    if not isinstance(split, Mapping) or set(split) != set(SPLITS):
        raise UserError(f"{path}: is not a split file; {form}")
    seen: dict[str, str] = {}
    for key in SPLITS:
        if not isinstance(split[key], list) or not all(isinstance(name, str) for name in split[key]):
            raise UserError(f"{path}: {key!r} is not a list of subject names; {form}")
        for name in split[key]:
            if name in seen:
                raise UserError(f"{path}: subject {name!r} is listed in {seen[name]!r} and in {key!r}; list it once")
            seen[name] = key
    unknown = [name for name in seen if name not in patients]
    if unknown:
        raise UserError(f"{path}: the data set has no subject {', '.join(map(repr, unknown))}; correct or remove it")
    result = {key: split[key] for key in SPLITS}
    for warning in separated_patients(result, patients):
        warnings.warn(f"{path}: {warning}", DataWarning, stacklevel=2)
    return result


def separated_patients(split: Mapping[str, Sequence[str]], patients: Mapping[str, str]) -> Iterable[str]:
    """A line, if there are patients with subjects in several splits: their number and the first of them."""
    splits_of: dict[str, set[str]] = {}
    for key, names in split.items():
        for name in names:
            splits_of.setdefault(patients[name], set()).add(key)
    separated = sorted(patient for patient, keys in splits_of.items() if len(keys) > 1)
    if separated:
        yield (
            f"{len(separated)} patient(s) are in several splits, such as {separated[0]!r} in "
            f"{' and '.join(key for key in SPLITS if key in splits_of[separated[0]])}; scores will be too good"
        )


def describe_split(split: Mapping[str, Sequence[str]], patients: Mapping[str, str]) -> str:
    """One line of how many subjects and patients each split holds, for the start of a run."""
    parts = []
    for key in SPLITS:
        count = len({patients[name] for name in split[key]})
        of = f" of {count} patients" if count != len(split[key]) else ""
        parts.append(f"{len(split[key])} {key}{of}")
    return ", ".join(parts)


def check_members(names: Sequence[str], split: str, split_file: str) -> None:
    """Refuses a split without subjects, where the task at hand needs one.

    Raises:
      UserError: there is no name; only a split file can lead to that.
    """
    if not names:
        raise UserError(f"{split_file}: {split!r} holds no subject, and this needs one; list it there")


def _read_json(path: Path) -> object:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror or error}); check the path") from None
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path}: is not JSON ({error}); repair it") from None
