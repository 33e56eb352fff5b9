"""Feature tensors for the drifting loss, from a frozen encoder's maps and from the image itself."""

import dataclasses
from collections.abc import Sequence

import jax
import jax.numpy as jnp

from lift_jax.models.layers import space_to_depth

VARIANCE_FLOOR = 1e-6
"""Added to a variance before its square root, whose slope at 0 is infinite."""


@dataclasses.dataclass(frozen=True)
class FeatureSet:
    """Which features of an image are compared (Deng et al., arXiv 2602.04770, multi-scale features).

    Attributes:
      grids: for each g, mean and standard deviation of every map over each of g x g cells; 1 is the whole map.
      local: maps with sides up to this also give the vector at each of their places; 0 for none.
      pixels: side of the raw patches of the image; 0 for none.
      gradients: for each g, mean absolute differences of neighboring pixels over each of g x g cells, see
        `pixel_differences`: the amount of detail.
    """

    grids: tuple[int, ...] = (1, 2, 4)
    local: int = 8
    pixels: int = 4
    gradients: tuple[int, ...] = ()

    def __call__(self, maps: Sequence[jax.Array], images: jax.Array) -> dict[str, jax.Array]:
        """Named feature tensors, each `[N, L, C]` float32: L places with C features each.

        Maps on which a grid does not fit, because a side is no multiple of it, are left out of that grid.

        Args:
          maps: of a frozen encoder, `[N, h, w, C]` each.
          images: what it encoded, `[N, H, W, 1]` in [-1, 1].
        """
        tensors = {"squares": jnp.mean(images.astype(jnp.float32) ** 2, axis=(1, 2))[:, None]}
        for i, features in enumerate(maps):
            features = features.astype(jnp.float32)
            n, height, width, channels = features.shape
            for grid in self.grids:
                if height % grid == 0 and width % grid == 0:
                    mean, deviation = _cell_statistics(features, grid)
                    tensors |= {f"map{i}_mean{grid}": mean, f"map{i}_deviation{grid}": deviation}
            if max(height, width) <= self.local:
                tensors[f"map{i}_local"] = features.reshape(n, height * width, channels)
        if self.pixels:
            patches = space_to_depth(images.astype(jnp.float32), self.pixels)
            tensors["pixels"] = patches.reshape(len(patches), -1, patches.shape[-1])
        differences = pixel_differences(images.astype(jnp.float32))
        for grid in self.gradients:
            if all(side % grid == 0 for side in differences.shape[1:3]):
                means = _cells(differences, grid).mean(axis=(2, 4))
                tensors[f"gradient{grid}"] = means.reshape(len(images), grid * grid, -1)
        return tensors


def pixel_differences(images: jax.Array) -> jax.Array:
    """Absolute differences of every pixel to those to the right and below, `[N, H, W, 1] -> [N, H, W, 2]`.

    Zero in the last column and the last row, which have no such neighbor.
    """
    right = jnp.diff(images, axis=2, append=images[:, :, -1:])
    below = jnp.diff(images, axis=1, append=images[:, -1:])
    return jnp.abs(jnp.concatenate([right, below], axis=-1))


def _cell_statistics(features: jax.Array, grid: int) -> tuple[jax.Array, jax.Array]:
    """Mean and standard deviation over each of grid x grid cells of `[N, h, w, C]`, both `[N, grid², C]`."""
    n, *_, channels = features.shape
    cells = _cells(features, grid)
    mean = cells.mean(axis=(2, 4), keepdims=True)
    variance = jnp.mean((cells - mean) ** 2, axis=(2, 4))
    shape = (n, grid * grid, channels)
    return mean.reshape(shape), jnp.sqrt(variance + VARIANCE_FLOOR).reshape(shape)


def _cells(x: jax.Array, grid: int) -> jax.Array:
    """`[N, H, W, C]` as grid x grid cells, `[N, grid, H / grid, grid, W / grid, C]`."""
    n, height, width, channels = x.shape
    return x.reshape(n, grid, height // grid, grid, width // grid, channels)
