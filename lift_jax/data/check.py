"""Checks a data set, every problem at once, before anything is trained on it:

python -m lift_jax.data.check --root DIR --layout brats

Prints a table, a row for each case and below it its problems and remarks, and a summary. A problem makes training
refuse the case, and the exit status 1; a remark is of something that is accepted and deserves a look.
"""

import collections
import os
import sys
from collections.abc import Iterator, Sequence

import nibabel as nib
from absl import flags

from lift_jax import commands
from lift_jax.data.findings import LAYOUTS, Findings, by, check_cases
from lift_jax.errors import UserError
from lift_jax.progress import progress

ROOT = flags.DEFINE_string("root", None, "folder of the case folders")
LAYOUT = flags.DEFINE_enum("layout", "brats", sorted(LAYOUTS), "how the cases are stored")
REQUIRED = flags.DEFINE_list("required", None, "volumes that every case must have; not given: what training needs")
HEADERS_ONLY = flags.DEFINE_bool("headers_only", False, "leave the voxels on disk: seconds for a whole data set")
THREADS = flags.DEFINE_integer("threads", os.cpu_count(), "cases that are read at once", 1)


def table(findings: Sequence[Findings]) -> Iterator[str]:
    """The lines of a report: a row for each case and below it its problems and remarks, then a summary."""
    heads = ("case", "files", "shape", "spacing in mm", "axes", "problems")
    rows = [(case, _row(case)) for case in findings]
    widths = [max(len(row[i]) for row in (heads, *(row for _, row in rows))) for i in range(len(heads))]
    lines = [(heads, ()), *((row, _lines(case)) for case, row in rows)]
    for row, below in lines:
        yield "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        yield from below
    counts = collections.Counter()
    for case in findings:
        counts.update(files=len(case.files), problems=len(case.problems), bad=int(bool(case.problems)))
        counts.update(remarks=len(case.remarks), size=case.size)
    yield (
        f"{len(findings)} cases, {counts['files']} files, {counts['size'] / 1e6:.1f} MB: {counts['problems']} problems "
        f"in {counts['bad']} cases, {counts['remarks']} remarks"
    )


def _row(case: Findings) -> tuple[str, ...]:
    shape, spacing, axes = "-", "-", "-"
    if case.grid is not None:
        shape, spacing = by(case.grid.shape[::-1]), by(case.grid.spacing[::-1], ".4g")
        axes = "".join(nib.aff2axcodes(case.grid.header.get_best_affine()))
    return printable(case.name), " ".join(case.files) or "-", shape, spacing, axes, str(len(case.problems) or "none")


def _lines(case: Findings) -> list[str]:
    labelled = [*(("problem", text) for text in case.problems), *(("remark", text) for text in case.remarks)]
    return [f"  {label}: {printable(text)}" for label, text in labelled]


def printable(text: str) -> str:
    """A text with what no terminal should be sent (control characters, bytes that are no text) as escapes."""
    return "".join(letter if letter.isprintable() else ascii(letter)[1:-1] for letter in text)


def main() -> None:
    """Prints the report."""
    checked, root = LAYOUTS[LAYOUT.value], commands.required_path("root")
    names, required = checked.layout.names(root), checked.required if REQUIRED.value is None else REQUIRED.value
    for kind in required:
        if kind not in checked.layout.kinds:
            raise UserError(f"--required: {kind!r} is none of {', '.join(checked.layout.kinds)}")
    cases = check_cases(root, LAYOUT.value, names, required, headers_only=HEADERS_ONLY.value, threads=THREADS.value)
    findings = list(progress(cases, total=len(names), description="checking", unit="subject"))
    for line in table(findings):
        commands.say(line)
    sys.exit(any(case.problems for case in findings))


if __name__ == "__main__":
    commands.run(main)
