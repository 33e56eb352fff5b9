"""Frozen residual networks: ImageNet's ResNet-18 (feature maps of gray slices) and MedicalNet's 3D ResNet-50."""

import os

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import DTypeLike

from lift_jax.models.encoders.masked_autoencoder import initial_encoder_parameters, require_images
from lift_jax.models.encoders.weights import Source, load_folded

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_DEVIATION = (0.229, 0.224, 0.225)
"""Mean and standard deviation of the red, green and blue of ImageNet's images in [0, 1], as torchvision has them."""

WIDTHS = (64, 128, 256, 512)

RESNET18 = Source(
    name="ResNet-18",
    download="torchvision's resnet18-f37072fd.pth",
    ignored=("fc.",),
)


def torch_conv(features: int, kernel: tuple[int, ...], *, stride=1, dilation=1, name=None, dtype=None) -> nn.Conv:
    """A convolution padded as in PyTorch, the same on all sides; its bias is that of the norm that followed it."""
    padding = [(dilation * (side - 1) // 2,) * 2 for side in kernel]
    return nn.Conv(features, kernel, stride, padding, kernel_dilation=dilation, name=name, dtype=dtype)


class BasicBlock(nn.Module):
    """Two 3×3 convolutions beside a skip, norms folded in: `[N, H, W, C] -> [N, h, w, features]`."""

    features: int
    stride: int
    dtype: DTypeLike

    @nn.compact
    def __call__(self, x):
        """`x [N, H, W, C]`."""
        h = nn.relu(torch_conv(self.features, (3, 3), stride=self.stride, name="conv1", dtype=self.dtype)(x))
        h = torch_conv(self.features, (3, 3), name="conv2", dtype=self.dtype)(h)
        if self.stride > 1:
            x = torch_conv(self.features, (1, 1), stride=self.stride, name="downsample_0", dtype=self.dtype)(x)
        return nn.relu(x + h)


class ResNet18(nn.Module):
    """ResNet-18 (He et al., arXiv 1512.03385) up to its pool: `[N, H, W, 1]` to the maps of its four layers.

    They have 64, 128, 256 and 512 features at 1/4, 1/8, 1/16 and 1/32 of the sides, rounded up. A gray image fills
    all three colors. The frozen norms are folded into the convolutions, so every parameter is a kernel or a bias.

    Attributes:
      dtype: of activations and maps; parameters are float32.
    """

    dtype: DTypeLike = jnp.float32

    multiple = 1
    smallest_side = 32

    @nn.compact
    def __call__(self, images):
        """`images [N, H, W, 1]` in [-1, 1]; raises ValueError on sides under 32."""
        require_images(images, self.multiple, self.smallest_side)
        mean, deviation = (np.float32(v).reshape(1, 1, 1, 3) for v in (IMAGENET_MEAN, IMAGENET_DEVIATION))
        x = (((images + 1) / 2 - mean) / deviation).astype(self.dtype)
        x = nn.relu(torch_conv(WIDTHS[0], (7, 7), stride=2, name="conv1", dtype=self.dtype)(x))
        x = nn.max_pool(x, (3, 3), strides=(2, 2), padding=((1, 1), (1, 1)))
        maps = []
        for layer, width in enumerate(WIDTHS):
            for block in range(2):
                stride = 2 if layer > 0 and block == 0 else 1
                x = BasicBlock(width, stride, self.dtype, name=f"layer{layer + 1}_{block}")(x)
            maps.append(x)
        return tuple(maps)


def resnet18_parameters(path: str | os.PathLike) -> dict:
    """`ResNet18`'s parameters out of a `.safetensors` file with torchvision's tensor names, float32.

    Raises:
      UserError: the file is missing, damaged, or of another architecture.
    """
    shapes = jax.eval_shape(lambda key: initial_encoder_parameters(ResNet18(), key), jax.random.key(0))
    return load_folded(path, shapes, RESNET18)


MEDICALNET_LAYERS = ((3, 1, 1), (4, 2, 1), (6, 1, 2), (3, 1, 4))
"""Bottlenecks, stride and dilation of each of the four layers."""

EXPANSION = 4
"""How many times wider the last convolution of a bottleneck is than the others."""

MEDICALNET = Source(
    name="MedicalNet's ResNet-50",
    download="resnet_50_23dataset.pth of https://github.com/Tencent/MedicalNet",
    ignored=("conv_seg.",),
)


class Bottleneck(nn.Module):
    """Convolutions of 1³, 3³ and 1³ beside a skip, norms folded in: `[N, D, H, W, C] -> [N, d, h, w, 4 features]`."""

    features: int
    stride: int = 1
    dilation: int = 1

    @nn.compact
    def __call__(self, x):
        """`x [N, D, H, W, C]`."""
        features = EXPANSION * self.features
        h = nn.relu(torch_conv(self.features, (1, 1, 1), name="conv1")(x))
        h = nn.relu(torch_conv(self.features, (3, 3, 3), stride=self.stride, dilation=self.dilation, name="conv2")(h))
        h = torch_conv(features, (1, 1, 1), name="conv3")(h)
        if self.stride > 1 or x.shape[-1] != features:
            x = torch_conv(features, (1, 1, 1), stride=self.stride, name="downsample_0")(x)
        return nn.relu(x + h)


class MedicalNet(nn.Module):
    """MedicalNet's ResNet-50 up to its global average: `[N, D, H, W, 1] -> [N, 2048]` float32.

    Chen, Ma and Zheng, "Med3D: Transfer learning for 3D medical image analysis", arXiv 1904.00625: after the second
    layer dilation (2, then 4) takes the place of strides, so features lie at 1/8 of the sides before they are averaged.
    `medicalnet_parameters` reads the parameters from a file.

    Attributes:
      features: of the first layer; 64 in the published network.
    """

    features: int = 64

    @nn.compact
    def __call__(self, volumes):
        """`volumes [N, D, H, W, 1]`."""
        x = nn.relu(torch_conv(self.features, (7, 7, 7), stride=2, name="conv1")(volumes))
        x = nn.max_pool(x, (3,) * 3, strides=(2,) * 3, padding=((1, 1),) * 3)
        for layer, (blocks, stride, dilation) in enumerate(MEDICALNET_LAYERS):
            for block in range(blocks):
                name, step = f"layer{layer + 1}_{block}", 1 if block else stride
                x = Bottleneck(self.features * 2**layer, step, dilation, name=name)(x)
        return x.mean(axis=(1, 2, 3))


def medicalnet_parameters(path: str | os.PathLike, network: MedicalNet | None = None) -> dict:
    """`MedicalNet`'s parameters out of a `.safetensors` file with its authors' tensor names, float32.

    Args:
      path: the file.
      network: whose parameters they are; the published one if None.

    Raises:
      UserError: the file is missing, damaged, or of another architecture.
    """
    network = network or MedicalNet()
    shapes = jax.eval_shape(network.init, jax.random.key(0), jnp.zeros((1, 8, 8, 8, 1)))["params"]
    return load_folded(path, shapes, MEDICALNET)


def medicalnet_features(params: dict, volumes, network: MedicalNet | None = None) -> np.ndarray:
    """Features of volumes `[N, D, H, W]` in [0, 1], RAS+: `[N, 2048]` float32, one volume at a time.

    Volumes go in as WDM's evaluation (Friedrich et al., arXiv 2402.19043) hands over BraTS volumes: unscaled, axes
    x, y, z in the order that BraTS stores, towards left, posterior and superior.
    """
    network = network or MedicalNet()
    encode = jax.jit(lambda params, volume: network.apply({"params": params}, volume[None, ..., None])[0])
    stored = (np.asarray(volume, np.float32).transpose(2, 1, 0)[::-1, ::-1] for volume in volumes)
    return np.stack([np.asarray(encode(params, volume)) for volume in stored])
