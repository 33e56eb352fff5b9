"""The networks that LiFT-C is compared with on real scans: a 2.5D U-Net and a 3D one, trained by the same steps."""

import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict

from experiments.volume_unet import VolumeUnet, parameters, step_flops
from lift_jax.data.channels import Channels, channels_of
from lift_jax.models.slice_translator import BACKGROUND, SliceTranslator
from lift_jax.models.volume_translator import initial_parameters, volume_translator


class NeighborTranslator(nn.Module):
    """A 2.5D U-Net: a slice translator that sees the slices below and above as further source channels.

    Takes what `VolumeTranslator` takes; its parameters lie under `translator`, so that it trains by the same steps.
    """

    translator: SliceTranslator

    def __call__(self, sources, available, target, depth, *, use_mixer=True):
        """`[B, D, H, W, S]` in [-1, 1] to `[B, D, H, W]`; beyond the ends of a slab there is background."""
        b, d = sources.shape[:2]
        padded = jnp.pad(sources, ((0, 0), (1, 1), (0, 0), (0, 0), (0, 0)), constant_values=BACKGROUND)
        stacked = jnp.concatenate([padded[:, :-2], sources, padded[:, 2:]], axis=-1)
        given = jnp.repeat(jnp.tile(available, (1, 3)), d, axis=0)
        slices = stacked.reshape(b * d, *stacked.shape[2:])
        return self.translator(slices, given, jnp.repeat(target, d, axis=0)).reshape(sources.shape[:-1])


def neighbor_translator(config: ConfigDict) -> tuple[nn.Module, dict]:
    """The 2.5D network of a run's widths, and fresh parameters."""
    channels = channels_of(config.data)
    translator = volume_translator(config.model, channels).translator
    network = NeighborTranslator(translator.clone(source_channels=3 * translator.source_channels))
    return network, _fresh(network, translator.multiple, channels, config.seed)


def volume_unet(config: ConfigDict, widths: tuple[int, ...] = (8, 16, 32)) -> tuple[nn.Module, dict]:
    """The 3D network, and fresh parameters."""
    network = VolumeUnet(widths)
    return network, parameters(network, channels_of(config.data), jax.random.key(config.seed))


def _fresh(network: nn.Module, side: int, channels: Channels, seed: int) -> dict:
    sources, targets = len(channels.sources), len(channels.targets)
    inputs = jnp.zeros((1, 2, side, side, sources)), jnp.ones((1, sources)), jnp.ones((1, targets)), None
    return jax.jit(network.init)(jax.random.key(seed), *inputs)["params"]


def equal_steps(network: nn.Module, params: dict, config: ConfigDict) -> int:
    """Steps of a network that cost as many operations as the joint stage of the run with its mixer."""
    run = volume_translator(config.model, channels_of(config.data))
    shapes = jax.eval_shape(functools.partial(initial_parameters, run), jax.random.key(0))
    ours, theirs = (step_flops(n, p, config, config.data.crop) for n, p in ((run, shapes), (network, params)))
    return max(1, round(config.stage.joint.steps * ours / theirs))


def predict_volume(network: nn.Module, params: dict, sources: np.ndarray, multiple: int) -> np.ndarray:
    """The target in network intensities, `[D, H, W]`, in one pass over the whole volume.

    Args:
      network: of one source channel and one target channel; params: its parameters.
      sources: `[D, H, W]` in network intensities.
      multiple: what the sides must be a multiple of; background is added behind them.
    """
    padding = [(0, -side % multiple) for side in sources.shape]
    padded = np.pad(sources, padding, constant_values=BACKGROUND)[None, ..., None].astype(np.float32)
    one = jnp.ones((1, 1))
    prediction = _apply(network, params, padded, one, one)[0]
    return np.asarray(prediction)[tuple(slice(side) for side in sources.shape)]


@functools.partial(jax.jit, static_argnums=0)
def _apply(network, params, sources, available, target):
    return network.apply({"params": params}, sources, available, target, None)
