"""What it costs that the mixer trains on windows and runs over whole volumes, on phantoms of 64 slices.

    python -m experiments.window_depth --workdir runs/window_depth --output runs/window_depth/table

Trains the quickstart's network from one seed on windows of all 64 slices, of 16 and of 8, with as many slices a step
each, and once without a mixer. All are scored on the same held-out phantoms, over whole volumes: the last two mix 4 and
8 times as many slices as they saw in training. A run is scored a second time in blocks of as many slices as it was
trained on, each mixed by itself, with the depths that it has in the volume. Slices are 3 mm apart and averaged to 6 mm
in the plane, so that a processor can do it. Differences are paired by case (a case's value is its mean over contrasts);
intervals are of Student's t over cases, 95 %.
"""

import argparse
import dataclasses
import functools
import pathlib

import jax
import numpy as np
from lift_jax.data.windows import TakeWindow
from lift_jax.evaluation.held_out import other_contrasts
from lift_jax.training.cases import cache_shared
from lift_jax.training.translator_stages import train_stages, training_size
from ml_collections import ConfigDict

from configs import quickstart
from experiments.volume_unet import METRICS, score
from lift_jax import run_directory
from lift_jax.config import validate
from lift_jax.data.cases import CONTRASTS, Case, CaseSource
from lift_jax.data.depths import depth_coordinates
from lift_jax.data.intensities import from_network, to_network
from lift_jax.data.sources import case_source
from lift_jax.evaluation.cost import hardware
from lift_jax.evaluation.intervals import mean_interval, paired_difference
from lift_jax.models.translation.build import configured_translator, initial_parameters
from lift_jax.models.translation.volume_translator import VolumeTranslator, within_sources
from lift_jax.paths import atomic_write
from lift_jax.training.translation_loss import translation_loss

DEPTH = 64
KINDS = {"no mixer": 64, "window 64": 64, "window 16": 16, "window 8": 8}


@dataclasses.dataclass(frozen=True)
class HalvedInPlane:
    """Cases of a source at half the resolution within slices; a `CaseSource`."""

    cases: CaseSource

    @property
    def names(self):
        """Names of the cases."""
        return self.cases.names

    def load(self, index: int) -> Case:
        """Case `index`, averaged over 2×2 voxels of each slice."""
        case = self.cases.load(index)
        affine = case.affine @ np.diag([2.0, 2.0, 1.0, 1.0])
        return Case(case.name, halved(case.sources), halved(case.targets), case.available, affine)

    def fingerprint(self, index: int) -> str:
        """That of the case, and a word of its own."""
        return self.cases.fingerprint(index)[:-4] + "half"


