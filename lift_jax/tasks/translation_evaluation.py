"""Evaluation of runs that translate: `evaluate.py --workdir`."""

import json
import warnings

from lift_jax import hosts
from lift_jax.data.sources import DataSplit, all_subjects, subject_source
from lift_jax.data.splits import check_members
from lift_jax.data.statistics import read_description
from lift_jax.data.subject import SubjectSource
from lift_jax.errors import DataWarning
from lift_jax.evaluation.columns import columns_of
from lift_jax.evaluation.report.translation import write_evaluation
from lift_jax.evaluation.translation import channel_counts, picture_run, score_run, translation_metadata
from lift_jax.inference.output import check_writable
from lift_jax.paths import PathLike, is_in_bucket
from lift_jax.tasks.base import EvaluateOptions
from lift_jax.trained import for_inference, load_trained

SPLIT_FILE = "split.json"
"""Where a run keeps which subjects it was trained on."""


def evaluate_translation(workdir: PathLike, options: EvaluateOptions) -> PathLike | None:
    """Scores a run on its test split or on a folder of subjects, and writes a report.

    Returns:
      The path of the report; None in processes other than the first.

    Raises:
      UserError: the run or the subjects cannot be used, or the report cannot be written.
    """
    trained = for_inference(load_trained(workdir), options.dtype)
    output = options.output or workdir / ("evaluation_of_root" if options.root else "evaluation")
    if hosts.is_first() and not is_in_bucket(output):
        check_writable(output)
    data = trained.config.data
    overlap = {}
    if options.root:
        subjects, data_set = all_subjects(data, options.root), f"all subjects of {options.root}"
        overlap = training_overlap(workdir, subjects)
    else:
        subjects, data_set = subject_source(data, "test"), f"{data.dataset}, test split"
        check_members(subjects.names, "test", data.split_file)
    rows, cost = score_run(trained, subjects, read_description(workdir))
    metadata = translation_metadata(trained, subjects, rows, data_set, cost) | overlap
    pictures = picture_run(trained, subjects, rows)
    if not hosts.is_first():
        return None
    counts = channel_counts(rows)
    hosts.report("scored: " + ", ".join(f"{channel} (n = {n})" for channel, n in counts.items()))
    columns = columns_of(trained.channels.protocols[channel].unit for channel in counts)
    write_evaluation(output, rows, pictures, title=f"{workdir.name}: {data_set}", metadata=metadata, columns=columns)
    return output / "report.html"


def training_overlap(workdir: PathLike, subjects: SubjectSource) -> dict[str, str]:
    """Which subjects, or other scans of their patients, the run has seen: a line of metadata, and a warning.

    Patients are known by the names of subjects. Nothing where the run keeps no split.
    """
    path = workdir / SPLIT_FILE
    if not path.exists():
        return {}
    seen = {split: names for split, names in DataSplit(**json.loads(path.read_text())).seen(subjects.names).items()}
    seen = {split: names for split, names in seen.items() if names}
    if not seen:
        return {"seen in training": f"none of {len(subjects.names)} subjects, by their names"}
    listed = "; ".join(f"{split}: {_few(names)}" for split, names in seen.items())
    count = sum(map(len, seen.values()))
    known = f"{count} of {len(subjects.names)} subjects ({listed})"
    warnings.warn(f"the run has seen {known}; scores are too good for new subjects", DataWarning, stacklevel=2)
    return {"seen in training": known}


def _few(names: list[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
