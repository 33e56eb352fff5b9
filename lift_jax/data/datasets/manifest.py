"""Files by a table: a CSV with the column `subject` and one for each channel, `config.data.manifest`."""

import csv
import os
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path

from lift_jax.data.datasets.naming import MASK, SEGMENTATION, Found, subject_of
from lift_jax.data.splits import SPLITS
from lift_jax.errors import UserError

OPTIONAL = (MASK, SEGMENTATION, "split", "patient")
"""Columns beside `subject` and the channels."""


def find(data) -> Found:
    """The subjects of the table, one a row; an empty cell is a channel that the subject lacks.

    Paths are relative to `config.data.root`, or to the folder of the table where that is "".

    Raises:
      UserError: the table cannot be read, or its header cannot be used.
    """
    if not data.manifest:
        raise UserError("config.data.manifest: not set; give a CSV file with the column subject and one for a channel")
    path = Path(data.manifest)
    rows = _rows(path, tuple(data.channels))
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
        errors += [f"{path}, line {line}: {problem}" for problem in _problems(row, files)]
        subjects.append(subject_of(row["subject"], files, row.get("patient", ""), row.get("split", "")))
    if rows and len({bool(row.get("split")) for _, row in rows}) > 1:
        errors.append(f"{path}: some rows have a split and some have none; give one in every row")
    return Found(tuple(subject for subject in subjects if subject.channels), tuple(errors))


def _problems(row: Mapping[str, str], files: Mapping[str, Path]) -> Iterator[str]:
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


def _rows(path: Path, channels: tuple[str, ...]) -> list[tuple[int, dict[str, str]]]:
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
    allowed = ("subject", *channels, *OPTIONAL)
    problems = [f"column {column!r} is none of {', '.join(allowed)}; rename or remove it" for column in columns]
    problems = [line for line, column in zip(problems, columns, strict=True) if column not in allowed]
    problems += [f"column {column!r} is there twice; remove one" for column, n in Counter(columns).items() if n > 1]
    problems += [f"lacks the column {name!r}; add it" for name in ("subject", *channels) if name not in columns]
    problems += [f"line {line} has more cells than columns; separate by commas" for line, row in rows if "" in row]
    if not rows:
        problems.append("holds no rows; add a subject")
    if problems:
        raise UserError("\n".join(f"{path}: {problem}" for problem in problems))
    return [(line, {column: (cell or "").strip() for column, cell in row.items()}) for line, row in rows]
