"""A 3D U-Net as a baseline of LiFT-C: the same data and loss, and as many operations of training.

    python -m experiments.volume_unet --beside runs/translators/runs/stem_2-0 runs/translators/runs/stem_2-1 \
        --workdir runs/volume_unet --output runs/volume_unet/table

Trains one for each run `--beside`, such as those of `configs/sweeps/translators.py`, with that run's windows and seed
and, unless `--steps` says otherwise, for as many steps as cost what the run's own did. Scores all on the same held-out
phantoms by the cWDM protocol, every contrast from the others; a case's value is its mean over contrasts and runs, and
intervals are percentile bootstraps over cases, 95 %. It is no part of the library, as its memory grows with the volume.
"""

import argparse
import functools
import pathlib
from collections.abc import Callable

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict
from tqdm import tqdm

from lift_jax import run_directory
from lift_jax.configuration import validate
from lift_jax.data.cases import CONTRASTS, Case
from lift_jax.data.intensities import from_network, to_network
from lift_jax.data.sources import case_source
from lift_jax.data.windows import TakeWindow
from lift_jax.evaluation.cost import hardware
from lift_jax.evaluation.held_out import other_contrasts, predict_hidden
from lift_jax.evaluation.intervals import bootstrap_mean, paired_difference
from lift_jax.evaluation.scores import score_cwdm
from lift_jax.models.blocks import ConditionEmbedding
from lift_jax.models.build import configured_translator, initial_parameters
from lift_jax.models.slice_translator import BACKGROUND
from lift_jax.places import write_aside
from lift_jax.trained import load_trained
from lift_jax.training.cases import cache_shared
from lift_jax.training.translation_loss import translation_loss
from lift_jax.training.translator_stages import train_stages, training_size

METRICS = {"psnr": "PSNR (dB)", "ssim": "SSIM", "psnr_brain": "PSNR, brain (dB)", "delta_z_mae": "Δz MAE, brain"}


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
    """Folds 2×2×2 neighbourhoods into channels: `[B, D, H, W, C] -> [B, D/2, H/2, W/2, 8 C]`."""
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
    """A residual 3D U-Net that, as `SliceTranslator`, tells how to combine the sources at every voxel.

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
        told = VolumeConvolution(shown.shape[-1] + 1)(nn.silu(x))
        return (told[..., :-1] * shown).sum(axis=-1) + told[..., -1] + BACKGROUND


def parameters(network: VolumeUnet, key: jax.Array) -> dict:
    """Fresh parameters."""
    ones = jnp.ones((1, len(CONTRASTS)))
    side = 2 ** len(network.widths)
    return jax.jit(network.init)(key, jnp.zeros((1, side, side, side, len(CONTRASTS))), ones, ones, None)["params"]


def step_flops(network, params, config: ConfigDict) -> float:
    """Operations of the loss of one batch and its gradient, by the compiler's count."""
    stage, (_, height, width) = config.stage.joint, config.data.shape
    shapes = {
        "sources": (stage.batch, stage.window, height, width, len(CONTRASTS)),
        "target": (stage.batch, stage.window, height, width),
        "available": (stage.batch, len(CONTRASTS)),
        "wanted": (stage.batch, len(CONTRASTS)),
        "depth": (stage.batch, stage.window),
    }
    batch = {name: jax.ShapeDtypeStruct(shape, jnp.float32) for name, shape in shapes.items()}
    loss = translation_loss(network, config.loss, use_mixer=True)
    gradient = jax.jit(jax.grad(lambda params, batch: loss(params, batch, None)[0]))
    return gradient.lower(params, batch).compile().cost_analysis()["flops"]


def predict(network, params, case, target: str) -> np.ndarray:
    """The hidden contrast from all others, as `evaluation.held_out.predict_hidden` gives it."""
    available, wanted = other_contrasts(case, target), np.eye(len(CONTRASTS))[[CONTRASTS.index(target)]]
    prediction = _apply(network, params, to_network(case.sources)[None], np.float32(available[None]), wanted)[0]
    inside = (case.sources[..., np.flatnonzero(available)] > 0).any(axis=-1)
    return np.where(inside, np.clip(from_network(np.asarray(prediction)), 0, 1), 0).astype(np.float32)


@functools.partial(jax.jit, static_argnums=0)
def _apply(network, params, sources, available, wanted):
    return network.apply({"params": params}, sources, available, wanted, None)


