"""Volumes out of noise: a volume's code, mapped to a code for every depth, generated slice by slice."""

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
      seed: of the codes.
      count: how many volumes.
      first: number of the first one.
      depth: slices of each, which divide the field of view of training evenly; any number.
      chunk: slices on the device at a time.
      temperature: of the numbers of a volume's code, which networks are trained with at 1. A little above makes good
        what slices lose: tanh makes less of normal logits than of real ones, which lie near its two ends.
    """
    places = jnp.asarray(slice_centers(depth))
    codes = (temperature * _code(seed, i, networks.volume_latent_dim) for i in range(first, first + count))
    return np.stack([_slices(networks, params, _map(networks, params, z, places), chunk) for z in codes])


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
    """What the generator makes without a mapper: volumes of slices that know nothing of each other, like the above."""
    codes = (networks.random_latents(params, _key(seed, i), depth, temperature) for i in range(count))
    return np.stack([_slices(networks, params, own, chunk) for own in codes])


def _slices(networks, params, codes, chunk):
    """Slices of codes `[D, K]`, `[D, H, W]` float32 in [0, 1]."""
    parts = []
    for start in range(0, len(codes), chunk):
        # Every chunk has one shape, so that one function is compiled: the last code is repeated to its end.
        rows = np.minimum(np.arange(start, start + chunk), len(codes) - 1)
        parts.append(np.asarray(_generate(networks, params["generator"], codes[rows]))[: len(codes) - start])
    return np.clip(network_to_unit(np.concatenate(parts)), 0, 1)


def _code(seed: int, index: int, volume_latent_dim: int) -> jax.Array:
    return jax.random.normal(_key(seed, index), (1, volume_latent_dim))


def _key(seed: int, index: int) -> jax.Array:
    return jax.random.fold_in(jax.random.key(seed), index)


@functools.partial(jax.jit, static_argnums=0)
def _map(networks, params, z, places):
    return networks.map_depth(params, z, places)[0]


@functools.partial(jax.jit, static_argnums=0)
def _generate(networks, generator, codes):
    return networks.generate({"generator": generator}, codes)
