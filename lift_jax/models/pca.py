"""Principal components of real slices and volumes: the linear models that LiFT-U's training starts from.

Drifting alone learns anatomy slowly. A linear model of slices needs no training: the generator's linear path begins as
that model, and the rest of the generator corrects it. Latents of real slices are then uncorrelated, with variance 1.

The prior is a linear model of volumes, `{"kernel": [Z, F, K], "bias": [F, K]}` float32: from the latent of a volume,
standard normal, it makes the latents of F slices, which divide the depth [-1, 1], and interpolates between their
centers. The depth mapper adds a correction to the latents of all slices of a volume.
"""

from collections.abc import Iterable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from lift_jax.data.intensity import unit_to_network
from lift_jax.models.slice_generator import to_logits
from lift_jax.progress import progress

OVERSAMPLING, ITERATIONS = 16, 4
"""Of the randomized subspace iteration (Halko, Martinsson, Tropp, arXiv 0909.4061)."""

LEAST_DEVIATION = 1e-3
"""Least standard deviation of a component, relative to the first one's."""


class Components(NamedTuple):
    """A linear model of slices before the generator's last nonlinearity, `logits = mean + latents @ basis`.

    Attributes:
      mean: `[H W]` float32.
      basis: `[K, H W]` float32, orthogonal rows as long as the standard deviation along them, longest first.
    """

    mean: jax.Array
    basis: jax.Array


def principal_components(volumes: np.ndarray, count: int, seed: int = 0) -> Components:
    """The first `count` principal components of all axial slices of `volumes [V, D, H, W]` in [0, 1].

    Subspace iteration takes a volume at a time, so that neither all slices nor the covariance of pixels is in memory.
    Where slices have fewer than `count` independent directions, the last rows are arbitrary and small.
    """
    pixels = int(np.prod(volumes.shape[2:]))
    mean = sum((_logits(volume).mean(axis=0) for volume in volumes), start=np.zeros(pixels)) / len(volumes)
    basis = np.random.default_rng(seed).normal(size=(pixels, min(count + OVERSAMPLING, pixels)))
    for _ in progress(range(ITERATIONS), description="principal components of real slices", unit="pass"):
        basis = np.linalg.qr(_covariance_times(volumes, mean, np.linalg.qr(basis)[0]))[0]
    variances, rotation = np.linalg.eigh(basis.T @ _covariance_times(volumes, mean, basis))
    deviations = np.sqrt(np.maximum(variances, 0))[::-1]
    rows = np.zeros((count, pixels))
    found = min(count, basis.shape[1])
    least = LEAST_DEVIATION * max(deviations[0], 1e-6)
    rows[:found] = (basis @ rotation[:, ::-1]).T[:found] * np.maximum(deviations, least)[:found, None]
    return Components(jnp.asarray(mean, jnp.float32), jnp.asarray(rows, jnp.float32))


def component_latents(components: Components, images: jax.Array) -> jax.Array:
    """Latents of slices `[N, H, W]` in [-1, 1], `[N, K]` float32."""
    mean, basis = components
    centered = to_logits(images).reshape(images.shape[0], -1) - mean[None]
    lengths = jnp.maximum((basis**2).sum(axis=1), 1e-12)
    return jnp.matmul(centered, basis.T, precision="highest") / lengths[None]


def with_components(generator: dict, components: Components) -> dict:
    """The parameters of a `SliceGenerator` whose linear path is the linear model and whose correction is zero."""
    linear = {"kernel": components.basis, "bias": components.mean}
    return generator | {"linear": linear, "correction": jax.tree.map(jnp.zeros_like, generator["correction"])}


def slice_latents(generator: dict, images: jax.Array) -> jax.Array:
    """Latents of slices `[N, H, W]` in [-1, 1] by the linear path of a generator's parameters, `[N, K]` float32."""
    linear = generator["linear"]
    return component_latents(Components(linear["bias"], linear["kernel"]), images)


def _logits(volume: np.ndarray) -> np.ndarray:
    """`[D, H W]` float64."""
    images = unit_to_network(np.asarray(volume, np.float64))
    return np.asarray(to_logits(images, np)).reshape(len(images), -1)


