"""Check a data set and list every problem in one pass, before anything is trained on it.

usage: lift-jax check --root DIR --dataset NAME [options]
       lift-jax check --workdir RUN [--root DIR] [options]

Prints a row for each subject and below it its errors and warnings. An error makes training refuse the subject, and the
exit status 1; a warning is about something that is accepted but unusual. The second form takes channels and names
from a trained run, and compares the subjects with its training data.

examples:
  lift-jax check --root BRATS --dataset brats --required t1n,t2w
  lift-jax check --root SCANS --dataset files --pattern {subject}/{channel}.nii.gz --channels T1=mr_quantile
"""

import argparse
import collections
import os
from collections.abc import Callable, Iterator, Sequence

import nibabel as nib
from ml_collections import ConfigDict

from lift_jax.cli.arguments import Parser, positive, refuse_given, required
from lift_jax.cli.process import Say
from lift_jax.data.channels import channels_of, protocols_of
from lift_jax.data.check import SubjectIssues, check_subjects, format_shape
from lift_jax.data.datasets import DATASETS, find_subjects
from lift_jax.data.naming import MASK, SEGMENTATION, SubjectFiles, with_channels
from lift_jax.data.scans import ScannedSubjects
from lift_jax.data.statistics import STATISTICS_FILE, read_description, unfamiliar
from lift_jax.errors import UserError
from lift_jax.paths import PathLike, resolve_path
from lift_jax.progress import progress

SCANNED = [name for name, dataset in DATASETS.items() if not dataset.scanned_as]


def add_arguments(parser: Parser) -> None:
    """The options of the command."""
    add = parser.add_argument
    add("--root", default="", metavar="DIR", help="folder of the subjects")
    add("--workdir", metavar="RUN", help="a trained run; gives --dataset, --pattern, --channels and --suffixes")
    add("--dataset", choices=SCANNED, metavar="NAME", help=f"{', '.join(SCANNED)} (brats)")
    add("--pattern", help="files: names below the root, such as {subject}/{channel}.nii.gz")
    add("--manifest", default="", metavar="CSV", help="manifest: column subject and one for each channel")
    add("--channels", type=_pairs, metavar="A=P,...", help="channels and protocols, T1=mr_quantile,CT=ct_hu")
    add("--suffixes", type=_pairs, metavar="A=W,...", help="bids, files: words in file names, T1=T1w")
    add("--required", type=_names, default=[], metavar="A,...", help="channels, or mask, that every subject must have")
    add("--headers_only", action="store_true", help="read headers only: seconds for a whole data set")
    add("--threads", type=positive, default=os.cpu_count(), metavar="N", help="subjects that are read in parallel")


def run(arguments, say: Say) -> dict:
    """Prints the report; the summary counts errors and lists them by subject."""
    data, compare = checked_data(arguments), None
    if arguments.workdir and not arguments.headers_only:
        compare = compare_with(resolve_path(arguments.workdir), data)
    protocols = protocols_of(data)
    for kind in arguments.required:
        if kind not in (*protocols, MASK, SEGMENTATION):
            raise UserError(f"--required: {kind!r} is none of {', '.join((*protocols, MASK, SEGMENTATION))}")
    data.channels = ConfigDict(dict.fromkeys(protocols, ""))
    found = find_subjects(data)
    issues = check_subjects(
        with_channels(found.subjects, protocols),
        protocols,
        arguments.required,
        headers_only=arguments.headers_only,
        threads=arguments.threads,
        compare=compare,
    )
    subjects = list(progress(issues, total=len(found.subjects), description="checking", unit="subject"))
    lines = [f"error: {printable(line)}" for line in found.errors]
    lines += [f"warning: {printable(line)}" for line in found.warnings]
    for line in (*table(subjects), *lines):
        say(line)
    return {
        "subjects": {each.name: {"errors": each.errors, "warnings": each.warnings} for each in subjects},
        "warnings": sum(len(each.warnings) for each in subjects) + len(found.warnings),
        "errors": sum(len(each.errors) for each in subjects) + len(found.errors),
    }


def checked_data(arguments) -> ConfigDict:
    """The options, or those of a run, as the data section of a configuration."""
    if arguments.workdir:
        refuse_given(arguments, ("dataset", "pattern", "channels", "suffixes"), "with --workdir")
        return _data_of_run(arguments)
    if arguments.dataset != "manifest":
        required(arguments.root, "--root")
    return ConfigDict(
        {
            "dataset": arguments.dataset or "brats",
            "root": arguments.root,
            "pattern": arguments.pattern or "",
            "manifest": arguments.manifest,
            "channels": arguments.channels or {},
            "suffixes": arguments.suffixes or {},
            "sources": (),
            "targets": (),
            "hu_range": (-1024.0, 3000.0),
        }
    )


def _data_of_run(arguments) -> ConfigDict:
    from lift_jax.run_directory import read_config  # which imports JAX, and takes seconds

    values = dict(read_config(resolve_path(arguments.workdir)).data.items())
    dataset = DATASETS[values["dataset"]]
    values["channels"] = dict(values["channels"].items()) or dict(dataset.channels)
    if dataset.scanned_as:
        required(arguments.root, "--root")
        values |= {"dataset": dataset.scanned_as, "size": (0, 0, 0)}
    values |= {key: getattr(arguments, key) for key in ("root", "manifest") if getattr(arguments, key)}
    return ConfigDict(values)


def compare_with(workdir: PathLike, data: ConfigDict) -> Callable[[SubjectFiles], list[str]]:
    """How a subject differs from the training data of a run, as whole lines.

    Raises:
      UserError: the run keeps no description of its training data.
    """
    training = read_description(workdir)
    if training is None:
        raise UserError(f"{workdir}: holds no {STATISTICS_FILE}; give the work directory of a run that translates")
    channels, size, spacing = channels_of(data), tuple(data.size), float(data.spacing)

    def compare(files: SubjectFiles) -> list[str]:
        subjects = ScannedSubjects((files,), channels.protocols, spacing, size)
        sources = [channel for channel in channels.sources if channel in files.channels]
        if not sources:
            return []
        found = unfamiliar(training, subjects.geometry(0), subjects.load(0, sources), sources, channels, spacing)
        return [f"{files.name}: {line}" for line in found]

    return compare


def _pairs(text: str) -> dict[str, str]:
    pairs = dict(value.partition("=")[::2] for value in _names(text))
    if not all(pairs.values()):
        raise argparse.ArgumentTypeError("give NAME=VALUE, separated by commas")
    return pairs


def _names(text: str) -> list[str]:
    return [name.strip() for name in text.split(",") if name.strip()]


def table(subjects: Sequence[SubjectIssues]) -> Iterator[str]:
    """The lines of a report: a row for each subject and below it its errors and warnings, then a summary."""
    heads = ("subject", "files", "shape", "spacing in mm", "axes", "errors")
    rows = [(subject, _row(subject)) for subject in subjects]
    widths = [max(len(row[i]) for row in (heads, *(row for _, row in rows))) for i in range(len(heads))]
    lines = [(heads, ()), *((row, _lines(subject)) for subject, row in rows)]
    for row, below in lines:
        yield "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        yield from below
    counts: collections.Counter[str] = collections.Counter()
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
    labeled = [*(("error", text) for text in subject.errors), *(("warning", text) for text in subject.warnings)]
    return [f"  {label}: {printable(text)}" for label, text in labeled]


def printable(text: str) -> str:
    """A text with what no terminal should be sent (control characters, bytes that are no text) as escapes."""
    return "".join(letter if letter.isprintable() else ascii(letter)[1:-1] for letter in text)
