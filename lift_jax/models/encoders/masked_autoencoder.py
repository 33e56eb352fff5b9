"""The default 2D encoder, and how it is trained: a masked autoencoder fills in covered patches of slices.

Every encoder is a module from images `[N, H, W, 1]` float32 in [-1, 1] to a tuple of feature maps `[N, h, w, C]`,
finest first. Sides of images are multiples of its `multiple`, and at least its `smallest_side`. The kinds are
`alexnet` and `resnet18` (of ImageNet), `mae` (a `ResidualEncoder` trained here) and `random` (untrained, for tests).
"""

from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from jax.typing import DTypeLike

from lift_jax.models.layers import ResidualBlock, upsample

ENCODER_KINDS = ("alexnet", "mae", "resnet18", "random")


class ResidualEncoder(nn.Module):
    """A small residual encoder with GroupNorm: a map after every resolution, `[N, H, W, 1] -> ([N, h, w, C], ...)`.

    Attributes:
      widths: features at each resolution, finest first, which is the image's own; each next one has half the side.
      blocks: residual blocks per resolution.
      groups: groups of every GroupNorm; divides all widths.
      dtype: of activations and maps; parameters are float32.
    """

    widths: tuple[int, ...] = (32, 64, 128)
    blocks: int = 1
    groups: int = 8
    dtype: DTypeLike = jnp.float32

    @property
    def multiple(self) -> int:
        """What both sides of an image must be a multiple of."""
        return 2 ** (len(self.widths) - 1)

    @property
    def smallest_side(self) -> int:
        """The shortest side that leaves the coarsest map one cell."""
        return self.multiple

    @nn.compact
    def __call__(self, images):
        """`images [N, H, W, 1]` in [-1, 1]; raises ValueError on sides that are no multiple of `multiple`."""
        require_images(images, self.multiple, self.smallest_side)
        x, maps = images.astype(self.dtype), []
        for level, width in enumerate(self.widths):
            if level == 0:
                x = nn.Conv(width, (3, 3), dtype=self.dtype, name="stem")(x)
            else:
                x = nn.Conv(width, (2, 2), strides=2, dtype=self.dtype, name=f"down_{level}")(x)
            for block in range(self.blocks):
                x = ResidualBlock(width, self.groups, self.dtype, name=f"block_{level}_{block}")(x)
            maps.append(x)
        return tuple(maps)


def require_images(images, multiple: int, smallest_side: int) -> None:
    """Raises ValueError unless `images` are `[N, H, W, 1]` with sides that an encoder can take."""
    if images.ndim != 4 or images.shape[-1] != 1:
        raise ValueError(f"an encoder takes gray images [N, H, W, 1], got {images.shape}")
    sides = images.shape[1:3]
    if min(sides) < smallest_side or any(side % multiple for side in sides):
        raise ValueError(
            f"this encoder takes sides of {smallest_side} or more that are multiples of {multiple}, got {sides}"
        )


def initial_encoder_parameters(network: nn.Module, key: jax.Array) -> dict:
    """Fresh float32 parameters of an encoder, or of an autoencoder, from a random key."""
    side = network.smallest_side
    init = jax.jit(network.init)  # compiled, because running every operation by itself takes many times longer
    return init(key, jnp.zeros((1, side, side, 1)))["params"]


COVER = 0.0
"""Value of a covered pixel: the middle of [-1, 1], unlike air, which is -1."""


class MaskedAutoencoder(nn.Module):
    """An encoder and a light decoder: covered images `[N, H, W, 1]` to whole ones, float32.

    The decoder goes up from the coarsest map, one residual block a resolution, with a skip from every other map.
    `params["encoder"]` holds the parameters of the encoder alone.
    """

    encoder: ResidualEncoder

    @property
    def multiple(self) -> int:
        """What both sides of an image must be a multiple of."""
        return self.encoder.multiple

    @property
    def smallest_side(self) -> int:
        """The shortest side of an image."""
        return self.encoder.smallest_side

    @nn.compact
    def __call__(self, images):
        """`images [N, H, W, 1]`."""
        *finer, x = self.encoder(images)
        groups, dtype = self.encoder.groups, self.encoder.dtype
        for level in reversed(range(len(finer))):
            width = self.encoder.widths[level]
            x = upsample(nn.Conv(width, (1, 1), dtype=dtype, name=f"decoder_up_{level}")(x))
            x = x + nn.Conv(width, (1, 1), dtype=dtype, name=f"decoder_skip_{level}")(finer[level])
            x = ResidualBlock(width, groups, dtype, name=f"decoder_block_{level}")(x)
        x = nn.silu(nn.GroupNorm(groups, dtype=dtype, name="decoder_norm")(x)).astype(jnp.float32)
        return nn.Conv(1, (3, 3), name="decoder_head")(x)


def patch_mask(key: jax.Array, shape: tuple[int, int, int], patch: int, ratio: float) -> jax.Array:
    """Which pixels to cover, `[N, H, W, 1]` bool: in every image the same number of square patches, at random.

    Args:
      key: random key.
      shape: `(N, H, W)`.
      patch: side of a patch, pixels; divides both sides of the images.
      ratio: the part of the patches to cover, rounded to whole patches, at least one and never all of them.

    Raises:
      ValueError: a patch that does not divide the sides, a single patch, or a ratio outside (0, 1).
    """
    n, height, width = shape
    rows, columns = height // patch, width // patch
    if rows * patch != height or columns * patch != width or rows * columns < 2:
        raise ValueError(f"patches of {patch} pixels do not divide images of {height}×{width} into two or more")
    if not 0 < ratio < 1:
        raise ValueError(f"the part of patches to cover lies between 0 and 1, got {ratio}")
    count = min(max(round(ratio * rows * columns), 1), rows * columns - 1)
    order = jax.random.uniform(key, (n, rows * columns)).argsort(axis=1).argsort(axis=1)
    covered = (order < count).reshape(n, rows, columns)
    return covered.repeat(patch, axis=1).repeat(patch, axis=2)[..., None]


def masked_reconstruction_loss(
    network: MaskedAutoencoder, params: dict, images: jax.Array, covered: jax.Array
) -> tuple[jax.Array, jax.Array]:
    """Mean squared error on covered patches (He et al., "Masked Autoencoders", arXiv 2111.06377).

    Args:
      network: encoder and decoder.
      params: its parameters.
      images: `[N, H, W, 1]` in [-1, 1].
      covered: `[N, H, W, 1]` bool, see `patch_mask`.

    Returns:
      The loss, float32, and the reconstruction `[N, H, W, 1]`.
    """
    reconstruction: Any = network.apply({"params": params}, jnp.where(covered, COVER, images))
    loss = jnp.mean(jnp.square(reconstruction - images), where=covered)
    return loss, reconstruction
