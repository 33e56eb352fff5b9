"""Whole validation cases of MR to CT, translated while a stage trains: figures and a picture."""

import io

import jax
import matplotlib.image
import numpy as np
from ml_collections import ConfigDict

from lift_jax.data.cases import CaseSource
from lift_jax.evaluation.image_metrics import synthrad2023
from lift_jax.evaluation.report.figures import draw_picture
from lift_jax.evaluation.report.pictures import ct_picture
from lift_jax.evaluation.through_plane import BONE_THRESHOLD, delta_z
from lift_jax.inference.ct import predict_ct
from lift_jax.models.volume_translator import VolumeTranslator


def validate_ct(
    network: VolumeTranslator, params: dict, cases: CaseSource, config: ConfigDict
) -> tuple[dict[str, float], dict[str, np.ndarray]]:
    """Translates the first few cases.

    Args:
      network: the network; params: its parameters.
      cases: validation cases, of which `config.log.validation_cases` are used.
      config: of the run.

    Returns:
      `validation_mae`, `validation_psnr`, `validation_delta_z_mae` and `validation_delta_z_mae_bone`, averaged over
      cases; and the picture `validation`, `[height, width, 3]` uint8, of the first case. Nothing without a case.
    """
    if not cases.names:
        return {}, {}
    params = jax.device_get(params)
    inference, scores, picture = config.inference, [], None
    for index in range(min(config.log.validation_cases, len(cases.names))):
        case = cases.load(index)
        prediction = predict_ct(network, params, case, chunk=inference.chunk, skip_memory=inference.skip_memory)
        likeness = synthrad2023(case.ct, prediction, case.mask)
        steps = delta_z(case.ct, prediction, case.mask, BONE_THRESHOLD)
        scores.append([likeness["mae"], likeness["psnr"], steps["mae"], steps["mae_bone"]])
        if picture is None:
            volumes = case.mr, case.ct, prediction, case.mask
            picture = ct_picture(case.name, "validation", *volumes, case.spacing)
    names = ("mae", "psnr", "delta_z_mae", "delta_z_mae_bone")
    means = {f"validation_{name}": float(value) for name, value in zip(names, np.mean(scores, axis=0), strict=True)}
    pixels = matplotlib.image.imread(io.BytesIO(draw_picture(picture)), format="png")
    return means, {"validation": (pixels[..., :3] * 255).astype(np.uint8)}
