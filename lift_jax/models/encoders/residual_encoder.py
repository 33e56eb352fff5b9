"""The frozen 2D encoders: gray slices to feature maps at several scales.

Every encoder is a module whose `__call__` takes images `[N, H, W, 1]` float32 in [-1, 1] and returns a tuple of
feature maps `[N, h, w, C]`, finest first. `multiple` is what both sides must be a multiple of, `smallest_side` the
shortest side that it can see. There are four kinds: `alexnet` and `resnet18` (of ImageNet),
`mae` (a `ResidualEncoder` trained by masked reconstruction, see `masked_autoencoder`), and `random` (a
`ResidualEncoder` that nothing was taught, for tests).
"""

import flax.linen as nn
import jax
import jax.numpy as jnp

from lift_jax.models.blocks import ResidualBlock

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
    dtype: jnp.dtype = jnp.float32

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
