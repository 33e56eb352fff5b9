"""How the default encoder learns: it fills in patches of slices that were covered."""

import flax.linen as nn
import jax
import jax.numpy as jnp

from lift_jax.models.blocks import ResidualBlock, upsample
from lift_jax.models.encoders.residual_encoder import ResidualEncoder

COVER = 0.0
"""What a covered pixel shows: the middle of [-1, 1], so that a covered patch is not taken for air, which is -1."""


class MaskedAutoencoder(nn.Module):
    """An encoder and a light decoder: covered images `[N, H, W, 1]` to whole ones, float32.

    The decoder climbs from the coarsest map, one residual block a resolution, beside skips from every other map: so
    each scale is taught what it can tell, and the coarse ones need not carry detail. Parameters lie under `encoder` and
    `decoder_…`; `params["encoder"]` alone is what `encoder` takes once it is frozen.

    Attributes:
      encoder: what is to be trained.
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

    As many patches are covered in every image, so the mean over devices of equal shares is the mean over the batch.

    Args:
      network: encoder and decoder.
      params: its parameters.
      images: `[N, H, W, 1]` in [-1, 1].
      covered: `[N, H, W, 1]` bool, see `patch_mask`.

    Returns:
      The loss, float32, and the reconstruction `[N, H, W, 1]`, which in uncovered places was taught nothing.
    """
    reconstruction = network.apply({"params": params}, jnp.where(covered, COVER, images))
    loss = jnp.mean(jnp.square(reconstruction - images), where=covered)
    return loss, reconstruction
