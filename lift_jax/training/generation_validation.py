"""What is looked at while LiFT-U trains: figures against real validation volumes, and pictures beside them."""

import functools

import jax
import numpy as np
from ml_collections import ConfigDict

from lift_jax.data.intensity import network_to_unit, unit_to_network
from lift_jax.evaluation.distribution import brain_region, mean_abs_delta_z
from lift_jax.evaluation.metrics import frechet_distance
from lift_jax.evaluation.plane_features import compared_positions, plane_features, slice_encoder
from lift_jax.evaluation.report.planes import montage, planes_montage
from lift_jax.inference.sample import sample_independent_slices, sample_volumes
from lift_jax.models.encoders.masked_autoencoder import COVER, MaskedAutoencoder, patch_mask
from lift_jax.models.generation.networks import GenerationNetworks

SHOWN = 8
"""Volumes, or columns of slices, in a picture."""

SEED = 1
"""Of what is sampled to be looked at."""


def validate_reconstructions(network: MaskedAutoencoder, params: dict, *, real: np.ndarray, config: ConfigDict):
    """Covered middle slices of real volumes, what the autoencoder makes of them, and what was there."""
    settings = config.stage.encoder
    slices = real[:SHOWN, real.shape[1] // 2].astype(np.float32)[..., None]
    images = unit_to_network(slices)
    covered = np.asarray(
        patch_mask(jax.random.key(SEED), images.shape[:3], settings.mask_patch_size, settings.mask_ratio)
    )
    shown = np.where(covered, COVER, images).astype(np.float32)
    filled = np.asarray(_apply(network, jax.device_get(params["autoencoder"]), shown))
    error = float(np.mean((filled - images)[covered] ** 2))
    rows = [network_to_unit(x)[..., 0] for x in (shown, np.where(covered, filled, images), images)]
    return {"validation_error": error}, {"validation": montage(np.concatenate(rows), len(images))}


def validate_slices(networks: GenerationNetworks, params: dict, *, real: np.ndarray, config: ConfigDict):
    """The Fréchet distance of generated to real axial slices, and a picture of some of both."""
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
    shown = np.random.default_rng(SEED).integers(depth, size=4 * SHOWN)
    some = real[np.arange(len(shown)) % len(real), shown], generated.reshape(-1, *generated.shape[2:])[: len(shown)]
    return values, {"validation": np.concatenate([montage(images, len(images) // 4) for images in some], axis=1)}


def validate_volumes(networks: GenerationNetworks, params: dict, *, real: np.ndarray, config: ConfigDict):
    """Fréchet distances per plane, the mean |Δz| and the spread of sampled volumes; real ones above samples."""
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
        values[f"validation_spread{name}"] = float(volumes.std(axis=0)[brain_region(real)].mean())
    return values, {"validation": np.concatenate([planes_montage(volumes[:SHOWN]) for volumes in (real, generated)])}


def _distances(networks, params, generated, real) -> dict[str, float]:
    """Fréchet distances between the slices of two sets of volumes, by plane."""
    encode = slice_encoder(networks.encoder, params["encoder"])
    positions = compared_positions(real)
    ours, theirs = (plane_features(encode, volumes, positions) for volumes in (generated, real))
    return {
        plane: frechet_distance(*(x[plane].reshape(-1, x[plane].shape[-1]) for x in (ours, theirs))) for plane in ours
    }


@functools.partial(jax.jit, static_argnums=0)
def _apply(network, params, images):
    return network.apply({"params": params}, images)
