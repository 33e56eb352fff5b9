"""The effect of context along depth, on phantoms: no mixer, the mixer, and an oracle, at equal steps.

    python -m experiments.context_value --workdir runs/context_value --output runs/context_value/table

Trains the quickstart in three kinds from several seeds, each run resumable, then scores all on the same held-out
phantoms. The oracle has no mixer. It is given, as further source channels that are constant over a slice, the true
acquisition parameters that its volume's channels share and the true gain of each slice: it shows how much there is to
gain. Differences are paired by subject (a subject's value is its mean over channels and seeds); intervals are of
Student's t over subjects, 95 %.
"""

import argparse
import dataclasses
import functools
import pathlib

import jax
import numpy as np
from ml_collections import ConfigDict

from configs import quickstart
from experiments.phantom_study import METRICS, score, table, train_network
from lift_jax.config import validate
from lift_jax.data.channels import Channels, channels_of
from lift_jax.data.intensity import get_protocol
from lift_jax.data.phantom.brain import session, slice_gains
from lift_jax.data.phantom.mr import (
    GAMMA_DEVIATION,
    SITE_ECHO_DEVIATION,
    SITE_REPETITION_DEVIATION,
    T1_RANGES,
    Protocol,
)
from lift_jax.data.phantom.tissues import Relaxation
from lift_jax.data.slabs import RandomSlab
from lift_jax.data.sources import subject_source
from lift_jax.evaluation.cost import hardware
from lift_jax.evaluation.leave_one_channel_out import HiddenChannel
from lift_jax.evaluation.translation import predict_hidden
from lift_jax.inference.translate import predict_channels
from lift_jax.models.volume_translator import VolumeTranslator, initial_parameters, volume_translator
from lift_jax.paths import atomic_write
from lift_jax.tasks.run import train
from lift_jax.trained import load_trained

KINDS = ("no_mixer", "mixer", "oracle")
SHARED_PARAMETERS = 5 + len(T1_RANGES)
SIDE_INFORMATION = tuple(f"side-{i}" for i in range(SHARED_PARAMETERS + 4))
"""Names of the oracle's further source channels: shared parameters, then the gains of the four channels."""


def shared_parameters(relaxation: Relaxation, protocol: Protocol) -> np.ndarray:
    """What the channels of a session have in common, `[SHARED_PARAMETERS]` float32, each varying by about one.

    Field strength, the site's echo and repetition factors, its T1 weighting and exponent, and which T1 sequence it has
    (one-hot). Nothing that one channel has for itself is in it.
    """
    numbers = [
        (relaxation.field - 2.25) * 2,
        np.log(protocol.site_echo) / SITE_ECHO_DEVIATION,
        np.log(protocol.site_repetition) / SITE_REPETITION_DEVIATION,
        (protocol.weighting - 0.5) * 3,
        np.log(protocol.site_gamma) / GAMMA_DEVIATION[0],
        *(protocol.t1_sequence == sequence for sequence in T1_RANGES),
    ]
    return np.array(numbers, np.float32)


def slice_side_information(name: str, slices: int) -> np.ndarray:
    """`SIDE_INFORMATION` of each slice of a phantom, `[slices, len(SIDE_INFORMATION)]` float32, of size about one."""
    seed, index = map(int, name.split("-")[1:])
    shared = np.tile(shared_parameters(*session(seed, index)), (slices, 1))
    return np.concatenate([shared, 10 * (slice_gains(seed, index, slices) - 1)], axis=1)


def oracle_channels(channels: Channels) -> Channels:
    """The channels with the side information as further sources."""
    protocols = dict(channels.protocols) | dict.fromkeys(SIDE_INFORMATION, get_protocol("unit"))
    return Channels((*channels.sources, *SIDE_INFORMATION), channels.targets, protocols)


