"""The data sets by name: how each names its files, or lists them in a table."""

import csv
import dataclasses
import os
import re
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from ml_collections import ConfigDict

from lift_jax.data.naming import (
    ENDINGS,
    MASK,
    SEGMENTATION,
    Found,
    Naming,
    SubjectFiles,
    find,
    guess_pattern,
    subject_of,
)
from lift_jax.data.splits import SPLITS
from lift_jax.data.volumes import MHA
from lift_jax.errors import DataWarning, UserError
from lift_jax.paths import resolve_local_path

BRATS_CHANNELS = {"t1n": "mr_quantile", "t1c": "mr_quantile", "t2w": "mr_quantile", "t2f": "mr_quantile"}
"""The four MR sequences, and their intensity protocol."""

BRATS_WORDS = {name: name for name in BRATS_CHANNELS} | {"t1": "t1n", "t1ce": "t1c", "t2": "t2w", "flair": "t2f"}

BRATS_PATTERN = re.compile(r"(?:.*/)?(?P<subject>[^/]+)/(?P=subject)[-_](?P<kind>[a-z0-9]+)\.nii(?:\.gz)?", re.DOTALL)


def brats_naming(data) -> Naming:
    """Subject folders may lie in folders of their own, such as HGG and LGG of 2018."""
    kinds = {word: channel for word, channel in BRATS_WORDS.items() if channel in data.channels}
    return Naming(
        BRATS_PATTERN,
        kinds | {"seg": SEGMENTATION, "mask": MASK},
        "<subject>/<subject>-{t1n,t1c,t2w,t2f}.nii.gz or <subject>/<subject>_{t1,t1ce,t2,flair}.nii.gz",
    )


SYNTHRAD_CHANNELS = {"mr": "mr_foreground", "cbct": "ct_hu", "ct": "ct_hu"}
"""MR of task 1 or cone-beam CT of task 2, the planning CT, and their intensity protocols."""


def synthrad_naming(data, ending: str = ".nii.gz") -> Naming:
    """Subject folders may lie in others, such as `Task1/brain`; of 2025 the ending is `.mha`."""
    kinds = {channel: channel for channel in SYNTHRAD_CHANNELS if channel in data.channels} | {"mask": MASK}
    endings = r"\.mha" if ending == MHA else r"\.nii(?:\.gz)?"
    pattern = re.compile(rf"(?:.*/)?(?P<subject>[^/]+)/(?P<kind>mr|cbct|ct|mask){endings}", re.DOTALL)
    return Naming(pattern, kinds, f"<subject>/{{mr,cbct,ct,mask}}{ending}")


def bids_naming(data) -> Naming:
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
    return Naming(pattern, kinds, example, lambda match: "_".join(filter(None, match.group("subject", "session"))))


def files_naming(data) -> Naming:
    """The names of the files that fit the pattern, in which `*` is any text within a folder's or file's name.

    Where `{channel}` is "mask" or "segmentation", it is the file of that. `config.data.suffixes` gives the word in the
    file names for a channel, the mask or the segmentation, where it is not its name.

    Raises:
      UserError: the pattern lacks a field, has an unknown one, or does not end as a file that can be read.
    """
    pattern, form = data.pattern, 'such as "{subject}/{subject}_{channel}.nii.gz"'
    if not pattern:
        raise UserError(f"config.data.pattern: not set; give the names of the files below config.data.root, {form}")
    parts = re.split(r"\{(.*?)\}", pattern)
    fields = parts[1::2]
    known = ("subject", "channel")
    problems = [f"lacks {{{field}}}" for field in known if field not in fields]
    problems += [f"{{{field}}} is neither {{subject}} nor {{channel}}" for field in fields if field not in known]
    if not pattern.endswith(ENDINGS):
        problems.append(f"does not end in {', '.join(ENDINGS)}")
    if problems:
        raise UserError(f"config.data.pattern: {pattern!r} {' and '.join(problems)}; give one {form}")
    kinds = {data.suffixes.get(kind, kind): kind for kind in (*data.channels, MASK, SEGMENTATION)}
    words = "|".join(map(re.escape, sorted(kinds, key=len, reverse=True)))
    groups = {"subject": "(?P<subject>[^/]+?)", "channel": f"(?P<kind>{words})"}
    repeated = {"subject": "(?P=subject)", "channel": "(?P=kind)"}
    regex = [re.escape(part).replace(r"\*", "[^/]*") for part in parts]
    for i, field in enumerate(fields):
        regex[2 * i + 1] = repeated[field] if field in fields[:i] else groups[field]
    shown = pattern.replace("{channel}", f"{{{','.join(kinds)}}}").replace("{subject}", "<subject>")
    return Naming(re.compile("".join(regex), re.DOTALL), kinds, shown)


