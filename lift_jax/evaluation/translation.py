"""Scores of a run that translates, on subjects that it has not seen: each target from the other channels."""

import collections
import statistics
import time
import warnings
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from lift_jax import hosts
from lift_jax.data.statistics import unfamiliar
from lift_jax.data.subject import SubjectSource
from lift_jax.errors import DataWarning, UserError
from lift_jax.evaluation.cost import hardware, peak_memory, translation_flops
from lift_jax.evaluation.leave_one_channel_out import HiddenChannel, hidden_channels, picture_of
from lift_jax.evaluation.report.pictures import Picture
from lift_jax.evaluation.scores import score_rows
from lift_jax.evaluation.statistics import MODEL, Row, distinct, rank_subjects
from lift_jax.progress import progress
from lift_jax.trained import Trained


def score_run(
    trained: Trained, subjects: SubjectSource, training: Mapping | None = None
) -> tuple[list[Row], dict[str, float]]:
    """Hides each target of each subject in turn, predicts it from its other channels, and scores it.

    Args:
      trained: the run.
      subjects: what is scored; a target is scored on the subjects that have it and another channel.
      training: what the run keeps of its training data, see `familiarity`; subjects unlike them are warned about.

    Returns:
      One row per subject, channel and method (the model, and methods without training); and the cost of one
      translation: `seconds_per_volume` (median, after the compilation; reading and scoring apart), `flops_per_volume`
      and `peak_memory_gib`.

    Raises:
      UserError: a file cannot be used, or no subject has a target and another channel.
    """
    rows, shape, seconds = score_subjects(trained, subjects, training)
    cost = {
        "seconds_per_volume": statistics.median(seconds) if seconds else np.nan,
        "flops_per_volume": volume_flops(trained, shape),
        "peak_memory_gib": peak_memory(),
    }
    return rows, cost


def score_subjects(
    trained: Trained, subjects: SubjectSource, training: Mapping | None = None
) -> tuple[list[Row], tuple[int, int, int], list[float]]:
    """The rows of `score_run`, the grid of the last subject, and the seconds of every translation.

    Processes take subjects in turn, and all return the rows of all, in the order of the subjects.
    The first translation of every grid, which holds the compilation, is not among the seconds.
    """
    parts: dict[int, dict] = {}
    compiled: set[tuple[int, ...]] = set()
    share = hosts.own_share(len(subjects.names))
    for index in progress(share, description="evaluating", unit="subject", enabled=hosts.is_first()):
        rows, seconds, shape = [], [], None
        for hidden in hidden_channels(subjects, index, trained.channels):
            began = time.perf_counter()
            prediction = predict_hidden(trained, hidden)
            if training and shape is None:
                _warn_unfamiliar(training, subjects, index, hidden, trained)
            shape = hidden.subject.shape
            if shape in compiled:
                seconds.append(time.perf_counter() - began)
            compiled.add(shape)
            name, target = hidden.subject.name, hidden.target
            rows += score_rows(f"{name}: {target}", name, target, hidden.truth, prediction)
        parts[index] = {"rows": rows, "seconds": seconds, "shape": shape}
    gathered = [part for part in hosts.all_gather_json(parts) if part["rows"]]
    if not gathered:
        targets = ", ".join(trained.channels.targets)
        raise UserError(f"no subject has one of the targets {targets} and another channel to predict it from")
    rows, seconds = ([entry for part in gathered for entry in part[key]] for key in ("rows", "seconds"))
    return rows, tuple(gathered[-1]["shape"]), seconds


def predict_hidden(trained: Trained, hidden: HiddenChannel) -> np.ndarray:
    """A hidden channel from those that are left, `[D, H, W]` float32 in the unit of its protocol."""
    return trained.predict(hidden.subject, hidden.sources, [hidden.target])[hidden.target]


def picture_run(trained: Trained, subjects: SubjectSource, rows: Sequence[Row]) -> Iterator[Picture]:
    """The best, median and worst subject of every channel, predicted anew, so that no volume is kept meanwhile."""
    for channel in distinct(rows, "channel"):
        for rank, name in rank_subjects(rows, channel).items():
            index = list(subjects.names).index(name)
            (hidden,) = hidden_channels(subjects, index, trained.channels, [channel])
            yield picture_of(hidden, predict_hidden(trained, hidden), rank)


def translation_metadata(
    trained: Trained, subjects: SubjectSource, rows: Sequence[Row], data_set: str, cost: dict[str, float]
) -> dict[str, str]:
    """The metadata of a report."""
    config, channels = trained.config, trained.channels
    stages = ", ".join(f"{name} {config.stage[name].steps:,} steps" for name in config.stages)
    counts = channel_counts(rows)
    units = dict.fromkeys(channels.protocols[channel].unit for channel in counts)
    names = {"[0, 1]": "cWDM", "HU": "SynthRAD2023; MS-SSIM as SynthRAD2025"}
    return {
        "data set": data_set,
        "subjects": f"{len(subjects.names)}; scored: {', '.join(f'{c} on {n}' for c, n in counts.items())}",
        "task": f"each target from the other channels of the subject; sources: {', '.join(channels.sources)}",
        "protocol": f"{' and '.join(names[unit] for unit in units)}, {describe_grid(config.data)}",
        "training": stages,
        "checkpoint": f"stage {trained.stage}, step {trained.step:,}, averaged parameters",
        "mixer": config.model.mixer.kind,
        "hardware": hardware(),
        "seconds per volume": f"{cost['seconds_per_volume']:.3g} (median, after compilation)",
        "operations per volume": f"{cost['flops_per_volume'] / 1e12:.3g} TFLOP",
        "peak memory": f"{cost['peak_memory_gib']:.2f} GiB",
    }


def channel_counts(rows: Sequence[Row]) -> dict[str, int]:
    """How many subjects were scored of each channel."""
    return dict(collections.Counter(str(row["channel"]) for row in rows if row["method"] == MODEL))


def describe_grid(data) -> str:
    """On which grid a run works, from its data section."""
    size = "×".join(map(str, data.size)) + " voxels" if min(data.size) > 0 else ""
    spacing = f"{data.spacing:g} mm" if data.spacing > 0 else ""
    return f"at {', '.join(filter(None, (size, spacing)))}" if size or spacing else "native grid"


def volume_flops(trained: Trained, shape: tuple[int, int, int]) -> float:
    """Operations of translating one channel of a subject of `(D, H, W)` voxels."""
    multiple, inference = trained.network.translator.multiple, trained.config.inference
    height, width = (-(-side // multiple) * multiple for side in shape[1:])
    padded = (shape[0], height, width, len(trained.channels.sources))
    return translation_flops(
        trained.network, trained.params, padded, chunk=inference.chunk, skip_cache_gib=inference.skip_cache_gib
    )


def _warn_unfamiliar(training: Mapping, subjects: SubjectSource, index: int, hidden: HiddenChannel, trained: Trained):
    grid, spacing = subjects.geometry(index), trained.config.data.spacing
    for line in unfamiliar(training, grid, hidden.subject, hidden.sources, trained.channels, spacing):
        warnings.warn(f"{hidden.subject.name}: {line}", DataWarning, stacklevel=3)
