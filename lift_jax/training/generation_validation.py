"""What is looked at while LiFT-U trains: figures against real validation volumes, and pictures beside them."""

import dataclasses
import functools

import jax
import numpy as np
from ml_collections import ConfigDict

from lift_jax.data.intensities import from_network, to_network
from lift_jax.evaluation.distribution import frechet_distance
from lift_jax.inference.sample import sample_independent_slices, sample_volumes
from lift_jax.losses.trajectories import PLANES
from lift_jax.models.features import FeatureSet
from lift_jax.models.generation import GenerationNetworks
from lift_jax.models.masked_autoencoder import COVER, MaskedAutoencoder, patch_mask

SHOWN = 8
"""Volumes, or columns of slices, in a picture."""

SEED = 1
"""Of what is sampled to be looked at."""


def look_at_reconstructions(network: MaskedAutoencoder, params: dict, *, real: np.ndarray, config: ConfigDict):
    """Covered middle slices of real volumes, what the autoencoder makes of them, and what was there."""
    settings = config.stage.encoder
    slices = real[:SHOWN, real.shape[1] // 2].astype(np.float32)[..., None]
    images = to_network(slices)
    covered = np.asarray(patch_mask(jax.random.key(SEED), images.shape[:3], settings.patch, settings.covered))
    shown = np.where(covered, COVER, images).astype(np.float32)
    filled = np.asarray(_apply(network, jax.device_get(params["autoencoder"]), shown))
    error = float(np.mean((filled - images)[covered] ** 2))
    rows = [from_network(x)[..., 0] for x in (shown, np.where(covered, filled, images), images)]
    return {"validation_error": error}, {"validation": tile(np.concatenate(rows), len(images))}


def look_at_slices(networks: GenerationNetworks, params: dict, *, real: np.ndarray, config: ConfigDict):
    """The Fréchet distance of generated to real axial slices, and a picture of some of both."""
    params = jax.device_get(params)
    made = sample_independent_slices(
        networks, params, SEED, len(real), depth=real.shape[1], chunk=config.inference.chunk
    )
    distance = frechet_distance(*(_pooled(networks, params, x, "axial", config) for x in (made, real)))
    shown = np.random.default_rng(SEED).integers(real.shape[1], size=(4 * SHOWN))
    some_real = real[np.arange(len(shown)) % len(real), shown].astype(np.float32)
    some_made = made.reshape(-1, *made.shape[2:])[: len(shown)]
    picture = np.concatenate([tile(some_made, SHOWN), tile(some_real, SHOWN)], axis=1)
    return {"validation_frechet_axial": distance}, {"validation": picture}


def look_at_volumes(networks: GenerationNetworks, params: dict, *, real: np.ndarray, config: ConfigDict):
    """Fréchet distances per plane, the mean |Δz| and the spread of sampled volumes, and their three planes."""
    params = jax.device_get(params)
    made = sample_volumes(
        networks,
        params,
        SEED,
        len(real),
        volume_code=config.model.mapper.code,
        depth=real.shape[1],
        chunk=config.inference.chunk,
    )
    real = real.astype(np.float32)
    values = {
        f"validation_frechet_{plane}": frechet_distance(
            *(_pooled(networks, params, x, plane, config) for x in (made, real))
        )
        for plane in PLANES
    }
    values["validation_delta_z"] = float(np.abs(np.diff(made, axis=1)).mean())
    values["validation_delta_z_real"] = float(np.abs(np.diff(real, axis=1)).mean())
    values["validation_spread"] = float(made.std(axis=0).mean())
    values["validation_spread_real"] = float(real.std(axis=0).mean())
    picture = np.concatenate([planes_picture(made[:SHOWN]), planes_picture(real[:SHOWN])], axis=0)
    return values, {"validation": picture}


def planes_picture(volumes: np.ndarray) -> np.ndarray:
    """The three middle planes of volumes `[n, D, H, W]` in [0, 1], a row each, superior and anterior up."""
    rows = []
    for plane in range(3):
        images = np.take(volumes, volumes.shape[1 + plane] // 2, axis=1 + plane)[:, ::-1]
        side = max(volumes.shape[1:])
        missing = [side - size for size in images.shape[1:]]
        rows.append(np.pad(images, ((0, 0), *((n // 2, n - n // 2) for n in missing))))
    return tile(np.concatenate(rows), len(volumes))


def tile(images: np.ndarray, columns: int) -> np.ndarray:
    """Images `[n, h, w]` in [0, 1], row by row, as a picture `[height, width, 3]` uint8; n is a multiple of columns."""
    _, height, width = images.shape
    rows = images.reshape(-1, columns, height, width).transpose(0, 2, 1, 3).reshape(-1, columns * width)
    grey = (np.clip(np.nan_to_num(rows.astype(np.float32)), 0, 1) * 255).astype(np.uint8)
    return np.repeat(grey[..., None], 3, axis=-1)


def _pooled(networks, params, volumes, plane, config) -> np.ndarray:
    """Mean and deviation of every map of every slice along a plane's normal, `[slices, features]`."""
    axis = 1 + PLANES.index(plane)
    slices = np.moveaxis(volumes, axis, 1)
    slices = to_network(slices.reshape(-1, *slices.shape[2:]).astype(np.float32))[..., None]
    whole = dataclasses.replace(networks, features=FeatureSet((1,), 0, 0))
    encode = functools.partial(_encode, whole, params["encoder"])
    chunk = config.inference.chunk
    parts = []
    for start in range(0, len(slices), chunk):
        rows = np.minimum(np.arange(start, start + chunk), len(slices) - 1)
        tensors = encode(slices[rows])
        features = np.concatenate([np.asarray(x)[:, 0] for name, x in sorted(tensors.items()) if name != "squares"], 1)
        parts.append(features[: len(slices) - start])
    return np.concatenate(parts)


@functools.partial(jax.jit, static_argnums=0)
def _apply(network, params, images):
    return network.apply({"params": params}, images)


@functools.partial(jax.jit, static_argnums=0)
def _encode(networks, encoder, images):
    return networks.encode({"encoder": encoder}, images)