def _covariance_times(volumes, mean: np.ndarray, directions: np.ndarray) -> np.ndarray:
    total = np.zeros_like(directions)
    for volume in volumes:
        centered = _logits(volume) - mean
        total += centered.T @ (centered @ directions)
    return total / (len(volumes) * volumes.shape[1])


def pca_prior(volumes: Iterable[np.ndarray], components: Components, count: int) -> dict:
    """The prior with the mean of real volumes' latents and, as far as `count` directions go, their covariance.

    Directions are those of the greatest variance of slices before the generator's last nonlinearity. Rows beyond the
    number of volumes are zero.

    Args:
      volumes: `[V, D, H, W]` in [0, 1].
      components: of their slices.
      count: size of the latent of a volume, Z.
    """
    lengths = np.sqrt((np.asarray(components.basis, np.float64) ** 2).sum(axis=1))
    encode = jax.jit(component_latents)
    of_volumes = (encode(components, unit_to_network(np.asarray(volume, np.float32))) for volume in volumes)
    latents = np.stack([np.asarray(x, np.float64) for x in of_volumes])
    mean = latents.mean(axis=0)
    deviations = ((latents - mean) * lengths).reshape(len(latents), -1)
    _, vectors = np.linalg.eigh(deviations @ deviations.T)
    found = min(count, len(latents))
    # v'X / sqrt(V) of the eigenvectors v of XX' are the principal directions, as long as the deviation along them.
    rows = np.zeros((count, mean.size))
    rows[:found] = vectors[:, ::-1][:, :found].T @ deviations / np.sqrt(len(latents))
    kernel = rows.reshape(count, *mean.shape) / np.maximum(lengths, 1e-6)
    return {"kernel": jnp.asarray(kernel, jnp.float32), "bias": jnp.asarray(mean, jnp.float32)}


def zero_prior(count: int, slices: int, size: int) -> dict:
    """A prior of zeros: Z = `count`, F = `slices`, K = `size`."""
    return {"kernel": jnp.zeros((count, slices, size)), "bias": jnp.zeros((slices, size))}


def prior_latents(prior: dict, z: jax.Array, depth: jax.Array) -> jax.Array:
    """Latents of the slices of volumes, `z [B, Z]` and `depth [D]` in [-1, 1] to `[B, D, K]`."""
    of_slices = jnp.einsum("bz,zfk->bfk", z, prior["kernel"], precision="highest") + prior["bias"][None]
    return jnp.einsum("df,bfk->bdk", interpolation_weights(depth, len(prior["bias"])), of_slices, precision="highest")


def independent_latents(prior: dict, z: jax.Array, depth: jax.Array) -> jax.Array:
    """Latents of one slice of each volume, `z [N, Z]` and `depth [N]` in [-1, 1] to `[N, K]`."""
    return jax.vmap(lambda z, depth: prior_latents(prior, z[None], depth[None])[0, 0])(z, depth)


def interpolated_latents(prior: dict, latents: jax.Array, z: jax.Array, share: jax.Array, depth: jax.Array):
    """Latents of slices, moved towards those of random volumes at the same depth.

    Deviations from the prior's mean are added, √(1 - share²) of the one and `share` of the other, so that latents with
    the mean and covariance of the prior keep them.

    Args:
      prior: of the random volumes.
      latents: `[N, K]`.
      z: `[N, Z]` standard normal, the random volumes.
      share: `[N]` in [0, 1].
      depth: `[N]` in [-1, 1].

    Returns:
      `[N, K]`.
    """
    mean = jnp.matmul(interpolation_weights(depth, len(prior["bias"])), prior["bias"], precision="highest")
    share = share[:, None]
    return mean + jnp.sqrt(1 - share**2) * (latents - mean) + share * (independent_latents(prior, z, depth) - mean)


def interpolation_weights(depth: jax.Array, slices: int) -> jax.Array:
    """Weights of linear interpolation at depths `[D]` between `slice_centers`, constant at both ends: `[D, slices]`."""
    position = jnp.clip(((depth + 1) * slices - 1) / 2, 0, slices - 1)
    return jnp.maximum(1 - jnp.abs(position[:, None] - jnp.arange(slices)[None]), 0)
