"""Evaluation and sweeps of runs that translate (LiFT-C)."""

import json
import warnings

import numpy as np
from ml_collections import ConfigDict

from lift_jax import hosts
from lift_jax.data.channels import channels_of
from lift_jax.data.sources import DataSplit, all_subjects, subject_source
from lift_jax.data.splits import check_members
from lift_jax.data.statistics import read_description
from lift_jax.data.subject import SubjectSource
from lift_jax.errors import DataWarning
from lift_jax.evaluation.columns import GFLOP_COLUMN, SWEEP_HU_COLUMNS, SWEEP_UNIT_COLUMNS, columns_of
from lift_jax.evaluation.leave_one_channel_out import hidden_channels, picture_of
from lift_jax.evaluation.report.translation import write_evaluation
from lift_jax.evaluation.scores import BEST_SOURCE, MEAN_OF_SOURCES, WATER
from lift_jax.evaluation.statistics import MODEL, Column, Row, aggregate, distinct
from lift_jax.evaluation.translation import (
    channel_counts,
    picture_run,
    predict_hidden,
    score_run,
    score_subjects,
    translation_metadata,
    volume_flops,
)
from lift_jax.inference.output import check_writable
from lift_jax.paths import PathLike, is_in_bucket
from lift_jax.run_directory import SPLIT_FILE
from lift_jax.tasks.base import EvaluateOptions, Example, RunScores, SweepSupport
from lift_jax.trained import Trained, for_inference, load_trained


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
    subjects: SubjectSource
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


def sweep_columns(config: ConfigDict) -> tuple[Column, ...]:
    """The metrics of a configuration's runs, by the units of its targets."""
    units = _target_units(config)
    columns = [*(SWEEP_UNIT_COLUMNS if "[0, 1]" in units else ()), *(SWEEP_HU_COLUMNS if "HU" in units else ())]
    return tuple({column.key: column for column in columns}.values())


def sweep_baselines(config: ConfigDict) -> tuple[str, ...]:
    """What is scored beside the model."""
    channels, units = channels_of(config.data), _target_units(config)
    from_sources = any(channels.protocols[source].unit == "[0, 1]" for source in channels.sources)
    copies = (BEST_SOURCE, MEAN_OF_SOURCES) if "[0, 1]" in units and from_sources else ()
    return (*copies, *((WATER,) if "HU" in units else ()))


def score_translation(workdir: PathLike) -> RunScores:
    """Scores a run on its test split: means over subjects and channels."""
    trained = load_trained(workdir)
    subjects = subject_source(trained.config.data, "test")
    rows, shape, _ = score_subjects(trained, subjects)
    columns = [column for column in sweep_columns(trained.config) if column is not GFLOP_COLUMN]
    table = aggregate(
        [{**row, "channel": "all", "subject": f"{row['subject']} {row['channel']}"} for row in rows], columns
    )
    scores = {
        method: {key: _number(estimate.mean) for key, estimate in channels["all"].items()}
        for method, channels in table.items()
    }
    scores[MODEL][GFLOP_COLUMN.key] = _number(volume_flops(trained, shape) / 1e9)
    examples, spacing = _examples(trained, subjects, rows)
    return RunScores(scores, len(subjects.names), examples, spacing)


def _target_units(config: ConfigDict) -> set[str]:
    channels = channels_of(config.data)
    return {channels.protocols[target].unit for target in channels.targets}


def _examples(
    trained: Trained, subjects: SubjectSource, rows: list[Row]
) -> tuple[list[Example], tuple[float, float, float]]:
    """Of every channel the median subject by the PSNR of a method without training, which all runs agree on."""
    examples, spacing = [], (1.0, 1.0, 1.0)
    for channel in distinct(rows, "channel"):
        others = [row for row in rows if row["channel"] == channel and row["method"] != MODEL]
        method = others[0]["method"] if others else MODEL
        psnr = {
            str(row["subject"]): row["psnr"] for row in rows if row["channel"] == channel and row["method"] == method
        }
        name = sorted(psnr, key=lambda subject: (psnr[subject], subject))[len(psnr) // 2]
        (hidden,) = hidden_channels(subjects, list(subjects.names).index(name), trained.channels, [channel])
        picture = picture_of(hidden, predict_hidden(trained, hidden), "median")
        target, prediction = (
            volume if picture.mask is None else np.where(picture.mask, volume, np.min(picture.target))
            for volume in (picture.target, picture.prediction)
        )
        window, source_window = picture.windows[-1][1:3], picture.source_window[1:3]
        windows = {"source": source_window, "truth": window, "": window}
        examples.append(
            Example(f"{channel} of {name}", {"source": picture.source, "truth": target}, prediction, windows)
        )
        spacing = picture.spacing
    return examples, spacing


def _number(value: float) -> float | None:
    """A number as JSON knows it."""
    return float(value) if np.isfinite(value) else None


SWEEP = SweepSupport(
    columns=sweep_columns,
    baselines=sweep_baselines,
    score=score_translation,
    # A checkpoint of the translator holds the untrained mixer too, so that it does depend on `model.mixer`.
    independent={
        "translator": ("stage.mixer", "stage.joint"),
        "mixer": ("stage.joint",),
        "joint": ("stage.translator", "stage.mixer"),
    },
    description="each target channel predicted from the other channels",
    unit="subjects",
    shown="The subject is the median of the test split by the PSNR of a method without training. ",
)
