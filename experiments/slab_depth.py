"""What it costs that the mixer trains on slabs and runs over whole volumes, on phantoms of 64 slices.

    python -m experiments.slab_depth --workdir runs/slab_depth --output runs/slab_depth/table

Trains the quickstart's network from one seed on slabs of all 64 slices, of 16 and of 8, with as many slices a step
each, and once without a mixer. All are scored on the same held-out phantoms, over whole volumes: the last two mix 4 and
8 times as many slices as they saw in training. A run is scored a second time in blocks of as many slices as it was
trained on, each mixed by itself, with the depths that it has in the volume. Slices are 3 mm apart and averaged to 6 mm
in the plane, so that a processor can do it. Differences are paired by subject (a subject's value is its mean over
channels); intervals are of Student's t over subjects, 95 %.
"""

import argparse
import dataclasses
import functools
import pathlib

import jax
import numpy as np
from ml_collections import ConfigDict

from configs import quickstart
from experiments.phantom_study import as_prediction, network_inputs, score, table, train_network
from lift_jax.config import validate
from lift_jax.data.channels import Channels, channels_of
from lift_jax.data.geometry import depth_coordinates
from lift_jax.data.sources import subject_source
from lift_jax.data.subject import Subject, SubjectSource
from lift_jax.evaluation.cost import hardware
from lift_jax.evaluation.leave_one_channel_out import HiddenChannel
from lift_jax.models.volume_translator import VolumeTranslator, initial_parameters, volume_translator
from lift_jax.paths import atomic_write

DEPTH = 64
KINDS = {"no mixer": 64, "slab 64": 64, "slab 16": 16, "slab 8": 8}


@dataclasses.dataclass(frozen=True)
class HalvedInPlane:
    """Subjects of a source at half the resolution within slices; a `SubjectSource`, but for the grid of results."""

    subjects: SubjectSource

    def __getattr__(self, name):
        """What resolution does not change: names, patients, protocols, channels."""
        return getattr(self.subjects, name)

    def load(self, index: int, channels=None) -> Subject:
        """Subject `index`, averaged over 2×2 voxels of each slice."""
        subject = self.subjects.load(index, channels)
        images, references = (
            {channel: halved(volume) for channel, volume in volumes.items()}
            for volumes in (subject.images, subject.references)
        )
        affine = subject.affine @ np.diag([2.0, 2.0, 1.0, 1.0])
        return Subject(subject.name, images, affine, references=references)

    def fingerprint(self, index: int) -> str:
        """That of the subject, and a word of its own."""
        return self.subjects.fingerprint(index)[:-4] + "half"


def halved(volume: np.ndarray) -> np.ndarray:
    """Means over 2×2 voxels of each slice: `[D, H, W] -> [D, H/2, W/2]` float32."""
    depth, height, width = volume.shape
    return volume.reshape(depth, height // 2, 2, width // 2, 2).mean(axis=(2, 4), dtype=np.float32)


def configuration(kind: str, arguments) -> ConfigDict:
    """The quickstart of one kind, with as many slices a step as the others have."""
    config = quickstart.get_config()
    config.seed = arguments.seed
    config.data.size, config.data.spacing = (DEPTH,) * 3, 3.0
    config.data.subjects.update(train=arguments.train, test=arguments.subjects)
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
    network = volume_translator(config.model, channels_of(config.data))
    fresh = initial_parameters(network, jax.random.key(config.seed))
    subjects = HalvedInPlane(subject_source(config.data, "train"))
    return network, train_network(config, workdir, network, fresh, subjects=subjects)


@functools.partial(jax.jit, static_argnums=0)
def apply(network: VolumeTranslator, params: dict, sources, available, target_onehot, depth) -> jax.Array:
    """Slabs to the target channel."""
    return network.apply({"params": params}, sources, available, target_onehot, depth)


def predict(
    network: VolumeTranslator, params: dict, channels: Channels, block: int, hidden: HiddenChannel
) -> np.ndarray:
    """The hidden channel `[D, H, W]` in [0, 1], blocks of so many slices mixed each by itself."""
    count = DEPTH // block
    sources, *conditions = network_inputs(channels, hidden)
    slabs = sources.reshape(count, block, *sources.shape[1:])
    conditions = (np.tile(condition, (count, 1)) for condition in conditions)
    predicted = apply(network, params, slabs, *conditions, depth_coordinates(DEPTH).reshape(count, block))
    return as_prediction(hidden, np.asarray(predicted).reshape(hidden.subject.shape))


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workdir", type=pathlib.Path, required=True)
    parser.add_argument("--output", type=pathlib.Path, required=True, help="writes <output>.md")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--steps", type=int, default=400, help="of 64 slices each")
    parser.add_argument("--train", type=int, default=64, help="phantoms to train on")
    parser.add_argument("--subjects", type=int, default=12, help="held-out phantoms")
    arguments = parser.parse_args()
    found = {}
    for kind, slab in KINDS.items():
        config = configuration(kind, arguments)
        channels = channels_of(config.data)
        network, params = trained(config, arguments.workdir / kind.replace(" ", "_"))
        held_out = HalvedInPlane(subject_source(config.data, "test"))
        for block in sorted({DEPTH, slab}, reverse=True):
            name = kind if block == DEPTH else f"{kind}, mixed in blocks of {block}"
            found[name] = score(functools.partial(predict, network, params, channels, block), held_out, channels, name)
    summary = (
        f"n = {arguments.subjects} held-out phantoms, seed {arguments.seed}, {arguments.train} to train on, "
        f"{arguments.steps} steps of {DEPTH} slices; {hardware()}."
    )
    text = f"{summary}\n\n{table(found, 'slab 64')}\n"
    atomic_write(arguments.output.with_suffix(".md"), text)
    print(text)


if __name__ == "__main__":
    main()
