"""Fourier features of depths."""

import math

import jax
import jax.numpy as jnp
import numpy as np


def resolved_frequencies(slices: int) -> int:
    """Fourier frequencies that so many slices can teach: the fastest turns by a quarter, π/2, from slice to slice.

    Faster waves are seen at a few phases only, and what is learned of them is arbitrary between the slices.
    """
    return max(1, math.floor(math.log2(slices)))


def fourier_features(depth: jax.Array, frequencies: int) -> jax.Array:
    """Fourier features γ(d) of depths (Tancik et al., arXiv 2006.10739): `[...] -> [..., 2 frequencies]`.

    Sines and cosines of `π 2^(k-1) d`, k = 0, 1, …: the slowest goes half a turn over the whole volume, so that the
    two ends differ.
    """
    angles = jnp.multiply.outer(depth, np.pi / 2 * 2.0 ** np.arange(frequencies, dtype=np.float32))
    return jnp.concatenate([jnp.sin(angles), jnp.cos(angles)], axis=-1)
