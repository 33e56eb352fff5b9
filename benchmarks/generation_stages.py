"""What each stage of LiFT-U adds: a run's volumes as they begin, with its generator trained, and with its mapper.

    python -m benchmarks.generation_stages --workdir runs/unconditional --output docs/generation_stages

Scores as many volumes of each as there are held-out ones, in the run's own encoder, and draws the middle planes of the
same codes: principal components of slices and volumes, without any training; the trained generator, given the codes of
the prior; and the run as it is. Real validation volumes and the run's independent slices stand below, both against the
test split; so do those real volumes as the components of slices decode them from their own codes, which is what codes
that were distributed as real ones would give without any training. Intervals are 95 %, volumes resampled. With
`--count` more phantoms are made: Fréchet distances of few volumes are too great, and less so for independent slices, of
which no two are of one volume.
"""

import argparse
import pathlib

import jax
import matplotlib.image
import numpy as np

from lift_jax import run_directory
from lift_jax.checkpoints import restore_ema
from lift_jax.data.intensity import network_to_unit, unit_to_network
from lift_jax.evaluation.cost import hardware
from lift_jax.evaluation.generation import (
    GENERATED,
    HELD_OUT,
    INDEPENDENT,
    encoder_name,
    real_volumes,
    sampled_sets,
    score_generation,
)
from lift_jax.evaluation.report.planes import planes_montage
from lift_jax.models.generation_networks import initial_generation_parameters
from lift_jax.models.pca import slice_latents
from lift_jax.models.slice_generator import from_logits
from lift_jax.paths import atomic_write
from lift_jax.trained import TrainedGeneration, load_generation
from lift_jax.training.generation import stage_parameters, with_principal

BEGUN, GENERATOR, MAPPER = "principal components", "... and the generator", "... and the mapper"
DECODED = "real (held out), through the components"

SHOWN, ENLARGED = 8, 3
"""Volumes in a picture, and its pixels for one of theirs."""


def parameters_by_stage(trained: TrainedGeneration, workdir: pathlib.Path, volumes: np.ndarray) -> dict[str, dict]:
    """Parameters of the networks after each stage, by their name in the table."""
    networks, config = trained.networks, trained.config
    fresh = initial_generation_parameters(networks, config)
    like = jax.eval_shape(lambda: stage_parameters("generator", fresh, networks, config))
    generator, _ = restore_ema(run_directory.checkpoint_directory(workdir, "generator"), like)
    return {
        BEGUN: with_principal(fresh | {"encoder": trained.params["encoder"]}, networks, volumes),
        GENERATOR: fresh | generator,
        MAPPER: trained.params,
    }


def decoded(params: dict, volumes: np.ndarray) -> np.ndarray:
    """Volumes `[N, D, H, W]` in [0, 1] as the principal components of slices have them, codes and back."""
    linear = params["generator"]["linear"]

    @jax.jit
    def through(images):
        logits = linear["bias"] + slice_latents(params["generator"], unit_to_network(images)) @ linear["kernel"]
        return network_to_unit(from_logits(logits)).reshape(images.shape)

    return np.stack([np.clip(through(volume), 0, 1) for volume in volumes])


def table(scores) -> str:
    """A row of Markdown for each set."""
    heading = ["", "Fréchet, axial", "coronal", "sagittal", "mean \\|Δz\\|, against real", "spread, against real"]
    lines = ["| " + " | ".join(heading) + " |", "|---" * len(heading) + "|"]
    for name, row in scores.table.items():
        found = {key: value for key, value in row.items() if key.startswith("frechet_")}
        cells = [f"{e.mean:.2f} [{e.low:.2f}, {e.high:.2f}]" for e in found.values()]
        for key in ("step_relative", "spread_relative"):
            cells.append("{:+.0f} % [{:.0f}, {:.0f}]".format(*row[key][:3]))
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workdir", type=pathlib.Path, required=True)
    parser.add_argument("--output", type=pathlib.Path, required=True, help="writes <output>.md and <output>.png")
    parser.add_argument("--count", type=int, help="held-out phantoms of each split, in place of the run's own number")
    arguments = parser.parse_args()
    trained = load_generation(arguments.workdir)
    if arguments.count:
        if trained.config.data.dataset != "phantom":
            parser.error(f"--count: {arguments.workdir} is not of phantoms, of which alone more can be made")
        trained.config.data.subjects.update(validation=arguments.count, test=arguments.count)
    if not trained.networks.prior_slices:
        parser.error(f"{arguments.workdir}: was trained without a prior (config.model.prior.init)")
    real = real_volumes(trained, arguments.workdir)
    count = min(len(real["validation"]), len(real["test"]))
    sets = {}
    stages = parameters_by_stage(trained, arguments.workdir, real["train"])
    for name, params in stages.items():
        stage = TrainedGeneration(trained.config, trained.networks, params, trained.shape, trained.stage, trained.step)
        volumes, _ = sampled_sets(stage, real["validation"], count)
        sets[name] = volumes[GENERATED]
    sets |= {name: volumes[name] for name in (INDEPENDENT, HELD_OUT)}
    sets[DECODED] = decoded(stages[BEGUN], sets[HELD_OUT])
    summary = f"n = {count} volumes of each set, features of {encoder_name(trained)}; {hardware()}."
    text = f"{summary}\n\n{table(score_generation(trained, sets, real, None))}\n"
    atomic_write(arguments.output.with_suffix(".md"), text)
    rows = [real["test"], *(volumes for name, volumes in sets.items() if name in stages)]
    picture = np.concatenate([planes_montage(x[:SHOWN]) for x in rows])
    matplotlib.image.imsave(arguments.output.with_suffix(".png"), picture.repeat(ENLARGED, 0).repeat(ENLARGED, 1))
    print(text)


if __name__ == "__main__":
    main()