def read_manifest(data) -> Found:
    """The subjects of the table, one a row; an empty cell is a channel that the subject lacks.

    Paths are relative to `config.data.root`, or to the folder of the table where that is "".

    Raises:
      UserError: the table cannot be read, or its header cannot be used.
    """
    if not data.manifest:
        raise UserError("config.data.manifest: not set; give a CSV file with the column subject and one for a channel")
    path = Path(data.manifest)
    rows = _manifest_rows(path, tuple(data.channels))
    folder = Path(data.root) if data.root else path.parent
    counts = Counter(row["subject"] for _, row in rows)
    errors = [
        f"{path}: subject {name!r} is in {count} rows; list it once"
        for name, count in counts.items()
        if count > 1 and name
    ]
    subjects = []
    for line, row in rows:
        files = {kind: folder / row[kind] for kind in (*data.channels, MASK, SEGMENTATION) if row.get(kind)}
        errors += [f"{path}, line {line}: {problem}" for problem in _row_problems(row, files)]
        subjects.append(subject_of(row["subject"], files, row.get("patient", ""), row.get("split", "")))
    if rows and len({bool(row.get("split")) for _, row in rows}) > 1:
        errors.append(f"{path}: some rows have a split and some have none; give one in every row")
    return Found(tuple(subject for subject in subjects if subject.channels), tuple(errors))


def _row_problems(row: Mapping[str, str], files: Mapping[str, Path]) -> Iterator[str]:
    name = row["subject"]
    if not name or "/" in name or name.startswith("."):
        yield f"{name!r} cannot name a subject; give a name without / and leading dot"
    if not set(files) - {MASK, SEGMENTATION}:
        yield f"subject {name!r} has no channel; give a file or remove the row"
    for kind, file in files.items():
        if not os.path.isfile(file):
            yield f"the {kind} of {name!r}, {file}, is no file; correct the path"
    if row.get("split") and row["split"] not in SPLITS:
        yield f"split {row['split']!r} is none of {', '.join(SPLITS)}"


def _manifest_rows(path: Path, channels: tuple[str, ...]) -> list[tuple[int, dict[str, str]]]:
    """Line numbers and cells by column."""
    try:
        with open(path, newline="", encoding="utf-8-sig") as file:
            reader = csv.DictReader(file, restkey="", strict=True)
            columns = [column.strip() for column in reader.fieldnames or ()]
            reader.fieldnames = columns
            rows = [(reader.line_num, row) for row in reader]
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror or error}); check config.data.manifest") from None
    except (csv.Error, UnicodeDecodeError) as error:
        raise UserError(f"{path}: is no CSV file in UTF-8 ({error}); repair it") from None
    allowed = ("subject", *channels, MASK, SEGMENTATION, "split", "patient")
    unknown = [column for column in columns if column not in allowed]
    problems = [f"column {column!r} is none of {', '.join(allowed)}; rename or remove it" for column in unknown]
    problems += [f"column {column!r} is there twice; remove one" for column, n in Counter(columns).items() if n > 1]
    problems += [f"lacks the column {name!r}; add it" for name in ("subject", *channels) if name not in columns]
    problems += [f"line {line} has more cells than columns; separate by commas" for line, row in rows if "" in row]
    if not rows:
        problems.append("holds no rows; add a subject")
    if problems:
        raise UserError("\n".join(f"{path}: {problem}" for problem in problems))
    return [(line, {column: (cell or "").strip() for column, cell in row.items()}) for line, row in rows]


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
    "phantom": DataSet(BRATS_CHANNELS, scanned_as="brats"),
    "phantom_head": DataSet(PHANTOM_HEAD_CHANNELS, scanned_as="synthrad2023"),
    "brats": DataSet(BRATS_CHANNELS, brats_naming),
    "synthrad2023": DataSet(SYNTHRAD_CHANNELS, synthrad_naming, few_validate=True),
    "synthrad2025": DataSet(SYNTHRAD_CHANNELS, lambda data: synthrad_naming(data, MHA), few_validate=True),
    "bids": DataSet(naming=bids_naming),
    "files": DataSet(naming=files_naming),
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
        return read_manifest(data)
    if not data.root:
        raise UserError("config.data.root: not set; give the folder of the subjects, --config.data.root=DIR")
    naming = DATASETS[data.dataset].naming
    assert naming is not None, data.dataset
    return find(
        resolve_local_path(data.root), naming(data), lambda paths: _suggest(data, paths), one_subject=one_subject
    )


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
