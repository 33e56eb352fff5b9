"""LiFT-U's training losses, one for each stage: functions `(params, batch, key) -> (loss, terms)`.

Random numbers are drawn for the global batch from a key that all devices share, and each device takes its rows: loss
and gradients do not depend on the number of devices.
"""

import functools
from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp

from lift_jax.data.geometry import slice_centers
from lift_jax.data.intensity import unit_to_network
from lift_jax.losses.drifting import drifting_losses, mean_statistics
from lift_jax.losses.triplanar import (
    PLANES,
    depth_positions,
    draw_real,
    encode_trajectories,
    triplanar_drifting_loss,
)
from lift_jax.models.encoders.masked_autoencoder import MaskedAutoencoder, masked_reconstruction_loss, patch_mask
from lift_jax.models.generation_networks import GenerationNetworks
from lift_jax.models.pca import interpolated_latents, slice_latents
from lift_jax.training.step import LossFunction


def reconstruction_loss(
    network: MaskedAutoencoder, *, mask_patch_size: int, mask_ratio: float, axis_name: str | None
) -> LossFunction:
    """The encoder's loss: masked reconstruction of the batch's `image [B, S, S, 1]`."""

    def loss_function(params, batch, key):
        images = batch["image"]
        count = images.shape[0] * (1 if axis_name is None else jax.lax.axis_size(axis_name))
        covered = local_rows(patch_mask(key, (count, *images.shape[1:3]), mask_patch_size, mask_ratio), axis_name)
        loss, _ = masked_reconstruction_loss(network, params["autoencoder"], images, covered)
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

    Features describe texture well and anatomy badly. A generator that began as principal components also reconstructs
    real slices from their latents (`reconstruction_weight`), which teaches it anatomy.

    Args:
      networks: of which the generator is trained.
      batch: generated slices, over all devices.
      positives: real slices, over all devices, drawn from the batch's bank `{"axial": {name: [V, D, L, C]}}`.
      reconstruction_weight: weight of the mean absolute error of `batch` real slices out of
        `{"volumes": [V, D, H, W]}` in [0, 1], reconstructed from their principal components' latents. Above 0 the
        generator's linear path stays those components.
      latent_interpolation: real latents are interpolated towards random ones by a random share of up to this (see
        `interpolated_latents`), so that latents in between decode to anatomy too.
      temperatures, field: see `drifting_loss`.
      axis_name: the mapped axis, or None.
    """

    def features(params, key, count):
        latents = local_rows(networks.random_latents(params, key, count), axis_name)
        return networks.encode(params, networks.generate(params, latents)[..., None])

    def real_latents(params, volumes, key):
        key_slice, key_other, key_share = jax.random.split(key, 3)
        images, depth = draw_slices(volumes, key_slice, batch, axis_name)
        latents = slice_latents(params["generator"], images)
        if latent_interpolation:
            z = local_rows(jax.random.normal(key_other, (batch, networks.volume_latent_dim)), axis_name)
            share = local_rows(latent_interpolation * jax.random.uniform(key_share, (batch,)), axis_name)
            latents = interpolated_latents(params["prior"], latents, z, share, depth)
        return latents, images

    def loss_function(params, bank, key):
        key_latent, key_volume, key_depth = jax.random.split(key, 3)
        if reconstruction_weight:
            generator = params["generator"]
            constant = {"linear": jax.lax.stop_gradient(generator["linear"])}
            params = params | {"generator": generator | constant}
        generated = features(params, key_latent, batch)
        volumes, depth = next(iter(bank["axial"].values())).shape[:2]
        volume = local_rows(jax.random.randint(key_volume, (positives,), 0, volumes), axis_name)
        position = local_rows(jax.random.randint(key_depth, (positives,), 0, depth), axis_name)
        particles = {
            name: (_by_location(x), _by_location(bank["axial"][name][volume, position]))
            for name, x in generated.items()
        }
        losses, stats = drifting_losses(particles, temperatures=temperatures, field=field, axis_name=axis_name)
        loss, stats = sum(losses.values()), mean_statistics(list(stats.values()))
        if reconstruction_weight:
            latents, images = real_latents(params, bank["volumes"], jax.random.fold_in(key_volume, 1))
            error = jnp.abs(networks.generate(params, latents) - images).mean()
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
    planes: Sequence[str],
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
      planes, particles, temperatures, field: see `triplanar_drifting_loss`.
      axis_name: the mapped axis, or None.
    """

    def features(params, key, count, depths):
        z = local_rows(jax.random.normal(key, (count, networks.volume_latent_dim)), axis_name)
        depth = jnp.asarray(slice_centers(shape[0]))
        latents = networks.map_depth(params, z, depth).reshape(-1, networks.generator.slice_latent_dim)
        slices = in_chunks(functools.partial(networks.generate, params), latents, chunk)
        encode = functools.partial(in_chunks, functools.partial(networks.encode, params), chunk=chunk)
        return encode_trajectories(slices.reshape(-1, *shape), depths, encode)

    def loss_function(params, bank, key):
        key_latent, key_volume, key_depth = jax.random.split(key, 3)
        depths = {
            plane: depth_positions(jax.random.fold_in(key_depth, i), positions, shape[i])
            for i, plane in enumerate(PLANES)
            if plane in planes
        }
        generated = features(params, key_latent, batch, depths)
        volumes = next(iter(bank[planes[0]].values())).shape[0]
        drawn = local_rows(jax.random.permutation(key_volume, volumes)[:positives], axis_name)
        return triplanar_drifting_loss(
            generated,
            draw_real(bank, depths, drawn),
            planes=planes,
            particles=particles,
            temperatures=temperatures,
            field=field,
            axis_name=axis_name,
        )

    return loss_function