def halved(array: np.ndarray) -> np.ndarray:
    """Means over 2×2 voxels of each slice: `[D, H, W, C] -> [D, H/2, W/2, C]` float32."""
    depth, height, width, channels = array.shape
    blocks = np.asarray(array, np.float32).reshape(depth, height // 2, 2, width // 2, 2, channels)
    return blocks.mean(axis=(2, 4))


def configuration(kind: str, arguments) -> ConfigDict:
    """The quickstart of one kind, with as many slices a step as the others have."""
    config = quickstart.get_config()
    config.seed = arguments.seed
    config.data.shape, config.data.spacing = (DEPTH,) * 3, 3.0
    config.data.cases.update(train=arguments.train, test=arguments.cases)
    config.data.cache = str(arguments.workdir / "cache")
    config.model.translator.widths = (16, 32)
    if kind == "no mixer":
        config.model.mixer.kind = "none"
    settings = config.stage.joint
    settings.slices, settings.batch, settings.steps = KINDS[kind], DEPTH // KINDS[kind], arguments.steps
    config.checkpoint.every_steps = 50
    config.log.validate_every_steps = arguments.steps
    return validate(config)


def trained(config: ConfigDict, workdir: pathlib.Path) -> tuple[VolumeTranslator, dict]:
    """The network and its averaged parameters after the joint stage, trained where it is not yet."""
    network = configured_translator(config)
    run_directory.prepare(workdir, config)
    cases = cache_shared(HalvedInPlane(case_source(config.data, "train")), config, workdir)
    take = functools.partial(
        TakeWindow,
        size=training_size(cases, config, network),
        targets=tuple(CONTRASTS.index(name) for name in config.data.targets),
        flip=config.data.flip,
        source_drop=config.data.source_drop,
    )
    loss = functools.partial(translation_loss, network, config.loss)
    fresh = initial_parameters(network, jax.random.key(config.seed))
    params = train_stages(config, workdir, fresh, cases, take_window=take, loss=loss, look=lambda params: ({}, {}))
    return network, params


@functools.partial(jax.jit, static_argnums=0)
def apply(network: VolumeTranslator, params: dict, sources, available, wanted, depth) -> jax.Array:
    """Windows to the wanted contrast, background outside the sources."""
    prediction = network.apply({"params": params}, sources, available, wanted, depth)
    return within_sources(prediction, sources, available)


def predict(network: VolumeTranslator, params: dict, block: int, case: Case, target: str) -> np.ndarray:
    """The hidden contrast `[D, H, W]` in [0, 1], blocks of so many slices mixed each by itself."""
    count = DEPTH // block
    windows = to_network(case.sources).reshape(count, block, *case.sources.shape[1:])
    available = np.tile(np.asarray(other_contrasts(case, target), np.float32), (count, 1))
    wanted = np.tile(np.eye(len(CONTRASTS), dtype=np.float32)[CONTRASTS.index(target)], (count, 1))
    made = apply(network, params, windows, available, wanted, depth_coordinates(DEPTH).reshape(count, block))
    return np.clip(from_network(np.asarray(made).reshape(DEPTH, *made.shape[2:])), 0, 1)


def table(found: dict[str, dict[str, np.ndarray]]) -> str:
    """Means, and differences from the run of whole volumes paired by case, as Markdown."""
    lines = ["| | " + " | ".join(METRICS.values()) + " |", "|---" * (len(METRICS) + 1) + "|"]

    def row(name, intervals):
        cells = ["{:.4g} [{:.4g}, {:.4g}]".format(*interval) for interval in intervals]
        lines.append(f"| {name} | " + " | ".join(cells) + " |")

    whole = found["window 64"]
    for name, values in found.items():
        row(name, [mean_interval(values[metric]) for metric in METRICS])
    for name, values in found.items():
        if values is not whole:
            row(f"**{name} - window 64**", [paired_difference(values[m], whole[m]) for m in METRICS])
    return "\n".join(lines)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workdir", type=pathlib.Path, required=True)
    parser.add_argument("--output", type=pathlib.Path, required=True, help="writes <output>.md")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--steps", type=int, default=400, help="of 64 slices each")
    parser.add_argument("--train", type=int, default=64, help="phantoms to train on")
    parser.add_argument("--cases", type=int, default=12, help="held-out phantoms")
    arguments = parser.parse_args()
    found = {}
    for kind, window in KINDS.items():
        config = configuration(kind, arguments)
        network, params = trained(config, arguments.workdir / kind.replace(" ", "_"))
        held_out = HalvedInPlane(case_source(config.data, "test"))
        for block in sorted({DEPTH, window}, reverse=True):
            name = kind if block == DEPTH else f"{kind}, mixed in blocks of {block}"
            found[name] = score(functools.partial(predict, network, params, block), held_out, name)
    facts = (
        f"n = {arguments.cases} held-out phantoms, seed {arguments.seed}, {arguments.train} to train on, "
        f"{arguments.steps} steps of {DEPTH} slices; {hardware()}."
    )
    text = f"{facts}\n\n{table(found)}\n"
    atomic_write(arguments.output.with_suffix(".md"), text)
    print(text)


if __name__ == "__main__":
    main()