@dataclasses.dataclass(frozen=True)
class RandomSlabWithSideInformation(RandomSlab):
    """A slab of `RandomSlab` with the side information of its slices as further sources, always available."""

    def random_map(self, subject, rng):
        """The slab that `rng` draws from `subject`."""
        slab, slices = super().random_map(subject, rng), subject.shape[0]
        rows = np.rint((slab["depth"] + 1) / 2 * slices - 0.5).astype(int)
        side = slice_side_information(subject.name, slices)[rows][:, None, None]
        maps = np.broadcast_to(side, (*slab["sources"].shape[:3], len(SIDE_INFORMATION)))
        return slab | {
            "sources": np.concatenate([slab["sources"], maps], axis=-1),
            "available": np.append(slab["available"], np.ones(len(SIDE_INFORMATION), np.float32)),
        }


def train_oracle(config: ConfigDict, workdir: pathlib.Path) -> tuple[VolumeTranslator, dict]:
    """The oracle and its averaged parameters after the joint stage of a configuration."""
    network = volume_translator(config.model, oracle_channels(channels_of(config.data)))
    params = initial_parameters(network, jax.random.key(config.seed))
    return network, train_network(config, workdir, network, params, slab=RandomSlabWithSideInformation)


def predict_oracle(network: VolumeTranslator, params: dict, channels: Channels, hidden: HiddenChannel) -> np.ndarray:
    """As `predict_hidden`, with the side information as further sources."""
    subject = hidden.subject
    side = (slice_side_information(subject.name, subject.shape[0]) + 1) / 2  # [-1, 1] of the network is [0, 1] here
    maps = {
        name: np.broadcast_to(value[:, None, None], subject.shape)
        for name, value in zip(SIDE_INFORMATION, side.T, strict=True)
    }
    informed = dataclasses.replace(subject, images={**subject.images, **maps}, mask=hidden.truth.foreground)
    sources, target = (*hidden.sources, *SIDE_INFORMATION), hidden.target
    options = {"chunk": 0, "skip_cache_gib": 1.0, "in_foreground_box": False}
    return predict_channels(network, params, oracle_channels(channels), informed, sources, [target], **options)[target]


def configuration(kind: str, seed: int, arguments) -> ConfigDict:
    """The quickstart of one kind and seed; kinds differ in nothing else."""
    config = quickstart.get_config(arguments.variant)
    config.seed = seed
    config.model.mixer.kind = "gru" if kind == "mixer" else "none"
    config.data.subjects.test = arguments.subjects
    config.data.cache = str(arguments.workdir / "cache")
    config.stage.joint.steps = config.log.validate_every_steps = arguments.steps
    return validate(config)


def scores(kind: str, config: ConfigDict, workdir: pathlib.Path) -> dict[str, np.ndarray]:
    """`{metric: [subjects]}` of one run, trained where it is not yet."""
    channels = channels_of(config.data)
    if kind == "oracle":
        network, params = train_oracle(config, workdir)
        predict = functools.partial(predict_oracle, network, params, channels)
    else:
        train(config, workdir)
        predict = functools.partial(predict_hidden, load_trained(workdir))
    return score(predict, subject_source(config.data, "test"), channels, workdir.name)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workdir", type=pathlib.Path, required=True)
    parser.add_argument("--output", type=pathlib.Path, required=True, help="writes <output>.md")
    parser.add_argument("--seeds", type=int, nargs="+", default=(0, 1, 2))
    parser.add_argument("--steps", type=int, default=700)
    parser.add_argument("--subjects", type=int, default=32, help="held-out phantoms")
    parser.add_argument("--variant", default="", help="of the quickstart; tiny is for checks")
    arguments = parser.parse_args()
    found = {}
    for kind in KINDS:
        runs = [
            scores(kind, configuration(kind, seed, arguments), arguments.workdir / f"{kind}-{seed}")
            for seed in arguments.seeds
        ]
        found[kind] = {metric: np.mean([run[metric] for run in runs], axis=0) for metric in METRICS}
    seeds, machine = len(arguments.seeds), hardware()
    summary = f"n = {arguments.subjects} held-out phantoms, {seeds} seeds, {arguments.steps} steps; {machine}."
    text = f"{summary}\n\n{table(found, KINDS[0])}\n"
    atomic_write(arguments.output.with_suffix(".md"), text)
    print(text)


if __name__ == "__main__":
    main()
