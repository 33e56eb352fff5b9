"""What context along depth is worth, on phantoms: no mixer, the mixer, and an oracle, at equal steps.

    python -m experiments.context_value --workdir runs/context_value --output runs/context_value/table

Trains the quickstart in three kinds from several seeds, each run resumable, then scores all on the same held-out
phantoms. The oracle has no mixer. It is given, as further source channels that are constant over a slice, the true
acquisition parameters that its volume's contrasts share and the true gain of each slice: it shows how much there is to
gain. Differences are paired by case (a case's value is its mean over contrasts and seeds); intervals are percentile
bootstraps over cases, 95 %.
"""

import argparse
import dataclasses
import functools
import pathlib

import jax
import numpy as np
from ml_collections import ConfigDict

from configs import quickstart
from experiments.volume_unet import METRICS, score
from lift_jax import run_directory
from lift_jax.configuration import validate
from lift_jax.data.cases import CONTRASTS, Case
from lift_jax.data.intensities import from_network, to_network
from lift_jax.data.phantom import session, slice_gains
from lift_jax.data.phantom_acquisition import (
    GAMMA_DEVIATION,
    SITE_ECHO_DEVIATION,
    SITE_REPETITION_DEVIATION,
    T1_SEQUENCES,
    Protocol,
    Relaxation,
)
from lift_jax.data.sources import case_source
from lift_jax.data.windows import TakeWindow
from lift_jax.evaluation.cost import hardware
from lift_jax.evaluation.held_out import other_contrasts, predict_hidden
from lift_jax.evaluation.intervals import bootstrap_mean, paired_difference
from lift_jax.inference.translate import translate_volume
from lift_jax.models.build import initial_parameters, volume_translator
from lift_jax.models.volume_translator import VolumeTranslator, within_sources
from lift_jax.places import write_aside
from lift_jax.trained import load_trained
from lift_jax.training.cases import cache_shared
from lift_jax.training.run import train
from lift_jax.training.step import LossFunction
from lift_jax.training.translation_loss import weighted_sum
from lift_jax.training.translator_stages import train_stages, training_size

KINDS = ("no_mixer", "mixer", "oracle")
SHARED_PARAMETERS = 5 + len(T1_SEQUENCES)
FACTS = SHARED_PARAMETERS + len(CONTRASTS)


def shared_parameters(relaxation: Relaxation, protocol: Protocol) -> np.ndarray:
    """What the contrasts of a session have in common, `[SHARED_PARAMETERS]` float32, each varying by about one.

    Field strength, the site's echo and repetition factors, its T1 weighting and exponent, and which T1 sequence it has
    (one-hot). Nothing that one contrast has for itself is in it.
    """
    numbers = [
        (relaxation.field - 2.25) * 2,
        np.log(protocol.site_echo) / SITE_ECHO_DEVIATION,
        np.log(protocol.site_repetition) / SITE_REPETITION_DEVIATION,
        (protocol.weighting - 0.5) * 3,
        np.log(protocol.site_gamma) / GAMMA_DEVIATION[0],
        *(protocol.t1_sequence == sequence for sequence in T1_SEQUENCES),
    ]
    return np.array(numbers, np.float32)


def slice_facts(name: str, slices: int) -> np.ndarray:
    """What the oracle knows of each slice of the phantom of that name, `[slices, FACTS]` float32, of size about one."""
    seed, index = map(int, name.split("-")[1:])
    shared = np.tile(shared_parameters(*session(seed, index)), (slices, 1))
    return np.concatenate([shared, 10 * (slice_gains(seed, index, slices) - 1)], axis=1)


def with_facts(sources: np.ndarray, facts: np.ndarray) -> np.ndarray:
    """Sources and facts as channels, `[D, H, W, C]` and `[D, FACTS]` to `[D, H, W, C + FACTS]`."""
    maps = np.broadcast_to(facts[:, None, None], (*sources.shape[:3], facts.shape[1]))
    return np.concatenate([sources, maps], axis=-1)


@dataclasses.dataclass(frozen=True)
class TakeWindowWithFacts(TakeWindow):
    """A window as `TakeWindow` takes it, with the facts of its slices as further channels that are always there."""

    def random_map(self, case, rng):
        """The window that `rng` draws from `case`."""
        window, slices = super().random_map(case, rng), len(case.array("sources"))
        rows = np.rint((window["depth"] + 1) / 2 * (slices - 1)).astype(int)
        return window | {
            "sources": with_facts(window["sources"], slice_facts(case.facts["name"], slices)[rows]),
            "available": np.append(window["available"], np.ones(FACTS, np.float32)),
            "wanted": np.append(window["wanted"], np.zeros(FACTS, np.float32)),
        }


