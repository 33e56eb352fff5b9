"""Runs that translate, in sweeps."""

import numpy as np
from ml_collections import ConfigDict

from lift_jax.data.channels import channels_of
from lift_jax.data.sources import subject_source
from lift_jax.data.subject import SubjectSource
from lift_jax.evaluation.columns import GFLOP_COLUMN, SWEEP_HU_COLUMNS, SWEEP_UNIT_COLUMNS
from lift_jax.evaluation.leave_one_channel_out import hidden_channels, picture_of
from lift_jax.evaluation.scores import BEST_SOURCE, MEAN_OF_SOURCES, WATER
from lift_jax.evaluation.statistics import MODEL, Column, Row, aggregate, distinct
from lift_jax.evaluation.translation import predict_hidden, score_subjects, volume_flops
from lift_jax.paths import PathLike
from lift_jax.tasks.base import Example, RunScores, SweepSupport
from lift_jax.trained import Trained, load_trained


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
        [row | {"channel": "all", "subject": f"{row['subject']} {row['channel']}"} for row in rows], columns
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
        psnr = {row["subject"]: row["psnr"] for row in rows if row["channel"] == channel and row["method"] == method}
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
