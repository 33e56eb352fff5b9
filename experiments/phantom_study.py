"""What studies on phantoms share: training any network that takes slabs, scores of hidden channels, tables."""

import pathlib
from collections.abc import Callable

import numpy as np
from ml_collections import ConfigDict

from lift_jax import run_directory
from lift_jax.data.channels import Channels, channels_of
from lift_jax.data.intensity import from_network, to_network
from lift_jax.data.slabs import RandomSlab, slab_size
from lift_jax.data.sources import subject_source
from lift_jax.data.subject import SubjectSource
from lift_jax.evaluation.leave_one_channel_out import HiddenChannel, hidden_channels
from lift_jax.evaluation.scores import score_prediction
from lift_jax.evaluation.statistics import mean_interval, paired_difference
from lift_jax.models.slice_translator import BACKGROUND
from lift_jax.models.volume_translator import volume_translator
from lift_jax.progress import progress
from lift_jax.training.inputs import cache_shared
from lift_jax.training.translation import loss_weights, train_stages, translation_loss

METRICS = {"psnr": "PSNR (dB)", "ssim": "SSIM", "psnr_brain": "PSNR, brain (dB)", "delta_z_mae": "Δz MAE, brain"}


def train_network(
    config: ConfigDict,
    workdir: pathlib.Path,
    network,
    params: dict,
    *,
    subjects: SubjectSource | None = None,
    slab: type[RandomSlab] = RandomSlab,
) -> dict:
    """Averaged parameters of a network after the stages of a configuration; nothing is validated.

    Args:
      config: of the run.
      workdir: of the run; it goes on from there.
      network: takes what `VolumeTranslator` takes; params: its untrained parameters.
      subjects: that train; None: those that are configured.
      slab: what draws slabs.
    """
    data, channels = config.data, channels_of(config.data)
    run_directory.prepare(workdir, config)
    cached = cache_shared(subjects or subject_source(data, "train"), config, workdir)
    size = slab_size(cached, data.crop, volume_translator(config.model, channels).translator.multiple)
    return train_stages(
        config,
        workdir,
        params,
        cached,
        slab=lambda slices: slab(slices, size, channels, source_drop=data.source_drop, gamma=data.gamma),
        loss=lambda use_mixer: translation_loss(network, channels, loss_weights(config.loss), use_mixer),
        validate=lambda params: ({}, {}),
    )


def network_inputs(channels: Channels, hidden: HiddenChannel) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Sources `[D, H, W, S]` in network intensities, `available [S]` and `target_onehot [N]`, all float32."""
    sources = np.full((*hidden.subject.shape, len(channels.sources)), BACKGROUND, np.float32)
    for name in hidden.sources:
        sources[..., channels.sources.index(name)] = to_network(channels.protocols[name], hidden.subject.images[name])
    available, target = np.isin(channels.sources, hidden.sources), np.array(channels.targets) == hidden.target
    return sources, available.astype(np.float32), target.astype(np.float32)


def as_prediction(hidden: HiddenChannel, intensities) -> np.ndarray:
    """Network intensities `[D, H, W]` in the unit of the hidden channel, background outside what the sources show."""
    protocol = hidden.truth.protocol
    unit = from_network(protocol, np.asarray(intensities))
    return np.where(hidden.truth.foreground, unit, protocol.background).astype(np.float32)


def score(
    predict: Callable[[HiddenChannel], np.ndarray], subjects: SubjectSource, channels: Channels, label: str
) -> dict[str, np.ndarray]:
    """`{metric: [subjects]}`, means over the hidden channels of what `predict` makes of them."""
    rows = []
    for index in progress(range(len(subjects.names)), description=label, unit="subject"):
        scores = [
            score_prediction(hidden.truth, predict(hidden)) for hidden in hidden_channels(subjects, index, channels)
        ]
        rows.append({metric: np.mean([row[metric] for row in scores]) for metric in METRICS})
    return {metric: np.array([row[metric] for row in rows]) for metric in METRICS}


def table(found: dict[str, dict[str, np.ndarray]], baseline: str) -> str:
    """Means, and differences from the baseline paired by subject, as Markdown."""
    intervals = {name: [mean_interval(values[metric]) for metric in METRICS] for name, values in found.items()}
    for name, values in found.items():
        if name != baseline:
            pairs = [(values[metric], found[baseline][metric]) for metric in METRICS]
            intervals[f"**{name} - {baseline}**"] = [paired_difference(*pair) for pair in pairs]
    lines = ["| | " + " | ".join(METRICS.values()) + " |", "|---" * (len(METRICS) + 1) + "|"]
    for name, cells in intervals.items():
        texts = ["{:.4g} [{:.4g}, {:.4g}]".format(*cell) for cell in cells]
        lines.append(f"| {name.replace('_', ' ')} | " + " | ".join(texts) + " |")
    return "\n".join(lines)
