"""Which cases train, validate and test: by a hash of their names, or as a file says."""

import hashlib
import json
import math
import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from lift_jax.errors import UserError

SPLITS = ("train", "validation", "test")
"""The names of the splits."""

TEST_FRACTION = 0.15
"""Share of the cases that test, rounded to nearest and at least one case; of BraTS 2023's 1,470 it is 219 (0.149).

They are not the 219 of its official validation set, for which a split file is wanted."""

VALIDATION_FRACTION = 0.05
"""Share of the cases that validate: what is left for it of the rounded share of both, at least one case."""

SPLIT_SALT = "lift_jax split 1"
"""What is hashed before each name; another salt is another split."""


def split_cases(names: Iterable[str], salt: str = SPLIT_SALT) -> dict[str, list[str]]:
    """The split of a data set by the names of its cases: the same on every machine, in any order of listing.

    Cases are ranked by the SHA-256 digest of salt and name; the first of the ranking test, the next validate, the rest
    train. One case added to or taken from the data set moves at most one other case across each of the two cuts.

    Args:
      names: the cases, each once; at least three, so that no split is empty.
      salt: a text that chooses among splits.

    Returns:
      The sorted names of each of `SPLITS`.

    Raises:
      UserError: there are fewer than three cases.
    """
    order = ranked(names, salt)
    test = max(1, _rounded(len(order) * TEST_FRACTION))
    # Both cuts are rounded, not both sizes: two sizes that round up at the same count would move the second cut by two.
    held_out = max(test + 1, _rounded(len(order) * (TEST_FRACTION + VALIDATION_FRACTION)))
    return {
        "train": sorted(order[held_out:]),
        "validation": sorted(order[test:held_out]),
        "test": sorted(order[:test]),
    }


def ranked(names: Iterable[str], salt: str = SPLIT_SALT) -> list[str]:
    """The names in the order of the SHA-256 digests of salt and name.

    Raises:
      UserError: there are fewer than three, which cannot be split.
    """
    order = sorted(names, key=lambda name: hashlib.sha256(f"{salt}\n{name}".encode(errors="surrogateescape")).digest())
    if len(order) < len(SPLITS):
        raise UserError(
            f"{len(order)} case(s) cannot be split into {', '.join(SPLITS)}; add cases or give a split file"
        )
    return order


def _rounded(number: float) -> int:
    return math.floor(number + 0.5)


def read_split_file(path: str | os.PathLike, names: Iterable[str]) -> dict[str, list[str]]:
    """The split that a JSON file gives: `{"train": [...], "validation": [...], "test": [...]}`, case names in lists.

    Cases in none of the lists are left out. A list may be empty, where the task at hand does not need it.

    Args:
      path: the JSON file.
      names: the cases of the data set.

    Returns:
      The names of each of `SPLITS`, in the order of the file.

    Raises:
      UserError: the file cannot be read or has another form; a case is unknown or is listed twice.
    """
    split = _read_json(Path(path))
    form = f"give {{{', '.join(f'{json.dumps(key)}: [...]' for key in SPLITS)}}} with case names in the lists"
    if not isinstance(split, Mapping) or set(split) != set(SPLITS):
        raise UserError(f"{path}: is not a split file; {form}")
    known, seen = set(names), {}
    for key in SPLITS:
        if not isinstance(split[key], list) or not all(isinstance(name, str) for name in split[key]):
            raise UserError(f"{path}: {key!r} is not a list of case names; {form}")
        for name in split[key]:
            if name in seen:
                raise UserError(f"{path}: case {name!r} is listed in {seen[name]!r} and in {key!r}; list it once")
            seen[name] = key
    unknown = [name for name in seen if name not in known]
    if unknown:
        raise UserError(f"{path}: the data set has no case {', '.join(map(repr, unknown))}; correct or remove it")
    return {key: split[key] for key in SPLITS}


def check_members(names: Sequence[str], split: str, split_file: str) -> None:
    """Refuses a split without cases, where the task at hand needs one.

    Raises:
      UserError: there is no name; only a split file can lead to that.
    """
    if not names:
        raise UserError(f"{split_file}: {split!r} holds no case, and this needs one; list it there")


def _read_json(path: Path) -> object:
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror or error}); check the path") from None
    except (ValueError, RecursionError) as error:
        raise UserError(f"{path}: is not JSON ({error}); repair it") from None
