"""Where a slice lies: the depth coordinate and its Fourier features."""

import jax
import jax.numpy as jnp
import numpy as np


def depth_coordinates(slices: int) -> np.ndarray:
    """Depths `d ∈ [-1, 1]` of `slices` slices from inferior to superior, `[D]` float32; a lone slice lies at 0."""
    if slices == 1:
        return np.zeros(1, np.float32)
    return np.linspace(-1, 1, slices, dtype=np.float32)


def fourier_features(depth: jax.Array, frequencies: int) -> jax.Array:
    """Fourier features γ(d) of depths (Tancik et al., arXiv 2006.10739): `[...] -> [..., 2 frequencies]`.

    Sines and cosines of `π 2^(k-1) d`, k = 0, 1, …: the slowest goes half a turn over the whole volume, so that the
    two ends differ.
    """
    angles = jnp.multiply.outer(depth, np.pi / 2 * 2.0 ** np.arange(frequencies, dtype=np.float32))
    return jnp.concatenate([jnp.sin(angles), jnp.cos(angles)], axis=-1)
