"""The scores of one predicted channel of one subject, by the unit of the channel, beside methods without training."""

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np

from lift_jax.data.intensity import CWDM_IN_PLANE, HU_RANGE, IntensityProtocol, crop_cwdm
from lift_jax.data.subject import Subject, foreground
from lift_jax.errors import UserError
from lift_jax.evaluation.metrics import (
    BONE_THRESHOLD,
    SSIM_BORDER,
    delta_z,
    interior_mean,
    nonempty_mask,
    paired_volumes,
    peak_signal_to_noise,
    similarity_map,
    synthrad2023,
    synthrad2025,
)
from lift_jax.evaluation.statistics import MODEL, Row

BEST_SOURCE, MEAN_OF_SOURCES = "best source", "mean of sources"
"""Methods without training for a target in [0, 1]."""

WATER = "water"
"""A method without training for a target in HU: 0 HU throughout the body."""

AIR_THRESHOLD = -400.0
"""Hounsfield units below which a voxel in the mask counts as air: about half-way from air to soft tissue."""


@dataclasses.dataclass(frozen=True)
class ScoredChannel:
    """The truth about one channel of one subject, and what a prediction of it was made from.

    Attributes:
      protocol: of the channel.
      target: `[D, H, W]`, the true channel in the protocol's unit.
      foreground: `[D, H, W]` bool, the brain or body that the sources show; never that of the target.
      visible: `[D, H, W]` bool, the foreground of the first source: cWDM sets a prediction to zero outside of it.
      sources: channel to `[D, H, W]`, in the units of their protocols.
      units: channel to the unit of its protocol.
      segmentation: `[D, H, W]` labels, 0 healthy; or None.
    """

    protocol: IntensityProtocol
    target: np.ndarray
    foreground: np.ndarray
    visible: np.ndarray
    sources: Mapping[str, np.ndarray]
    units: Mapping[str, str]
    segmentation: np.ndarray | None = None

    @property
    def regions(self) -> dict[str, np.ndarray]:
        """`tumor` and `healthy`, `[D, H, W]` bool, both within the foreground; nothing without a segmentation."""
        if self.segmentation is None:
            return {}
        tumor = np.asarray(self.segmentation) > 0
        return {"tumor": self.foreground & tumor, "healthy": self.foreground & ~tumor}


def scored_channel(
    protocols: Mapping[str, IntensityProtocol],
    target: str,
    reference: np.ndarray,
    inputs: Subject,
    sources: Sequence[str],
    segmentation: np.ndarray | None,
) -> ScoredChannel:
    """What a prediction of `target` is scored with.

    Args:
      protocols: channel to intensity protocol.
      target: name of the channel; reference: the true channel `[D, H, W]`.
      inputs: the subject as its sources show it; with a mask, where there are no sources.
      sources: channels that the prediction was made from.
      segmentation: `[D, H, W]` labels, or None.
    """
    return ScoredChannel(
        protocols[target],
        reference,
        foreground(inputs, sources, protocols),
        foreground(inputs, sources[:1], protocols),
        {channel: inputs.images[channel] for channel in sources},
        {channel: protocols[channel].unit for channel in sources},
        segmentation,
    )


def score_rows(name: str, subject: str, channel: str, scored: ScoredChannel, prediction: np.ndarray) -> list[Row]:
    """`score_methods` as rows of a table.

    Args:
      name: what messages call the prediction; subject, channel: of the rows.
      scored: the truth.
      prediction: `[D, H, W]` in the unit of the target.

    Raises:
      UserError: what `score_methods` raises.
    """
    try:
        scores = score_methods(scored, prediction)
    except ValueError as error:
        raise UserError(f"{name}: cannot be scored: {error}") from None
    return [{"subject": subject, "channel": channel, "method": method, **row} for method, row in scores.items()]


