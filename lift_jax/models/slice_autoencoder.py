"""How the slice generator gets its first idea of anatomy: as the decoder of real slices.

Drifting alone begins with blots, and is slow to find out what is inside a brain. A decoder is told pixel by pixel. What
it decodes, codes of real slices, is given the mean and covariance of the generator's own inputs, so that afterwards
random codes make slices, if blurred ones, which drifting then makes real.
"""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np

from lift_jax.data.intensities import to_network
from lift_jax.models.encoders import ResidualEncoder
from lift_jax.models.slice_generator import SliceGenerator


class SliceCoder(nn.Module):
    """Axial slices to codes of any mean and scale, `[N, H, W, 1] -> [N, K]` float32; only its generator survives it.

    Attributes:
      code: numbers in a code.
      widths: features per resolution, finest first.
      groups: of every GroupNorm; divides all widths.
    """

    code: int
    widths: tuple[int, ...]
    groups: int

    @nn.compact
    def __call__(self, images):
        """`images [N, H, W, 1]` in [-1, 1], sides multiples of `2 ** (len(widths) - 1)`."""
        x = ResidualEncoder(self.widths, 1, self.groups)(images)[-1]
        x = nn.silu(nn.GroupNorm(self.groups)(x)).reshape(x.shape[0], -1)
        return nn.Dense(self.code, use_bias=False)(nn.silu(nn.Dense(4 * self.code)(x)))  # means are taken away


def mirrored_coder(generator: SliceGenerator) -> SliceCoder:
    """A coder with the generator's resolutions, half as wide, but with no group of one feature, whose mean is lost."""
    groups = generator.groups
    widths = tuple(max(2 * groups, width // 2 // groups * groups) for width in reversed(generator.widths))
    return SliceCoder(generator.code, widths, groups)


@functools.partial(jax.jit, static_argnums=(0, 1))
def initial_coder_parameters(coder: SliceCoder, size: tuple[int, int], key: jax.Array) -> dict:
    """Fresh float32 parameters for slices of `size` (H, W)."""
    return coder.init(key, jnp.zeros((1, *size, 1)))["params"]


def slice_codes(coder: SliceCoder, params: dict, volumes: np.ndarray, *, chunk: int) -> np.ndarray:
    """Codes of all axial slices of `volumes [V, D, H, W]` in [0, 1], `[V D, K]` float32."""
    codes = []
    for volume in volumes:
        images = to_network(np.asarray(volume, np.float32))[..., None]
        for start in range(0, len(images), chunk):
            rows = np.minimum(np.arange(start, start + chunk), len(images) - 1)  # one shape, compiled once
            codes.append(np.asarray(_apply(coder, params, images[rows]))[: len(images) - start])
    return np.concatenate(codes)


@functools.partial(jax.jit, static_argnums=0)
def _apply(coder, params, images):
    return coder.apply({"params": params}, images)


def standardise(codes: jax.Array, axis_name: str | None = None) -> jax.Array:
    """Codes `[N, K]` with mean 0 and variance 1 of each number over the batch, that of all devices if an axis is given.

    Gradients flow through mean and variance.
    """
    centred = codes - _mean(codes, axis_name)
    return centred * jax.lax.rsqrt(_mean(centred**2, axis_name) + 1e-6)


def covariance(codes: jax.Array, axis_name: str | None = None) -> jax.Array:
    """Of centred codes `[N, K]` over the batch of all devices, `[K, K]`."""
    second = jnp.einsum("nk,nl->kl", codes, codes, precision="highest") / codes.shape[0]
    return second if axis_name is None else jax.lax.pmean(second, axis_name)


def take_in_moments(generator: dict, codes: np.ndarray, noise: float) -> dict:
    """The parameters of a generator for which standard normal codes are as those that it was taught to decode.

    Its first layer, which is linear, takes in the root of their covariance.

    Args:
      generator: parameters of a `SliceGenerator` that decodes standardised codes.
      codes: of real slices, `[N, K]`, as the coder gives them.
      noise: standard deviation of what was added to each number of standardised codes; half of it is, here.
    """
    codes = np.asarray(codes, np.float64)
    codes = (codes - codes.mean(axis=0)) / np.maximum(codes.std(axis=0), 1e-6)
    values, vectors = np.linalg.eigh(codes.T @ codes / len(codes) + (noise / 2) ** 2 * np.eye(codes.shape[1]))
    root = (vectors * np.sqrt(np.maximum(values, 0))) @ vectors.T
    first = generator["codes"] | {"kernel": jnp.asarray(root @ np.asarray(generator["codes"]["kernel"]), jnp.float32)}
    return generator | {"codes": first}


def _mean(x, axis_name):
    mean = x.mean(axis=0)[None]
    return mean if axis_name is None else jax.lax.pmean(mean, axis_name)
