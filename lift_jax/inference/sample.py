"""Volumes from noise: a volume's latent is mapped to a latent for every depth, from which slices are generated."""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from lift_jax.data.geometry import slice_centers
from lift_jax.data.intensity import network_to_unit
from lift_jax.models.generation_networks import GenerationNetworks


def sample_volumes(
    networks: GenerationNetworks,
    params: dict,
    seed: int,
    count: int,
    *,
    first: int = 0,
    depth: int,
    chunk: int = 64,
    temperature: float = 1.0,
) -> np.ndarray:
    """Volumes, `[count, depth, H, W]` float32 in [0, 1]; volume `i` is a function of `seed` and `i` alone.

    Args:
      networks: of which generator and mapper are used.
      params: `{"generator": …, "mapper": …}`, and `"prior"` if there is one.
      seed: of the latents.
      count: how many volumes.
      first: number of the first one.
      depth: slices of each, which divide the field of view of training evenly; any number.
      chunk: slices on the device at a time.
      temperature: standard deviation of the latent of a volume; 1 in training. A little above makes up for contrast
        that slices lose: real logits lie near the two ends of tanh.
    """
    depths = jnp.asarray(slice_centers(depth))
    latents = (temperature * _volume_latent(seed, i, networks.volume_latent_dim) for i in range(first, first + count))
    return np.stack([_slices(networks, params, _map(networks, params, z, depths), chunk) for z in latents])


def sample_independent_slices(
    networks: GenerationNetworks,
    params: dict,
    seed: int,
    count: int,
    *,
    depth: int,
    chunk: int = 64,
    temperature: float = 1.0,
) -> np.ndarray:
    """Volumes of independent slices from the generator without the mapper; see `sample_volumes`."""
    latents = (networks.random_latents(params, _key(seed, i), depth, temperature) for i in range(count))
    return np.stack([_slices(networks, params, own, chunk) for own in latents])


def _slices(networks, params, latents, chunk):
    """Slices of latents `[D, K]`, `[D, H, W]` float32 in [0, 1]."""
    parts = []
    for start in range(0, len(latents), chunk):
        # The last latent is repeated, so that all chunks have one shape and one compiled function.
        rows = np.minimum(np.arange(start, start + chunk), len(latents) - 1)
        parts.append(np.asarray(_generate(networks, params["generator"], latents[rows]))[: len(latents) - start])
    return np.clip(network_to_unit(np.concatenate(parts)), 0, 1)


def _volume_latent(seed: int, index: int, volume_latent_dim: int) -> jax.Array:
    return jax.random.normal(_key(seed, index), (1, volume_latent_dim))


def _key(seed: int, index: int) -> jax.Array:
    return jax.random.fold_in(jax.random.key(seed), index)


@functools.partial(jax.jit, static_argnums=0)
def _map(networks, params, z, depths):
    return networks.map_depth(params, z, depths)[0]


@functools.partial(jax.jit, static_argnums=0)
def _generate(networks, generator, latents):
    return networks.generate({"generator": generator}, latents)