def oracle_loss(network: VolumeTranslator, loss: ConfigDict, use_mixer: bool) -> LossFunction:
    """The loss of `translation_loss`, where the facts do not count as something shown."""

    def loss_function(params, batch, key):
        del key
        inputs = (batch[name] for name in ("sources", "available", "wanted", "depth"))
        prediction = network.apply({"params": params}, *inputs, use_mixer=use_mixer)
        shown, available = batch["sources"][..., : len(CONTRASTS)], batch["available"][:, : len(CONTRASTS)]
        return weighted_sum(within_sources(prediction, shown, available), batch["target"], loss)

    return loss_function


def train_oracle(config: ConfigDict, workdir: pathlib.Path) -> tuple[VolumeTranslator, dict]:
    """The oracle and its averaged parameters after the joint stage of a configuration."""
    network = volume_translator(config.model, contrasts=len(CONTRASTS) + FACTS)
    params = initial_parameters(network, jax.random.key(config.seed))
    run_directory.prepare(workdir, config)
    cases = cache_shared(case_source(config.data, "train"), config, workdir)
    take = functools.partial(
        TakeWindowWithFacts,
        size=training_size(cases, config, network),
        targets=tuple(CONTRASTS.index(name) for name in config.data.targets),
        flip=config.data.flip,
        source_drop=config.data.source_drop,
    )
    loss = functools.partial(oracle_loss, network, config.loss)
    return network, train_stages(
        config, workdir, params, cases, take_window=take, loss=loss, look=lambda params: ({}, {})
    )


def predict_oracle(network: VolumeTranslator, params: dict, case: Case, target: str) -> np.ndarray:
    """The hidden contrast from all others and the facts, as `predict_hidden` gives it without the facts."""
    available = other_contrasts(case, target)
    sources = with_facts(to_network(case.sources), slice_facts(case.name, len(case.sources)))
    there = [*available, *[True] * FACTS]
    (prediction,) = translate_volume(network, params, sources, there, [CONTRASTS.index(target)], chunk=0)
    inside = (case.sources[..., np.flatnonzero(available)] > 0).any(axis=-1)
    return np.where(inside, np.clip(from_network(prediction), 0, 1), 0).astype(np.float32)


def configuration(kind: str, seed: int, arguments) -> ConfigDict:
    """The quickstart of one kind and seed; kinds differ in nothing else."""
    config = quickstart.get_config(arguments.variant)
    config.seed = seed
    config.model.mixer.kind = "gru" if kind == "mixer" else "none"
    config.data.cases.test = arguments.cases
    config.data.cache = str(arguments.workdir / "cache")
    config.stage.joint.steps = config.log.validate = arguments.steps
    return validate(config)


def scores(kind: str, config: ConfigDict, workdir: pathlib.Path) -> dict[str, np.ndarray]:
    """`{metric: [cases]}` of one run, trained where it is not yet."""
    if kind == "oracle":
        predict = functools.partial(predict_oracle, *train_oracle(config, workdir))
    else:
        train(config, workdir)
        trained = load_trained(workdir)
        predict = functools.partial(predict_hidden, trained.network, trained.params, config=trained.config)
    return score(predict, case_source(config.data, "test"), workdir.name)


def table(found: dict[str, dict[str, np.ndarray]]) -> str:
    """Means, and differences from the first kind paired by case, as Markdown."""
    lines = ["| | " + " | ".join(METRICS.values()) + " |", "|---" * (len(METRICS) + 1) + "|"]
    first, *others = found
    intervals = {name: [bootstrap_mean(found[name][metric], seed=0) for metric in METRICS] for name in found}
    for name in others:
        pairs = ((found[name][metric], found[first][metric]) for metric in METRICS)
        intervals[f"**{name} - {first}**"] = [paired_difference(*pair, seed=0) for pair in pairs]
    for name, cells in intervals.items():
        cells = ["{:.4g} [{:.4g}, {:.4g}]".format(*cell) for cell in cells]
        lines.append(f"| {name.replace('_', ' ')} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workdir", type=pathlib.Path, required=True)
    parser.add_argument("--output", type=pathlib.Path, required=True, help="writes <output>.md")
    parser.add_argument("--seeds", type=int, nargs="+", default=(0, 1, 2))
    parser.add_argument("--steps", type=int, default=700)
    parser.add_argument("--cases", type=int, default=32, help="held-out phantoms")
    parser.add_argument("--variant", default="", help="of the quickstart; tiny is for checks")
    arguments = parser.parse_args()
    found = {}
    for kind in KINDS:
        runs = [
            scores(kind, configuration(kind, seed, arguments), arguments.workdir / f"{kind}-{seed}")
            for seed in arguments.seeds
        ]
        found[kind] = {metric: np.mean([run[metric] for run in runs], axis=0) for metric in METRICS}
    facts = (
        f"n = {arguments.cases} held-out phantoms, {len(arguments.seeds)} seeds, {arguments.steps} steps; {hardware()}."
    )
    text = f"{facts}\n\n{table(found)}\n"
    write_aside(arguments.output.with_suffix(".md"), text)
    print(text)


if __name__ == "__main__":
    main()
