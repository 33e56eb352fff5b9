"""AlexNet's first two layers, trained on ImageNet and frozen: two feature maps of gray slices.

The weights come with the package (`imagenet/`, see the notice there).
"""

from importlib import resources

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from flax.traverse_util import unflatten_dict
from jax.typing import DTypeLike

from lift_jax.models.encoders.masked_autoencoder import require_images
from lift_jax.models.encoders.weights import read_safetensors
from lift_jax.models.layers import convolve, space_to_depth

WIDTHS = (64, 192)


class AlexNet(nn.Module):
    """AlexNet (Krizhevsky et al. 2012, torchvision's form) up to its second ReLU, of a slice enlarged twice.

    `[N, H, W, 1]` to maps of 64 features at half the sides and of 192 at about a quarter of that. Enlarging twice
    and the published first convolution, 11 x 11 by steps of 4, are one convolution of the slice folded 2 x 2
    (`scripts/convert_alexnet.py` makes its kernel), with a third of the work. A gray slice fills all three colors,
    and is padded with black.

    Attributes:
      dtype: of activations and maps; parameters are float32.
    """

    dtype: DTypeLike = jnp.float32

    multiple = 2
    smallest_side = 8

    @nn.compact
    def __call__(self, images):
        """`images [N, H, W, 1]` in [-1, 1]; raises ValueError on sides that are odd or under 8."""
        require_images(images, self.multiple, self.smallest_side)
        settings = {"dtype": self.dtype, "conv_general_dilated": convolve}
        x = space_to_depth(images.astype(self.dtype) + 1, 2)  # black is zero, as the padding
        first = nn.relu(nn.Conv(WIDTHS[0], (5, 5), name="conv0", **settings)(x))
        second = nn.relu(nn.Conv(WIDTHS[1], (5, 5), name="conv1", **settings)(max_pool(first)))
        return first, second


def max_pool(x: jax.Array) -> jax.Array:
    """Greatest of 3 x 3 by steps of 2 without padding, `[N, H, W, C]`; its gradient is fast on a CPU."""
    height, width = ((side - 3) // 2 * 2 + 1 for side in x.shape[1:3])
    rows = jnp.maximum(jnp.maximum(x[:, :height:2], x[:, 1 : height + 1 : 2]), x[:, 2 : height + 2 : 2])
    return jnp.maximum(jnp.maximum(rows[:, :, :width:2], rows[:, :, 1 : width + 1 : 2]), rows[:, :, 2 : width + 2 : 2])


def alexnet_parameters() -> dict:
    """`AlexNet`'s parameters out of the package, float32."""
    with resources.as_file(resources.files("lift_jax.models.encoders") / "imagenet" / "alexnet.safetensors") as path:
        tensors = read_safetensors(path)
    return unflatten_dict({tuple(name.split(".")): np.float32(tensor) for name, tensor in tensors.items()})
