"""The scores of one predicted contrast of one case, by protocol."""

import numpy as np

from lift_jax.data.intensities import CWDM_IN_PLANE, apply_cwdm_background, brain_mask, crop_cwdm
from lift_jax.evaluation.image_metrics import interior_mean, peak_signal_to_noise, similarity_map
from lift_jax.evaluation.inputs import paired_volumes
from lift_jax.evaluation.through_plane import delta_z

MODEL, BEST_SOURCE, MEAN_OF_SOURCES = "model", "best source", "mean of sources"
"""The method that is scored, and the two that need no training and that it has to beat."""


def score_cwdm(target, prediction, sources, first_source) -> dict[str, float]:
    """The cWDM protocol's scores of one contrast, intensities in [0, 1].

    The prediction is clamped to [0, 1] and set to zero where the first source is zero. PSNR and SSIM are taken over the
    whole grid and over the brain; on planes of 240×240 voxels the same again on the 224×224 crop. A crop is scored as a
    volume of its own: its SSIM leaves out 3 voxels along its own sides.

    Args:
      target: `[D, H, W]`, the true contrast.
      prediction: `[D, H, W]`.
      sources: `[D, H, W, C]`, the contrasts the prediction was made from; the brain is where any is above zero.
      first_source: `[D, H, W]`, the one whose zeros are background.

    Returns:
      `psnr`, `ssim`, `psnr_brain`, `ssim_brain`, `delta_z_mae` and `delta_z_correlation` (both in the brain), and on
      planes of 240×240 `psnr_crop`, `ssim_crop`, `psnr_crop_brain`, `ssim_crop_brain`.

    Raises:
      ValueError: volumes that cannot be compared (see `image_metrics.unit_range`), or sources without a brain.
    """
    brain = brain_mask(sources)
    if not brain.any():
        raise ValueError("the sources are zero everywhere, so there is no brain to score")
    target, prediction = paired_volumes(target, apply_cwdm_background(prediction, first_source))
    squared_error, similarity = (target - prediction) ** 2, similarity_map(target, prediction, 1.0)
    scores = _regions(squared_error, similarity, brain, "")
    if target.shape[1:] == CWDM_IN_PLANE:
        scores |= _regions(*(crop_cwdm(array) for array in (squared_error, similarity, brain)), "_crop")
    through_plane = delta_z(target, prediction, brain)
    return scores | {"delta_z_mae": through_plane["mae"], "delta_z_correlation": through_plane["correlation"]}


def score_methods_cwdm(target, prediction, sources, first_source) -> dict[str, dict[str, float]]:
    """`score_cwdm` of the prediction and of two baselines on the same case, by method name.

    "best source" is the source that, handed over unchanged, has the highest PSNR against this target: a choice made
    knowing the target, which no model has. "mean of sources" is the voxelwise mean.
    """
    sources = np.asarray(sources)
    squared_errors = [
        np.mean((apply_cwdm_background(sources[..., channel], first_source) - np.asarray(target)) ** 2)
        for channel in range(sources.shape[-1])
    ]
    predictions = {
        MODEL: prediction,
        BEST_SOURCE: sources[..., int(np.argmin(squared_errors))],
        MEAN_OF_SOURCES: sources.mean(-1),
    }
    return {method: score_cwdm(target, made, sources, first_source) for method, made in predictions.items()}


def _regions(squared_error: np.ndarray, similarity: np.ndarray, brain: np.ndarray, suffix: str) -> dict[str, float]:
    whole = np.ones(brain.shape, bool)
    return {
        f"psnr{suffix}": peak_signal_to_noise(squared_error, whole, 1.0),
        f"ssim{suffix}": interior_mean(similarity, whole),
        f"psnr{suffix}_brain": peak_signal_to_noise(squared_error, brain, 1.0),
        f"ssim{suffix}_brain": interior_mean(similarity, brain),
    }
