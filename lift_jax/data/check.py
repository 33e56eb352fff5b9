"""Check a data set and list every problem in one pass, before anything is trained on it:

python -m lift_jax.data.check --root DIR --dataset brats

Prints a table, a row for each subject and below it its errors and warnings, and a summary. An error makes training
refuse the subject, and the exit status 1; a warning is about something that is accepted and deserves a look.
"""

import collections
import os
import sys
from collections.abc import Iterable, Iterator, Sequence

import nibabel as nib
from absl import flags
from ml_collections import ConfigDict

from lift_jax import commands
from lift_jax.data.checks import SubjectIssues, check_subjects, format_shape
from lift_jax.data.datasets.naming import MASK, SEGMENTATION, with_channels
from lift_jax.data.datasets.registry import DATASETS, find_subjects
from lift_jax.data.sources import protocols_of
from lift_jax.errors import UserError
from lift_jax.progress import progress

SCANNED = [name for name, dataset in DATASETS.items() if not dataset.scanned_as]

ROOT = flags.DEFINE_string("root", "", "folder of the subjects")
DATASET = flags.DEFINE_enum("dataset", "brats", SCANNED, "how the subjects are stored")
PATTERN = flags.DEFINE_string("pattern", "", "files: names below the root, such as {subject}/{channel}.nii.gz")
MANIFEST = flags.DEFINE_string("manifest", "", "manifest: CSV with the column subject and one for each channel")
CHANNELS = flags.DEFINE_list("channels", [], "channels and their protocols, such as T1=mr_quantile,CT=ct_hu")
SUFFIXES = flags.DEFINE_list("suffixes", [], "bids, files: words in file names, such as T1=T1w,segmentation=dseg")
REQUIRED = flags.DEFINE_list("required", [], "channels, mask or segmentation that every subject must have")
HEADERS_ONLY = flags.DEFINE_bool("headers_only", False, "leave the voxels on disk: seconds for a whole data set")
THREADS = flags.DEFINE_integer("threads", os.cpu_count(), "subjects that are read at once", 1)


def table(subjects: Sequence[SubjectIssues]) -> Iterator[str]:
    """The lines of a report: a row for each subject and below it its errors and warnings, then a summary."""
    heads = ("subject", "files", "shape", "spacing in mm", "axes", "errors")
    rows = [(subject, _row(subject)) for subject in subjects]
    widths = [max(len(row[i]) for row in (heads, *(row for _, row in rows))) for i in range(len(heads))]
    lines = [(heads, ()), *((row, _lines(subject)) for subject, row in rows)]
    for row, below in lines:
        yield "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        yield from below
    counts = collections.Counter()
    for subject in subjects:
        counts.update(files=len(subject.channels), errors=len(subject.errors), bad=int(bool(subject.errors)))
        counts.update(warnings=len(subject.warnings), size=subject.size)
    yield (
        f"{len(subjects)} subjects, {counts['files']} files, {counts['size'] / 1e6:.1f} MB: {counts['errors']} errors "
        f"in {counts['bad']} subjects, {counts['warnings']} warnings"
    )


def _row(subject: SubjectIssues) -> tuple[str, ...]:
    shape, spacing, axes = "-", "-", "-"
    if subject.grid is not None:
        shape = format_shape(subject.grid.shape[::-1])
        spacing = format_shape(subject.grid.spacing[::-1], ".4g")
        axes = "".join(nib.aff2axcodes(subject.grid.header.get_best_affine()))
    files = " ".join(subject.channels) or "-"
    return printable(subject.name), files, shape, spacing, axes, str(len(subject.errors) or "none")


def _lines(subject: SubjectIssues) -> list[str]:
    labelled = [*(("error", text) for text in subject.errors), *(("warning", text) for text in subject.warnings)]
    return [f"  {label}: {printable(text)}" for label, text in labelled]


def printable(text: str) -> str:
    """A text with what no terminal should be sent (control characters, bytes that are no text) as escapes."""
    return "".join(letter if letter.isprintable() else ascii(letter)[1:-1] for letter in text)


def main() -> None:
    """Prints the report."""
    data = data_section()
    protocols = protocols_of(data)
    for kind in REQUIRED.value:
        if kind not in (*protocols, MASK, SEGMENTATION):
            raise UserError(f"--required: {kind!r} is none of {', '.join((*protocols, MASK, SEGMENTATION))}")
    data.channels = ConfigDict(dict.fromkeys(protocols, ""))
    found = find_subjects(data)
    issues = check_subjects(
        with_channels(found.subjects, protocols),
        protocols,
        REQUIRED.value,
        headers_only=HEADERS_ONLY.value,
        threads=THREADS.value,
    )
    subjects = list(progress(issues, total=len(found.subjects), description="checking", unit="subject"))
    lines = [f"error: {printable(line)}" for line in found.errors]
    lines += [f"warning: {printable(line)}" for line in found.warnings]
    for line in (*table(subjects), *lines):
        commands.say(line)
    sys.exit(bool(found.errors) or any(subject.errors for subject in subjects))


def data_section() -> ConfigDict:
    """The flags as the data section of a configuration."""
    if DATASET.value != "manifest":
        commands.required_path("root")
    return ConfigDict(
        {
            "dataset": DATASET.value,
            "root": ROOT.value,
            "pattern": PATTERN.value,
            "manifest": MANIFEST.value,
            "channels": _pairs("channels", CHANNELS.value),
            "suffixes": _pairs("suffixes", SUFFIXES.value),
            "sources": (),
            "targets": (),
            "hu_range": (-1024.0, 3000.0),
        }
    )


def _pairs(flag: str, values: Iterable[str]) -> dict[str, str]:
    pairs = dict(value.partition("=")[::2] for value in values)
    if not all(pairs.values()):
        raise UserError(f"--{flag}: give NAME=VALUE, separated by commas")
    return pairs


if __name__ == "__main__":
    commands.run(main)
