"""MedicalNet's 3D ResNet-50, frozen: what the Fréchet distance between sets of volumes is measured on."""

import os

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from lift_jax.models.encoders.weights import Source, load_folded

BLOCKS = (3, 4, 6, 3)
STRIDES = (1, 2, 1, 1)
DILATIONS = (1, 1, 2, 4)
EXPANSION = 4
"""How many times wider the last convolution of a bottleneck is than the others."""

MEDICALNET = Source(
    name="MedicalNet's ResNet-50",
    download="resnet_50_23dataset.pth of https://github.com/Tencent/MedicalNet",
    ignored=("conv_seg.",),
)


def torch_conv(features: int, kernel: int, stride: int = 1, dilation: int = 1, name: str | None = None) -> nn.Conv:
    """A 3D convolution that pads as PyTorch does, the same on all sides; its bias is the norm's that followed it."""
    padding = dilation * (kernel - 1) // 2
    return nn.Conv(
        features,
        (kernel,) * 3,
        strides=stride,
        padding=((padding, padding),) * 3,
        kernel_dilation=dilation,
        name=name,
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
        h = nn.relu(torch_conv(self.features, 1, name="conv1")(x))
        h = nn.relu(torch_conv(self.features, 3, self.stride, self.dilation, name="conv2")(h))
        h = torch_conv(features, 1, name="conv3")(h)
        if self.stride > 1 or x.shape[-1] != features:
            x = torch_conv(features, 1, self.stride, name="downsample_0")(x)
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
        x = nn.relu(torch_conv(self.features, 7, 2, name="conv1")(volumes))
        x = nn.max_pool(x, (3,) * 3, strides=(2,) * 3, padding=((1, 1),) * 3)
        for layer, (blocks, stride, dilation) in enumerate(zip(BLOCKS, STRIDES, DILATIONS, strict=True)):
            for block in range(blocks):
                x = Bottleneck(
                    self.features * 2**layer, stride if block == 0 else 1, dilation, name=f"layer{layer + 1}_{block}"
                )(x)
        return x.mean(axis=(1, 2, 3))


def medicalnet_parameters(path: str | os.PathLike, network: MedicalNet | None = None) -> dict:
    """`MedicalNet`'s parameters out of a `.safetensors` file with its authors' tensor names, float32.

    Args:
      path: the file.
      network: whose parameters they are; the published one if None.

    Raises:
      UserError: no such file (says where to get it), a damaged one, or one of another architecture (says which tensor
        differs).
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
