"""ResNet-18 as ImageNet taught it, frozen: four feature maps of gray slices."""

import os

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from lift_jax.models.encoders.residual_encoder import initial_encoder_parameters, require_images
from lift_jax.models.encoders.weights import Source, load_folded

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_DEVIATION = (0.229, 0.224, 0.225)
"""Mean and standard deviation of the red, green and blue of ImageNet's images in [0, 1], as torchvision has them."""

WIDTHS = (64, 128, 256, 512)
BLOCKS = 2

RESNET18 = Source(
    name="ResNet-18",
    download="torchvision's resnet18-f37072fd.pth",
    ignored=("fc.",),
)


def torch_conv(features: int, kernel: int, stride: int = 1, name: str | None = None, dtype=None) -> nn.Conv:
    """A 2D convolution that pads as PyTorch does, the same on all sides; its bias is the norm's that followed it."""
    padding = (kernel - 1) // 2
    return nn.Conv(
        features, (kernel, kernel), strides=stride, padding=((padding, padding),) * 2, name=name, dtype=dtype
    )


class BasicBlock(nn.Module):
    """Two 3×3 convolutions beside a skip, norms folded in: `[N, H, W, C] -> [N, h, w, features]`."""

    features: int
    stride: int
    dtype: jnp.dtype

    @nn.compact
    def __call__(self, x):
        """`x [N, H, W, C]`."""
        h = nn.relu(torch_conv(self.features, 3, self.stride, "conv1", self.dtype)(x))
        h = torch_conv(self.features, 3, 1, "conv2", self.dtype)(h)
        if self.stride > 1:
            x = torch_conv(self.features, 1, self.stride, "downsample_0", self.dtype)(x)
        return nn.relu(x + h)


class ResNet18(nn.Module):
    """ResNet-18 (He et al., arXiv 1512.03385) up to its pool: `[N, H, W, 1] -> ` maps after its four layers.

    The maps have 64, 128, 256 and 512 features at 1/4, 1/8, 1/16 and 1/32 of the sides, rounded up. A gray image stands
    in all three colors, in ImageNet's normalization. The frozen norms are part of the convolutions, so every parameter
    is a kernel or a bias; `resnet18_parameters` reads them from a file.

    Attributes:
      dtype: of activations and maps; parameters are float32.
    """

    dtype: jnp.dtype = jnp.float32

    multiple = 1
    smallest_side = 32

    @nn.compact
    def __call__(self, images):
        """`images [N, H, W, 1]` in [-1, 1]; raises ValueError on sides under 32."""
        require_images(images, self.multiple, self.smallest_side)
        mean, deviation = (np.float32(v).reshape(1, 1, 1, 3) for v in (IMAGENET_MEAN, IMAGENET_DEVIATION))
        x = (((images + 1) / 2 - mean) / deviation).astype(self.dtype)
        x = nn.relu(torch_conv(WIDTHS[0], 7, 2, "conv1", self.dtype)(x))
        x = nn.max_pool(x, (3, 3), strides=(2, 2), padding=((1, 1), (1, 1)))
        maps = []
        for layer, width in enumerate(WIDTHS):
            for block in range(BLOCKS):
                stride = 2 if layer > 0 and block == 0 else 1
                x = BasicBlock(width, stride, self.dtype, name=f"layer{layer + 1}_{block}")(x)
            maps.append(x)
        return tuple(maps)


def resnet18_parameters(path: str | os.PathLike) -> dict:
    """`ResNet18`'s parameters out of a `.safetensors` file with torchvision's tensor names, float32.

    Raises:
      UserError: no such file (says where to get it), a damaged one, or one of another architecture (says which tensor
        differs).
    """
    shapes = jax.eval_shape(lambda key: initial_encoder_parameters(ResNet18(), key), jax.random.key(0))
    return load_folded(path, shapes, RESNET18)
