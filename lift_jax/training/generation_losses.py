"""LiFT-U's training losses, one for each stage, as functions of parameters, batch and key.

Random numbers are drawn for the global batch from a key that all devices share, and each device takes its rows: loss
and gradients do not depend on how many devices there are.
"""

import functools
from collections.abc import Callable, Mapping, Sequence

import jax
import jax.numpy as jnp

from lift_jax.data.geometry import slice_centers
from lift_jax.data.intensity import unit_to_network
from lift_jax.losses.drifting import drifting_losses, mean_statistics
from lift_jax.losses.triplanar import (
    depth_positions,
    draw_real,
    encode_trajectories,
    triplanar_drifting_loss,
)
from lift_jax.models.encoders.masked_autoencoder import MaskedAutoencoder, masked_reconstruction_loss, patch_mask
from lift_jax.models.generation.networks import GenerationNetworks
from lift_jax.models.generation.pca_trajectories import mixed_codes
from lift_jax.models.generation.slice_components import slice_codes
from lift_jax.training.step import LossFunction


def reconstruction_loss(
    network: MaskedAutoencoder, *, mask_patch_size: int, mask_ratio: float, axis_name: str | None
) -> LossFunction:
    """The encoder's loss: masked reconstruction of the batch's `image [B, S, S, 1]`."""

    def loss_function(params, batch, key):
        images = batch["image"]
        count = images.shape[0] * (1 if axis_name is None else jax.lax.axis_size(axis_name))
        covers = local_rows(patch_mask(key, (count, *images.shape[1:3]), mask_patch_size, mask_ratio), axis_name)
        loss, _ = masked_reconstruction_loss(network, params["autoencoder"], images, covers)
        return loss, {}

    return loss_function


def generator_loss(
    networks: GenerationNetworks,
    *,
    batch: int,
    positives: int,
    reconstruction_weight: float = 0.0,
    latent_interpolation: float = 0.0,
    temperatures: Sequence[float],
    field: str,
    axis_name: str | None,
) -> LossFunction:
    """The slice generator's loss: generated slices drift towards real axial ones, whatever their depth.

    Features tell texture well and anatomy badly. Where the generator began as principal components, real slices have
    codes, and it can be held to reconstruct them (`reconstruction_weight`): random codes then give brains as well.

    Args:
      networks: of which the generator is trained.
      batch: generated slices, over all devices.
      positives: real slices, over all devices, drawn from the batch's bank `{"axial": {name: [V, D, L, C]}}`.
      reconstruction_weight: weight of the mean absolute error of `batch` real slices out of
        `{"volumes": [V, D, H, W]}` in [0, 1], reconstructed from their principal components' codes. Above 0 the
        generator's linear path stays those components.
      latent_interpolation: most that the codes to reconstruct from are moved towards random ones (`mixed_codes`), each
        by a random share of up to this. Codes between real and random ones then stand for a brain too.
      temperatures, field: see `drifting_loss`.
      axis_name: the mapped axis, or None.
    """

    def features(params, key, count):
        codes = local_rows(networks.random_codes(params, key, count), axis_name)
        return networks.encode(params, networks.generate(params, codes)[..., None])

    def real_codes(params, volumes, key):
        key_slice, key_other, key_share = jax.random.split(key, 3)
        images, depth = draw_slices(volumes, key_slice, batch, axis_name)
        codes = slice_codes(params["generator"], images)
        if latent_interpolation:
            z = local_rows(jax.random.normal(key_other, (batch, networks.volume_latent_dim)), axis_name)
            share = local_rows(latent_interpolation * jax.random.uniform(key_share, (batch,)), axis_name)
            codes = mixed_codes(params["prior"], codes, z, share, depth)
        return codes, images

    def loss_function(params, bank, key):
        key_code, key_volume, key_depth = jax.random.split(key, 3)
        if reconstruction_weight:
            params = params | {"generator": _with_constant(params["generator"], "linear")}
        generated = features(params, key_code, batch)
        volumes, depth = next(iter(bank["axial"].values())).shape[:2]
        volume = local_rows(jax.random.randint(key_volume, (positives,), 0, volumes), axis_name)
        place = local_rows(jax.random.randint(key_depth, (positives,), 0, depth), axis_name)
        particles = {
            name: (_by_location(x), _by_location(bank["axial"][name][volume, place])) for name, x in generated.items()
        }
        losses, stats = drifting_losses(particles, temperatures=temperatures, field=field, axis_name=axis_name)
        loss, stats = sum(losses.values()), mean_statistics(list(stats.values()))
        if reconstruction_weight:
            codes, images = real_codes(params, bank["volumes"], jax.random.fold_in(key_volume, 1))
            error = jnp.abs(networks.generate(params, codes) - images).mean()
            loss = loss + reconstruction_weight * error
            stats = stats | {"reconstruction_error": jax.lax.stop_gradient(error)}
        return loss, stats

    return loss_function


