"""Whole validation cases, translated while a stage trains: a figure and a picture."""

import io

import jax
import matplotlib.image
import numpy as np
from ml_collections import ConfigDict

from lift_jax.data.cases import CONTRASTS, CaseSource
from lift_jax.evaluation.held_out import picture_hidden, predict_hidden
from lift_jax.evaluation.image_metrics import unit_range
from lift_jax.evaluation.report.figures import draw_picture
from lift_jax.models.volume_translator import VolumeTranslator


def validate(
    network: VolumeTranslator, params: dict, cases: CaseSource, config: ConfigDict
) -> tuple[dict[str, float], dict[str, np.ndarray]]:
    """Translates each target of the first few cases from all other contrasts.

    Args:
      network: the network; params: its parameters.
      cases: validation cases, of which `config.log.validation_cases` are used.
      config: of the run.

    Returns:
      `validation_psnr_<contrast>` and `validation_psnr`, dB on [0, 1] over whole volumes, averaged over cases; and
      the picture `validation`, `[height, width, 3]` uint8, of the first case's last target. Nothing without a case.
    """
    if not cases.names:
        return {}, {}
    params = jax.device_get(params)
    scores: dict[str, list[float]] = {name: [] for name in config.data.targets}
    picture = None
    for index in range(min(config.log.validation_cases, len(cases.names))):
        case = cases.load(index)
        for name in config.data.targets:
            prediction = predict_hidden(network, params, case, name, config)
            target = case.targets[..., CONTRASTS.index(name)]
            scores[name].append(unit_range(target, prediction)["psnr"])
            if index == 0:
                picture = picture_hidden(case, name, prediction, "validation")
    means = {f"validation_psnr_{name}": float(np.mean(values)) for name, values in scores.items()}
    means["validation_psnr"] = float(np.mean(list(means.values())))
    pixels = matplotlib.image.imread(io.BytesIO(draw_picture(picture)), format="png")
    return means, {"validation": (pixels[..., :3] * 255).astype(np.uint8)}
