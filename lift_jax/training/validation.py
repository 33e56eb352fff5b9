"""Whole validation subjects, translated while a stage trains: metrics and a picture."""

import io

import jax
import matplotlib.image
import numpy as np
from ml_collections import ConfigDict

from lift_jax.data.channels import Channels
from lift_jax.data.subject import SubjectSource
from lift_jax.evaluation.leave_one_channel_out import hidden_channels, picture_of
from lift_jax.evaluation.metrics import BONE_THRESHOLD, delta_z, synthrad2023, unit_range
from lift_jax.evaluation.report.pictures import draw_picture
from lift_jax.evaluation.scores import ScoredChannel
from lift_jax.inference.predict import predict_channels
from lift_jax.models.translation.volume_translator import VolumeTranslator


def validate(
    network: VolumeTranslator, params: dict, channels: Channels, subjects: SubjectSource, config: ConfigDict
) -> tuple[dict[str, float], dict[str, np.ndarray]]:
    """Translates each target of the first few subjects from their other channels.

    Args:
      network: the network; params: its parameters.
      channels: of the run.
      subjects: validation subjects, of which `config.log.validation_subjects` are used.
      config: of the run.

    Returns:
      Means over the subjects that have the channel. Targets in [0, 1]: `validation_psnr_<channel>`, dB over whole
      volumes, and their mean `validation_psnr`. Targets in HU: `validation_mae`, `validation_psnr`,
      `validation_delta_z_mae` and `validation_delta_z_mae_bone` in the body. Where a run has targets of both units or
      several in HU, the latter are named `validation_<metric>_<channel>`. And the picture `validation`,
      `[height, width, 3]` uint8, of the first subject's last target. Nothing without a subject.
    """
    params = jax.device_get(params)
    scores: dict[str, dict[str, list[float]]] = {}
    picture, inference = None, config.inference
    for index in range(min(config.log.validation_subjects, len(subjects.names))):
        for hidden in hidden_channels(subjects, index, channels):
            target = hidden.target
            prediction = predict_channels(
                network,
                params,
                channels,
                hidden.subject,
                hidden.sources,
                [target],
                chunk=inference.chunk,
                skip_cache_gib=inference.skip_cache_gib,
                in_foreground_box=inference.foreground_box,
            )[target]
            for metric, value in _metrics(hidden.truth, prediction).items():
                scores.setdefault(target, {}).setdefault(metric, []).append(value)
            if index == 0:
                picture = picture_of(hidden, prediction, "validation")
    if not scores:
        return {}, {}
    if picture is None:
        return _named(scores, channels), {}
    pixels = matplotlib.image.imread(io.BytesIO(draw_picture(picture)), format="png")
    return _named(scores, channels), {"validation": (pixels[..., :3] * 255).astype(np.uint8)}


def _metrics(truth: ScoredChannel, prediction: np.ndarray) -> dict[str, float]:
    if truth.protocol.unit != "HU":
        return {"psnr": unit_range(truth.target, prediction)["psnr"]}
    likeness = synthrad2023(truth.target, prediction, truth.foreground)
    steps = delta_z(truth.target, prediction, truth.foreground, BONE_THRESHOLD)
    metrics = {"mae": likeness["mae"], "psnr": likeness["psnr"], "delta_z_mae": steps["mae"]}
    return metrics | {"delta_z_mae_bone": steps["mae_bone"]}


def _named(scores: dict[str, dict[str, list[float]]], channels: Channels) -> dict[str, float]:
    """Log keys and means; a single target in HU has none of its name in them."""
    means = {(target, metric): _finite_mean(values) for target, own in scores.items() for metric, values in own.items()}
    only = len(channels.targets) == 1 and channels.protocols[channels.targets[0]].unit == "HU"
    if only:
        return {f"validation_{metric}": mean for (_, metric), mean in means.items()}
    named = {f"validation_{metric}_{target}": mean for (target, metric), mean in means.items()}
    psnr = [mean for (_, metric), mean in means.items() if metric == "psnr"]
    return named | {"validation_psnr": float(np.mean(psnr))}


def _finite_mean(values: list[float]) -> float:
    """The mean of the values that are not nan, such as those of subjects with bone; nan where there is none."""
    known = [value for value in values if not np.isnan(value)]
    return float(np.mean(known)) if known else float("nan")