def mapper_loss(
    networks: GenerationNetworks,
    *,
    shape: tuple[int, int, int],
    batch: int,
    positives: int,
    positions: int,
    chunk: int,
    plane_weights: Mapping[str, float],
    particles: str,
    temperatures: Sequence[float],
    field: str,
    axis_name: str | None,
) -> LossFunction:
    """The depth mapper's loss: trajectories of generated volumes drift towards real ones in all planes.

    The gradient passes through the frozen generator and encoder, which are recomputed a chunk of slices at a time, so
    that memory does not grow with depth.

    Args:
      networks: of which the mapper is trained.
      shape: of a volume, (D, H, W).
      batch: generated volumes, over all devices.
      positives: real volumes, over all devices, drawn from the batch's bank `{plane: {name: [V, D, L, C]}}`.
      positions: depth positions along each plane.
      chunk: slices at a time.
      plane_weights, particles, temperatures, field: see `triplanar_drifting_loss`.
      axis_name: the mapped axis, or None.
    """
    planes = [plane for plane, weight in plane_weights.items() if weight > 0]

    def features(params, key, count, places):
        z = local_rows(jax.random.normal(key, (count, networks.volume_latent_dim)), axis_name)
        depth = jnp.asarray(slice_centers(shape[0]))
        codes = networks.map_depth(params, z, depth).reshape(-1, networks.generator.slice_latent_dim)
        slices = in_chunks(functools.partial(networks.generate, params), codes, chunk)
        encode = functools.partial(in_chunks, functools.partial(networks.encode, params), chunk=chunk)
        return encode_trajectories(slices.reshape(-1, *shape), places, encode)

    def loss_function(params, bank, key):
        key_code, key_volume, key_place = jax.random.split(key, 3)
        places = {
            plane: depth_positions(jax.random.fold_in(key_place, i), positions, shape[i])
            for i, plane in enumerate(("axial", "coronal", "sagittal"))
            if plane in planes
        }
        generated = features(params, key_code, batch, places)
        volumes = next(iter(bank[planes[0]].values())).shape[0]
        drawn = local_rows(jax.random.permutation(key_volume, volumes)[:positives], axis_name)
        return triplanar_drifting_loss(
            generated,
            draw_real(bank, places, drawn),
            plane_weights=plane_weights,
            particles=particles,
            temperatures=temperatures,
            field=field,
            axis_name=axis_name,
        )

    return loss_function


def local_rows(array: jax.Array, axis_name: str | None) -> jax.Array:
    """This device's equal share of the rows of an array that all devices have whole."""
    if axis_name is None:
        return array
    rows = array.shape[0] // jax.lax.axis_size(axis_name)
    return jax.lax.dynamic_slice_in_dim(array, jax.lax.axis_index(axis_name) * rows, rows)


def in_chunks(function: Callable[[jax.Array], jax.Array | dict], rows: jax.Array, chunk: int):
    """`function(rows)`, which treats rows one by one, computed and differentiated `chunk` rows at a time, or fewer.

    What a chunk computes is not kept for the backward pass, but computed again there.
    """
    count = rows.shape[0]
    if count <= chunk:
        return function(rows)
    parts = -(-count // chunk)
    chunk = -(-count // parts)  # as even as can be, so that hardly a row is computed for nothing
    padded = jnp.concatenate([rows, jnp.zeros_like(rows[:1]).repeat(parts * chunk - count, axis=0)])
    results = jax.lax.map(jax.checkpoint(function), padded.reshape(parts, chunk, *rows.shape[1:]))
    return jax.tree.map(lambda x: x.reshape(parts * chunk, *x.shape[2:])[:count], results)


def draw_slices(volumes: jax.Array, key: jax.Array, count: int, axis_name: str | None) -> tuple[jax.Array, jax.Array]:
    """Random axial slices of `volumes [V, D, H, W]` in [0, 1], over all devices `count`, and their depths.

    `[n, H, W]` in [-1, 1] float32, and `[n]` in [-1, 1].
    """
    depth = volumes.shape[1]
    chosen = local_rows(jax.random.randint(key, (count,), 0, volumes.shape[0] * depth), axis_name)
    images = unit_to_network(volumes.reshape(-1, *volumes.shape[2:])[chosen].astype(jnp.float32))
    return images, jnp.asarray(slice_centers(depth))[chosen % depth]


def _with_constant(parameters: dict, part: str) -> dict:
    """The same parameters, one part of them without a gradient."""
    return parameters | {part: jax.lax.stop_gradient(parameters[part])}


def _by_location(x: jax.Array) -> jax.Array:
    """`[N, L, C]` to the drifting loss's `[L, N, C]`, float32."""
    return x.astype(jnp.float32).transpose(1, 0, 2)
