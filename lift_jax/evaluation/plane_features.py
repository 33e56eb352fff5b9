"""Features of the slices of volumes along the three axes, by a 2D encoder."""

from collections.abc import Callable, Mapping, Sequence

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from lift_jax.losses.triplanar import PLANES
from lift_jax.models.slice_translator import BACKGROUND

BATCH = 128
"""Slices encoded at a time."""

Encode = Callable[[np.ndarray], jax.Array | np.ndarray]
"""Slices `[n, H, W, 1]` in [-1, 1] to features `[n, F]`."""


def pooled_features(maps: Sequence[jax.Array]) -> jax.Array:
    """Global mean and standard deviation of every feature of every map: `([n, h, w, C], ...) -> [n, 2 ΣC]` float32."""
    maps = [features.astype(jnp.float32) for features in maps]
    return jnp.concatenate([pool(m, axis=(1, 2)) for m in maps for pool in (jnp.mean, jnp.std)], axis=-1)


def slice_encoder(network: nn.Module, params: dict) -> Encode:
    """An encoder's pooled features, compiled; slices are padded with air to the sides that it takes.

    Args:
      network: a module as `models.encoders` describes it, of `multiple` and `smallest_side`.
      params: its parameters.
    """

    @jax.jit
    def encode(params, images):
        return pooled_features(network.apply({"params": params}, images))

    def fitting(side: int) -> int:
        return -(-max(side, network.smallest_side) // network.multiple) * network.multiple

    def padded(images):
        more = [(0, fitting(side) - side) for side in images.shape[1:3]]
        return jnp.pad(images, [(0, 0), *more, (0, 0)], constant_values=BACKGROUND)

    return lambda images: encode(params, padded(images))


def compared_positions(volumes) -> dict[str, np.ndarray]:
    """The positions along each axis at which sets are compared with real volumes `[N, D, H, W]` in [0, 1], by plane.

    Coronal and sagittal slices are compared at the positions that the real volumes fill: empty slices are all alike
    and would lower the distances. Axial slices are compared at all positions: a slice generator without a mapper makes
    empty slices too, as many as are real, at any position.
    """
    filled = np.asarray(volumes).max(0) > 0
    return {
        "axial": np.arange(filled.shape[0]),
        "coronal": np.flatnonzero(filled.any((0, 2))),
        "sagittal": np.flatnonzero(filled.any((0, 1))),
    }


def plane_features(encode: Encode, volumes, positions: Mapping[str, np.ndarray] | None = None) -> dict[str, np.ndarray]:
    """Features of every slice, in order, by plane: `{plane: [N, slices, F]}` float32.

    Axial slices are images `[H, W]`, coronal ones `[D, W]`, sagittal ones `[D, H]`.

    Args:
      encode: slices in [-1, 1] to features.
      volumes: `[N, D, H, W]` in [0, 1].
      positions: which slices of each plane (see `compared_positions`); all if None.
    """
    volumes = np.asarray(volumes, np.float32)
    features = {}
    for axis, plane in enumerate(PLANES):
        slices = np.moveaxis(volumes, 1 + axis, 1)
        if positions is not None:
            slices = slices[:, positions[plane]]
        n, count = slices.shape[:2]
        flat = 2 * slices.reshape(n * count, *slices.shape[2:], 1) - 1
        features[plane] = _in_batches(encode, flat).reshape(n, count, -1)
    return features


def _in_batches(encode: Encode, images: np.ndarray) -> np.ndarray:
    """`encode` of many images, in batches of one size, so that it is compiled once."""
    size = min(BATCH, len(images))
    batches = []
    for start in range(0, len(images), size):
        batch = images[start : start + size]
        fill = np.full((size - len(batch), *images.shape[1:]), BACKGROUND, np.float32)
        batches.append(np.asarray(encode(np.concatenate([batch, fill])))[: len(batch)])
    return np.concatenate(batches)