def score_methods(scored: ScoredChannel, prediction: np.ndarray) -> dict[str, dict[str, float]]:
    """The scores of a prediction and of the methods without training, by method.

    Args:
      scored: the truth.
      prediction: `[D, H, W]` in the unit of the target.

    Raises:
      ValueError: volumes that cannot be compared, an empty foreground, or one too thin for the metrics.
    """
    return {method: score_prediction(scored, volume) for method, volume in _methods(scored, prediction).items()}


def score_prediction(scored: ScoredChannel, prediction: np.ndarray) -> dict[str, float]:
    """`score_hu` or `score_unit` of a prediction, by the unit of its protocol."""
    inputs = scored.target, prediction, scored.foreground
    if scored.protocol.unit == "HU":
        return score_hu(*inputs, scored.regions)
    return score_unit(*inputs, scored.visible, scored.regions)


def score_unit(target, prediction, brain, visible, regions: Mapping[str, np.ndarray] | None = None) -> dict[str, float]:
    """The cWDM protocol's scores of one channel, intensities in [0, 1].

    The prediction is clamped to [0, 1] and set to zero outside of `visible`. PSNR and SSIM are taken over the whole
    grid and over the brain; on planes of 240×240 voxels the same again on the 224×224 crop. A crop is scored as a
    volume of its own: its SSIM leaves out 3 voxels along its own sides.

    Args:
      target: `[D, H, W]`, the true channel.
      prediction: `[D, H, W]`.
      brain: `[D, H, W]` bool, the foreground of the sources.
      visible: `[D, H, W]` bool, where the first source shows something.
      regions: name to `[D, H, W]` bool, scored by PSNR and SSIM as well; nan where there is no voxel.

    Returns:
      `psnr`, `ssim`, `psnr_brain`, `ssim_brain`, `delta_z_mae` and `delta_z_correlation` (both in the brain), on planes
      of 240×240 `psnr_crop`, `ssim_crop`, `psnr_crop_brain`, `ssim_crop_brain`, and `psnr_<region>`, `ssim_<region>`.

    Raises:
      ValueError: volumes that cannot be compared (see `metrics.unit_range`), or an empty brain.
    """
    brain = np.asarray(brain, bool)
    if not brain.any():
        raise ValueError("the sources show no foreground, so there is nothing to score")
    target, prediction = paired_volumes(target, np.where(visible, np.clip(prediction, 0, 1), 0).astype(np.float32))
    squared_error, similarity = (target - prediction) ** 2, similarity_map(target, prediction, 1.0)
    scores = _whole_and_brain(squared_error, similarity, brain, "")
    if target.shape[1:] == CWDM_IN_PLANE:
        scores |= _whole_and_brain(crop_cwdm(squared_error), crop_cwdm(similarity), crop_cwdm(brain), "_crop")
    through_plane = delta_z(target, prediction, brain)
    scores |= {"delta_z_mae": through_plane["mae"], "delta_z_correlation": through_plane["correlation"]}
    return scores | _region_scores(squared_error, similarity, regions or {}, 1.0)


def score_hu(target, prediction, mask, regions: Mapping[str, np.ndarray] | None = None) -> dict[str, float]:
    """All scores of a predicted CT, volumes `[D, H, W]` in Hounsfield units, in the mask.

    Args:
      target, prediction, mask: see `metrics.synthrad2023`.
      regions: name to `[D, H, W]` bool, scored by PSNR and SSIM as well; nan where there is no voxel.

    Returns:
      `mae`, `psnr`, `ssim`, `ncc` as SynthRAD2023 defines them; `ms_ssim` as SynthRAD2025; `delta_z_mae`,
      `delta_z_mae_bone`, `delta_z_correlation`; `dice_bone` and `dice_air`; `psnr_<region>`, `ssim_<region>`.

    Raises:
      ValueError: volumes that cannot be compared, an empty mask, or one too thin for the metrics.
    """
    through_plane = delta_z(target, prediction, mask, BONE_THRESHOLD)
    scores = {
        **synthrad2023(target, prediction, mask),
        "ms_ssim": synthrad2025(target, prediction, mask)["ms_ssim"],
        "delta_z_mae": through_plane["mae"],
        "delta_z_mae_bone": through_plane["mae_bone"],
        "delta_z_correlation": through_plane["correlation"],
        **tissue_overlap(target, prediction, mask),
    }
    if regions:
        low, high = HU_RANGE
        a, b = (np.where(mask, np.clip(np.asarray(v, np.float64), low, high), low) - low for v in (target, prediction))
        scores |= _region_scores((a - b) ** 2, similarity_map(a, b, high - low), regions, high - low)
    return scores


