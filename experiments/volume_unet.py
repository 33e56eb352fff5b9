"""A 3D U-Net as a baseline of LiFT-C: the same data and loss, and as many operations of training.

    python -m experiments.volume_unet --beside runs/translators/runs/stem_2-0 runs/translators/runs/stem_2-1 \
        --workdir runs/volume_unet --output runs/volume_unet/table

Trains one for each run `--beside`, such as those of `configs/sweeps/translators.py`, with that run's slabs and seed
and, unless `--steps` says otherwise, for as many steps as cost what the run's own did. Scores all on the same held-out
phantoms by the cWDM protocol, every channel from the others; a subject's value is its mean over channels and runs,
and intervals are of Student's t over subjects, 95 %. It is no part of the library, as its memory grows with the volume.
"""

import argparse
import functools
import pathlib

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict

from experiments.phantom_study import METRICS, as_prediction, network_inputs, score, table, train_network
from lift_jax.config import validate
from lift_jax.data.channels import Channels, channels_of
from lift_jax.data.sources import subject_source
from lift_jax.evaluation.cost import hardware
from lift_jax.evaluation.leave_one_channel_out import HiddenChannel
from lift_jax.evaluation.translation import predict_hidden
from lift_jax.models.layers import ConditionEmbedding
from lift_jax.models.slice_translator import BACKGROUND
from lift_jax.models.volume_translator import initial_parameters, volume_translator
from lift_jax.paths import atomic_write
from lift_jax.trained import load_trained
from lift_jax.training.translation import loss_weights, translation_loss


class VolumeConvolution(nn.Module):
    """A 3×3×3 convolution with zeros beyond the border: `[B, D, H, W, C] -> [B, D, H, W, features]`.

    Computed as the sum of three 2D ones of the slices below, here and above: several times faster on CPUs.
    """

    features: int

    @nn.compact
    def __call__(self, x):
        """`x [B, D, H, W, C]`."""
        b, d, h, w, c = x.shape
        taps = nn.Conv(3 * self.features, (3, 3), use_bias=False)(x.reshape(b * d, h, w, c))
        below, here, above = jnp.split(taps.reshape(b, d, h, w, -1), 3, axis=-1)
        bias = self.param("bias", nn.initializers.zeros, (1, 1, 1, 1, self.features))
        return jnp.pad(below[:, :-1], _SLICE_BEFORE) + here + jnp.pad(above[:, 1:], _SLICE_BEHIND) + bias


_SLICE_BEFORE = ((0, 0), (1, 0), (0, 0), (0, 0), (0, 0))
_SLICE_BEHIND = ((0, 0), (0, 1), (0, 0), (0, 0), (0, 0))


