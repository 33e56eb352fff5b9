"""Principal components of real slices: how the slice generator gets its first idea of anatomy.

Drifting alone begins with blots, and is slow to find out what is inside a brain. A linear model of slices needs no
training: their mean, and the directions in which they vary most. The generator's linear path begins as that model, of
which the rest of it is a correction. Codes of real slices are uncorrelated numbers of variance 1, as its random inputs.
"""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from lift_jax.data.intensity import unit_to_network
from lift_jax.models.generation.slice_generator import to_logits
from lift_jax.progress import progress

OVERSAMPLING, ITERATIONS = 16, 4
"""Of the randomised subspace iteration (Halko, Martinsson, Tropp, arXiv 0909.4061)."""

LEAST_DEVIATION = 1e-3
"""Of a component, as a part of the first one's: what does not vary is not divided by nothing."""


class Components(NamedTuple):
    """A linear model of slices before the generator's last nonlinearity, `logits = mean + codes @ basis`.

    Attributes:
      mean: `[H W]` float32.
      basis: `[K, H W]` float32, orthogonal rows as long as the standard deviation along them, longest first.
    """

    mean: jax.Array
    basis: jax.Array


def principal_components(volumes: np.ndarray, count: int, seed: int = 0) -> Components:
    """The first `count` principal components of all axial slices of `volumes [V, D, H, W]` in [0, 1].

    They are computed a volume at a time by subspace iteration, so that neither all slices nor the covariance of pixels
    is ever in memory. Where slices have fewer than `count` independent directions, the last rows are arbitrary, small.
    """
    pixels = int(np.prod(volumes.shape[2:]))
    mean = sum(_logits(volume).mean(axis=0) for volume in volumes) / len(volumes)
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


def component_codes(components: Components, images: jax.Array) -> jax.Array:
    """Codes of slices `[N, H, W]` in [-1, 1], `[N, K]` float32.

    Over the slices that the components are of, they are uncorrelated, with mean 0 and variance 1.
    """
    mean, basis = components
    centered = to_logits(images).reshape(images.shape[0], -1) - mean[None]
    lengths = jnp.maximum((basis**2).sum(axis=1), 1e-12)
    return jnp.matmul(centered, basis.T, precision="highest") / lengths[None]


def with_components(generator: dict, components: Components) -> dict:
    """The parameters of a `SliceGenerator` that makes of codes what the linear model does, and nothing else yet."""
    linear = {"kernel": components.basis, "bias": components.mean}
    return generator | {"linear": linear, "correction": jax.tree.map(jnp.zeros_like, generator["correction"])}


def slice_codes(generator: dict, images: jax.Array) -> jax.Array:
    """Codes of slices `[N, H, W]` in [-1, 1] by the linear path of a generator's parameters, `[N, K]` float32."""
    linear = generator["linear"]
    return component_codes(Components(linear["bias"], linear["kernel"]), images)


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