def tissue_overlap(target, prediction, mask) -> dict[str, float]:
    """Dice's coefficient `2 |A ∩ B| / (|A| + |B|)` of bone and of air in the mask, of volumes `[D, H, W]` in HU.

    Bone is above `BONE_THRESHOLD`, air below `AIR_THRESHOLD`; where the mask is generous, air around the head counts.

    Returns:
      `{"dice_bone", "dice_air"}`; nan where neither volume holds the tissue.

    Raises:
      ValueError: shapes that differ, values that are not finite, an empty mask.
    """
    target, prediction = paired_volumes(target, prediction)
    mask = nonempty_mask(mask, target.shape)
    target, prediction = target[mask], prediction[mask]
    return {
        "dice_bone": _dice(target > BONE_THRESHOLD, prediction > BONE_THRESHOLD),
        "dice_air": _dice(target < AIR_THRESHOLD, prediction < AIR_THRESHOLD),
    }


def _methods(scored: ScoredChannel, prediction: np.ndarray) -> dict[str, np.ndarray]:
    """Predictions by method.

    "best source" is the source that, handed over unchanged, has the highest PSNR against this target: a choice made
    knowing the target, which no model has. "mean of sources" is the voxelwise mean. A source in HU is handed over as a
    method of its own where the target is in HU.
    """
    protocol, methods = scored.protocol, {MODEL: prediction}
    comparable = [channel for channel in scored.sources if scored.units[channel] == protocol.unit]
    if protocol.unit == "HU":
        methods[WATER] = np.where(scored.foreground, 0, protocol.background).astype(np.float32)
        return methods | {f"source {channel}": scored.sources[channel] for channel in comparable}
    if comparable:
        sources = np.stack([scored.sources[channel] for channel in comparable], axis=-1)
        clipped = np.where(scored.visible[..., None], np.clip(sources, 0, 1), 0)
        errors = [np.mean((clipped[..., i] - np.asarray(scored.target)) ** 2) for i in range(len(comparable))]
        methods |= {BEST_SOURCE: sources[..., int(np.argmin(errors))], MEAN_OF_SOURCES: sources.mean(-1)}
    return methods


def _whole_and_brain(squared_error: np.ndarray, similarity: np.ndarray, brain: np.ndarray, suffix: str) -> dict:
    whole = np.ones(brain.shape, bool)
    return {
        f"psnr{suffix}": peak_signal_to_noise(squared_error, whole, 1.0),
        f"ssim{suffix}": interior_mean(similarity, whole),
        f"psnr{suffix}_brain": peak_signal_to_noise(squared_error, brain, 1.0),
        f"ssim{suffix}_brain": interior_mean(similarity, brain),
    }


def _region_scores(squared_error, similarity, regions: Mapping[str, np.ndarray], data_range: float) -> dict[str, float]:
    """PSNR and SSIM of each region; nan where it has no voxel, or none that SSIM can be taken of."""
    interior = (slice(SSIM_BORDER, -SSIM_BORDER),) * 3
    scores: dict[str, float] = {}
    for name, region in regions.items():
        psnr = peak_signal_to_noise(squared_error, region, data_range) if region.any() else float("nan")
        ssim = interior_mean(similarity, region) if region[interior].any() else float("nan")
        scores |= {f"psnr_{name}": psnr, f"ssim_{name}": ssim}
    return scores


def _dice(a: np.ndarray, b: np.ndarray) -> float:
    size = int(a.sum()) + int(b.sum())
    return 2 * int((a & b).sum()) / size if size else float("nan")