def halved(x):
    """Folds 2×2×2 neighborhoods into channels: `[B, D, H, W, C] -> [B, D/2, H/2, W/2, 8 C]`."""
    b, d, h, w, c = x.shape
    x = x.reshape(b, d // 2, 2, h // 2, 2, w // 2, 2, c).transpose(0, 1, 3, 5, 2, 4, 6, 7)
    return x.reshape(b, d // 2, h // 2, w // 2, 8 * c)


def doubled(x):
    """The inverse of `halved`."""
    b, d, h, w, c = x.shape
    x = x.reshape(b, d, h, w, 2, 2, 2, c // 8).transpose(0, 1, 4, 2, 5, 3, 6, 7)
    return x.reshape(b, 2 * d, 2 * h, 2 * w, c // 8)


class VolumeBlock(nn.Module):
    """Norm, SiLU, convolve, twice, beside a skip, in three dimensions: `[B, D, H, W, C] -> [B, D, H, W, features]`."""

    features: int
    groups: int = 8

    @nn.compact
    def __call__(self, x, condition):
        """`x [B, D, H, W, C]`, `condition [B, E]`, which scales and shifts the features between the convolutions."""
        h = VolumeConvolution(self.features)(nn.silu(nn.GroupNorm(self.groups)(x)))
        scale, shift = jnp.split(nn.Dense(2 * self.features)(condition)[:, None, None, None], 2, axis=-1)
        h = nn.GroupNorm(self.groups)(h) * (1 + scale) + shift
        h = VolumeConvolution(self.features)(nn.silu(h))
        return h + (x if x.shape[-1] == self.features else nn.Dense(self.features)(x))


class VolumeUnet(nn.Module):
    """A residual 3D U-Net that, as `SliceTranslator`, predicts how to combine the sources at every voxel.

    Takes what `VolumeTranslator` takes; its parameters lie under `translator`, so that it trains by the same steps.

    Attributes:
      widths: features per resolution, finest first, groups of 8.
    """

    widths: tuple[int, ...] = (16, 32, 64)

    @nn.compact
    def __call__(self, sources, available, target, depth, *, use_mixer=True):
        """`[B, D, H, W, C]` in [-1, 1] to `[B, D, H, W]`."""
        shown = jnp.where(available[:, None, None, None] > 0, sources, BACKGROUND) - BACKGROUND
        return _UnetBody(self.widths, name="translator")(shown, jnp.concatenate([available, target], axis=-1))


class _UnetBody(nn.Module):
    widths: tuple[int, ...]

    @nn.compact
    def __call__(self, shown, known):
        condition = ConditionEmbedding(64)(known)
        x, skips = VolumeConvolution(self.widths[0])(shown), []
        for i, width in enumerate(self.widths):
            if i:
                skips.append(x)
                x = nn.Dense(width)(halved(x))
            x = VolumeBlock(width)(x, condition)
        for width in self.widths[-2::-1]:
            x = doubled(nn.Dense(8 * width)(x))
            x = VolumeBlock(width)(jnp.concatenate([x, skips.pop()], axis=-1), condition)
        weights = VolumeConvolution(shown.shape[-1] + 1)(nn.silu(x))
        return (weights[..., :-1] * shown).sum(axis=-1) + weights[..., -1] + BACKGROUND


def parameters(network: VolumeUnet, channels: Channels, key: jax.Array) -> dict:
    """Fresh parameters."""
    side, sources = 2 ** len(network.widths), len(channels.sources)
    inputs = jnp.zeros((1, side, side, side, sources)), jnp.ones((1, sources)), jnp.ones((1, len(channels.targets)))
    return jax.jit(network.init)(key, *inputs, None)["params"]


def step_flops(network, params, config: ConfigDict, plane: tuple[int, int]) -> float:
    """Operations of the loss of one batch of slices of this size and its gradient, by the compiler's count."""
    stage, channels = config.stage.joint, channels_of(config.data)
    volume, slices = (stage.batch, stage.slices, *plane), (stage.batch, stage.slices)
    shapes = {
        "sources": (*volume, len(channels.sources)),
        "available": (stage.batch, len(channels.sources)),
        "target_onehot": (stage.batch, len(channels.targets)),
        **dict.fromkeys(("target_image", "foreground"), volume),
        **dict.fromkeys(("depth", "slice_weights", "delta_z_weights"), slices),
    }
    batch = {name: jax.ShapeDtypeStruct(shape, jnp.float32) for name, shape in shapes.items()}
    loss = translation_loss(network, channels, loss_weights(config.loss), use_mixer=True)
    gradient = jax.jit(jax.grad(lambda params, batch: loss(params, batch, None)[0].mean()))
    return gradient.lower(params, batch).compile().cost_analysis()["flops"]


def predict(network: VolumeUnet, params: dict, channels: Channels, hidden: HiddenChannel) -> np.ndarray:
    """The hidden channel from all others, as `evaluation.translation.predict_hidden` gives it."""
    inputs = (array[None] for array in network_inputs(channels, hidden))
    return as_prediction(hidden, _apply(network, params, *inputs)[0])


@functools.partial(jax.jit, static_argnums=0)
def _apply(network, params, sources, available, target_onehot):
    return network.apply({"params": params}, sources, available, target_onehot, None)


def equal_steps(network: VolumeUnet, config: ConfigDict) -> tuple[int, float]:
    """Steps that cost as many operations as the joint stage of a configuration does, and TFLOP of them all."""
    channels = channels_of(config.data)
    run, plane = volume_translator(config.model, channels), config.data.size[1:]
    key = jax.random.key(0)
    ours = step_flops(network, jax.eval_shape(functools.partial(parameters, network, channels), key), config, plane)
    theirs = step_flops(run, jax.eval_shape(functools.partial(initial_parameters, run), key), config, plane)
    total = theirs * config.stage.joint.steps
    return max(1, round(total / ours)), total / 1e12


def compare(beside: pathlib.Path, workdir: pathlib.Path, widths: tuple[int, ...], steps: int | None):
    """`({metric: [subjects]} of the U-Net, the same of the run, what was done in words)`."""
    trained, network = load_trained(beside), VolumeUnet(widths)
    channels, config = trained.channels, trained.config.copy_and_resolve_references()
    equal, total = equal_steps(network, config)
    config.model.mixer.kind = "none"
    config.stage.joint.steps = config.log.validate_every_steps = steps or equal
    fresh = parameters(network, channels, jax.random.key(config.seed))
    params = train_network(validate(config), workdir, network, fresh)
    subjects = subject_source(config.data, "test")
    steps = f"{config.stage.joint.steps} steps ({equal} cost {total:,.1f} TFLOP, as those of {beside.name})"
    ours = score(functools.partial(predict, network, params, channels), subjects, channels, "U-Net")
    return ours, score(functools.partial(predict_hidden, trained), subjects, channels, beside.name), steps


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--beside", type=pathlib.Path, nargs="+", required=True, help="work directories of LiFT-C")
    parser.add_argument("--workdir", type=pathlib.Path, required=True, help="folder of the U-Nets' work directories")
    parser.add_argument("--widths", type=int, nargs="+", default=(16, 32, 64))
    parser.add_argument("--steps", type=int, help="of each; as many as cost what the run's own do, if not given")
    parser.add_argument("--output", type=pathlib.Path, required=True, help="writes <output>.md")
    arguments = parser.parse_args()
    results = [
        compare(beside, arguments.workdir / beside.name, tuple(arguments.widths), arguments.steps)
        for beside in arguments.beside
    ]
    found = {
        name: {metric: np.mean([result[i][metric] for result in results], axis=0) for metric in METRICS}
        for i, name in enumerate(("3D U-Net", "LiFT-C"))
    }
    count = len(next(iter(found["LiFT-C"].values())))
    summary = f"n = {count} held-out phantoms; U-Nets of {'; '.join(result[2] for result in results)}; {hardware()}."
    text = f"{summary}\n\n{table(found, 'LiFT-C')}\n"
    atomic_write(arguments.output.with_suffix(".md"), text)
    print(text)


if __name__ == "__main__":
    main()
