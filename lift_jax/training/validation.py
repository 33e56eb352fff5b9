"""Periodic validation of all stages: averaged parameters to metrics and pictures."""

import functools
import io

import jax
import matplotlib.image
import numpy as np
from ml_collections import ConfigDict

from lift_jax.data.channels import Channels
from lift_jax.data.intensity import network_to_unit, unit_to_network
from lift_jax.data.subject import SubjectSource
from lift_jax.evaluation.distribution import brain_region, mean_abs_delta_z
from lift_jax.evaluation.leave_one_channel_out import hidden_channels, picture_of
from lift_jax.evaluation.metrics import BONE_THRESHOLD, delta_z, frechet_distance, synthrad2023, unit_range
from lift_jax.evaluation.plane_features import compared_positions, plane_features, slice_encoder
from lift_jax.evaluation.report.pictures import draw_picture
from lift_jax.evaluation.report.planes import montage, planes_montage
from lift_jax.evaluation.scores import ScoredChannel
from lift_jax.inference.sample import sample_independent_slices, sample_volumes
from lift_jax.inference.translate import predict_channels
from lift_jax.models.encoders.masked_autoencoder import COVER, MaskedAutoencoder, patch_mask
from lift_jax.models.generation_networks import GenerationNetworks
from lift_jax.models.volume_translator import VolumeTranslator

COLUMNS = 8
"""Volumes, or columns of slices, in a picture."""

SEED = 1
"""Of all samples."""


def validate_translation(
    network: VolumeTranslator, params: dict, channels: Channels, subjects: SubjectSource, config: ConfigDict
) -> tuple[dict[str, float], dict[str, np.ndarray]]:
    """Translates each target of the first few subjects from their other channels.

    Args:
      network: the network; params: its parameters.
      channels: of the run.
      subjects: validation subjects, of which `config.log.validation_subjects` are used.
      config: of the run.

    Returns:
      Means over the subjects that have the channel, and the picture `validation`, `[height, width, 3]` uint8, of the
      first subject's last target; nothing without a subject. Targets in [0, 1]: `validation_psnr_<channel>`, dB over
      whole volumes, and their mean `validation_psnr`. Targets in HU, in the body: `mae`, `psnr`, `delta_z_mae` and
      `delta_z_mae_bone`, named `validation_<metric>_<channel>`, or `validation_<metric>` of a single target.
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
                in_foreground_box=config.data.foreground_box,
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


def validate_reconstructions(network: MaskedAutoencoder, params: dict, *, real: np.ndarray, config: ConfigDict):
    """Reconstruction error of covered patches; middle slices covered, reconstructed and as they are."""
    settings = config.stage.encoder
    slices = real[:COLUMNS, real.shape[1] // 2].astype(np.float32)[..., None]
    images = unit_to_network(slices)
    covered = np.asarray(
        patch_mask(jax.random.key(SEED), images.shape[:3], settings.mask_patch_size, settings.mask_ratio)
    )
    masked = np.where(covered, COVER, images).astype(np.float32)
    filled = np.asarray(_apply(network, jax.device_get(params["autoencoder"]), masked))
    error = float(np.mean((filled - images)[covered] ** 2))
    rows = [network_to_unit(x)[..., 0] for x in (masked, np.where(covered, filled, images), images)]
    return {"validation_error": error}, {"validation": montage(np.concatenate(rows), len(images))}


def validate_slices(networks: GenerationNetworks, params: dict, *, real: np.ndarray, config: ConfigDict):
    """Fréchet distance of generated to real axial slices; real slices above generated ones."""
    params, real = jax.device_get(params), real.astype(np.float32)
    depth = real.shape[1]
    generated = sample_independent_slices(
        networks,
        params,
        SEED,
        len(real),
        depth=depth,
        chunk=config.inference.chunk,
        temperature=config.inference.temperature,
    )
    values = {"validation_frechet_axial": _distances(networks, params, generated, real)["axial"]}
    shown = np.random.default_rng(SEED).integers(depth, size=4 * COLUMNS)
    some = real[np.arange(len(shown)) % len(real), shown], generated.reshape(-1, *generated.shape[2:])[: len(shown)]
    return values, {"validation": np.concatenate([montage(images, len(images) // 4) for images in some], axis=1)}


def validate_volumes(networks: GenerationNetworks, params: dict, *, real: np.ndarray, config: ConfigDict):
    """Fréchet distances per plane, mean |Δz|, voxel standard deviation; real volumes above generated ones."""
    params, real = jax.device_get(params), real.astype(np.float32)
    generated = sample_volumes(
        networks,
        params,
        SEED,
        len(real),
        depth=real.shape[1],
        chunk=config.inference.chunk,
        temperature=config.inference.temperature,
    )
    values = {f"validation_frechet_{k}": value for k, value in _distances(networks, params, generated, real).items()}
    for name, volumes in (("", generated), ("_real", real)):
        values[f"validation_delta_z{name}"] = float(np.nanmean([mean_abs_delta_z(volume) for volume in volumes]))
        values[f"validation_voxel_std{name}"] = float(volumes.std(axis=0)[brain_region(real)].mean())
    return values, {"validation": np.concatenate([planes_montage(volumes[:COLUMNS]) for volumes in (real, generated)])}


def _distances(networks, params, generated, real) -> dict[str, float]:
    """Fréchet distances between the slices of two sets of volumes, by plane."""
    encode = slice_encoder(networks.encoder, params["encoder"])
    positions = compared_positions(real)
    ours, theirs = (plane_features(encode, volumes, positions) for volumes in (generated, real))
    return {
        plane: frechet_distance(*(x[plane].reshape(-1, x[plane].shape[-1]) for x in (ours, theirs))) for plane in ours
    }


def _metrics(truth: ScoredChannel, prediction: np.ndarray) -> dict[str, float]:
    if truth.protocol.unit != "HU":
        return {"psnr": unit_range(truth.target, prediction)["psnr"]}
    image = synthrad2023(truth.target, prediction, truth.foreground)
    steps = delta_z(truth.target, prediction, truth.foreground, BONE_THRESHOLD)
    metrics = {"mae": image["mae"], "psnr": image["psnr"], "delta_z_mae": steps["mae"]}
    return metrics | {"delta_z_mae_bone": steps["mae_bone"]}


def _named(scores: dict[str, dict[str, list[float]]], channels: Channels) -> dict[str, float]:
    """Log keys and means."""
    means = {(target, metric): _finite_mean(values) for target, own in scores.items() for metric, values in own.items()}
    only = len(channels.targets) == 1 and channels.protocols[channels.targets[0]].unit == "HU"
    if only:
        return {f"validation_{metric}": mean for (_, metric), mean in means.items()}
    named = {f"validation_{metric}_{target}": mean for (target, metric), mean in means.items()}
    psnr = [mean for (_, metric), mean in means.items() if metric == "psnr"]
    return named | {"validation_psnr": float(np.mean(psnr))}


def _finite_mean(values: list[float]) -> float:
    """The mean of the values that are not nan, as of subjects without bone; nan where all are."""
    known = [value for value in values if not np.isnan(value)]
    return float(np.mean(known)) if known else float("nan")


@functools.partial(jax.jit, static_argnums=0)
def _apply(network, params, images):
    return network.apply({"params": params}, images)