def score(predict: Callable[[Case, str], np.ndarray], cases, told: str) -> dict[str, np.ndarray]:
    """`{metric: [cases]}`, means over contrasts of what `predict(case, hidden contrast)` gives."""
    table = {metric: [] for metric in METRICS}
    for index in tqdm(range(len(cases.names)), desc=told, unit="case"):
        case = cases.load(index)
        rows = []
        for name in CONTRASTS:
            others = case.sources[..., other_contrasts(case, name)]
            truth = case.targets[..., CONTRASTS.index(name)]
            rows.append(score_cwdm(truth, predict(case, name), others, others[..., 0]))
        for metric in METRICS:
            table[metric].append(np.mean([row[metric] for row in rows]))
    return {metric: np.array(values) for metric, values in table.items()}


def train(config: ConfigDict, workdir: pathlib.Path, network: VolumeUnet) -> dict:
    """Averaged parameters of the network after the joint stage of a configuration."""
    params = parameters(network, jax.random.key(config.seed))
    run_directory.prepare(workdir, config)
    cases = cache_shared(case_source(config.data, "train"), config, workdir)
    size = training_size(cases, config, configured_translator(config))
    targets = tuple(CONTRASTS.index(name) for name in config.data.targets)
    take = functools.partial(
        TakeWindow, size=size, targets=targets, flip=config.data.flip, source_drop=config.data.source_drop
    )
    loss = functools.partial(translation_loss, network, config.loss)
    return train_stages(config, workdir, params, cases, take_window=take, loss=loss, look=lambda params: ({}, {}))


def equal_steps(network: VolumeUnet, config: ConfigDict) -> tuple[int, float]:
    """Steps that cost as many operations as the joint stage of a configuration does, and TFLOP of them all."""
    make = ((network, parameters), (configured_translator(config), initial_parameters))
    shapes = [jax.eval_shape(lambda key, f=f, each=each: f(each, key), jax.random.key(0)) for each, f in make]
    ours, theirs = (step_flops(each, shape, config) for (each, _), shape in zip(make, shapes, strict=True))
    total = theirs * config.stage.joint.steps
    return max(1, round(total / ours)), total / 1e12


def compare(beside: pathlib.Path, workdir: pathlib.Path, widths: tuple[int, ...], steps: int | None):
    """`({metric: [cases]} of the U-Net, the same of the run, what was done in words)`."""
    trained, network = load_trained(beside), VolumeUnet(widths)
    config = trained.config.copy_and_resolve_references()
    equal, total = equal_steps(network, config)
    config.model.mixer.kind = "none"
    config.stage.joint.steps = config.log.validate = steps or equal
    params = train(validate(config), workdir, network)
    cases = case_source(config.data, "test")

    def translated(case, target):
        return predict_hidden(trained.network, trained.params, case, target, trained.config)

    told = f"{config.stage.joint.steps} steps ({equal} cost {total:,.1f} TFLOP, as those of {beside.name})"
    ours = score(functools.partial(predict, network, params), cases, "U-Net")
    return ours, score(translated, cases, beside.name), told


def rows(found: dict[str, dict[str, np.ndarray]]) -> str:
    """Means of both, and their difference paired by case, as Markdown."""
    lines = ["| | " + " | ".join(METRICS.values()) + " |", "|---" * (len(METRICS) + 1) + "|"]
    first, second = found
    intervals = {name: [bootstrap_mean(found[name][metric], seed=0) for metric in METRICS] for name in found}
    intervals[f"**{first} - {second}**"] = [
        paired_difference(found[first][metric], found[second][metric], seed=0) for metric in METRICS
    ]
    for name, cells in intervals.items():
        lines.append(f"| {name} | " + " | ".join("{:.4g} [{:.4g}, {:.4g}]".format(*cell) for cell in cells) + " |")
    return "\n".join(lines)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--beside", type=pathlib.Path, nargs="+", required=True, help="work directories of LiFT-C")
    parser.add_argument("--workdir", type=pathlib.Path, required=True, help="folder of the U-Nets' work directories")
    parser.add_argument("--widths", type=int, nargs="+", default=(16, 32, 64))
    parser.add_argument("--steps", type=int, help="of each; as many as cost what the run's own do, if not told")
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
    facts = f"n = {count} held-out phantoms; U-Nets of {'; '.join(result[2] for result in results)}; {hardware()}."
    text = f"{facts}\n\n{rows(found)}\n"
    write_aside(arguments.output.with_suffix(".md"), text)
    print(text)


if __name__ == "__main__":
    main()