def local_rows(array: jax.Array, axis_name: str | None) -> jax.Array:
    """This device's equal share of the rows of an array that is the same on all devices."""
    if axis_name is None:
        return array
    rows = array.shape[0] // jax.lax.axis_size(axis_name)
    return jax.lax.dynamic_slice_in_dim(array, jax.lax.axis_index(axis_name) * rows, rows)


def in_chunks(function: Callable[[jax.Array], jax.Array | dict], rows: jax.Array, chunk: int):
    """`function(rows)`, computed and recomputed in the backward pass at most `chunk` independent rows at a time."""
    count = rows.shape[0]
    if count <= chunk:
        return function(rows)
    parts = -(-count // chunk)
    chunk = -(-count // parts)  # equal chunks, so that little is padded
    padded = jnp.concatenate([rows, jnp.zeros_like(rows[:1]).repeat(parts * chunk - count, axis=0)])
    results = jax.lax.map(jax.checkpoint(function), padded.reshape(parts, chunk, *rows.shape[1:]))
    return jax.tree.map(lambda x: x.reshape(parts * chunk, *x.shape[2:])[:count], results)


def draw_slices(volumes: jax.Array, key: jax.Array, count: int, axis_name: str | None) -> tuple[jax.Array, jax.Array]:
    """This device's share of `count` random axial slices of `volumes [V, D, H, W]` in [0, 1], and their depths.

    `[n, H, W]` in [-1, 1] float32, and `[n]` in [-1, 1].
    """
    depth = volumes.shape[1]
    chosen = local_rows(jax.random.randint(key, (count,), 0, volumes.shape[0] * depth), axis_name)
    images = unit_to_network(volumes.reshape(-1, *volumes.shape[2:])[chosen].astype(jnp.float32))
    return images, jnp.asarray(slice_centers(depth))[chosen % depth]


def _by_location(x: jax.Array) -> jax.Array:
    """`[N, L, C]` to the drifting loss's `[L, N, C]`, float32."""
    return x.astype(jnp.float32).transpose(1, 0, 2)
