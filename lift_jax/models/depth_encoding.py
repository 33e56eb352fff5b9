"""Where a slice lies: the depth coordinate and its Fourier features."""

import math

import jax
import jax.numpy as jnp
import numpy as np


def slice_centers(slices: int) -> np.ndarray:
    """Centers of slices that divide the field of view [-1, 1], `(2i + 1)/D - 1`, from inferior to superior: `[D]`.

    Of LiFT-U, which may sample another number of slices than it was trained on: a slice of `trained/D` times the
    thickness then lies where the head has it. Float32.
    """
    return ((2 * np.arange(slices) + 1) / slices - 1).astype(np.float32)


def depth_coordinates(slices: int) -> np.ndarray:
    """Ranks of slices from inferior to superior, -1 the first and 1 the last, `[D]` float32; a lone slice lies at 0.

    Of LiFT-C's z-mixer, which always sees the slices that there are, and so tells the ends of a volume apart from what
    lies within, whatever its depth. They are no positions in millimeters; for those see `slice_centers`.
    """
    if slices == 1:
        return np.zeros(1, np.float32)
    return np.linspace(-1, 1, slices, dtype=np.float32)


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
