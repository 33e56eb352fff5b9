"""The effect of context along depth in MR to CT, on phantom heads: no mixer and mixers, at equal steps.

    python -m experiments.mr_to_ct_context --workdir runs/mr_to_ct_context --output runs/mr_to_ct_context/table

One translator is trained on single slices. From it each kind goes on, on the same slabs of slices, at the same rate
and for the same number of steps: with no mixer, with one that sees each slice as one vector (`mixer`), and with one
that sees it as a grid of cells (`mixer_grid`). All are scored on the same held-out heads. Differences are paired by
subject (a subject's value is its mean over seeds); intervals are of Student's t over subjects, 95 %.

Two oracles show the effect of the level of volumes and slices: the prediction without mixer after the scale and offset
that bring it nearest to the truth, by least squares, one pair for the volume or one for each slice.
"""

import argparse
import json
import pathlib

import numpy as np
import orbax.checkpoint as ocp

from configs import synthrad_mr_to_ct
from lift_jax import run_directory
from lift_jax.config import validate
from lift_jax.data.sources import subject_source
from lift_jax.evaluation.cost import hardware
from lift_jax.evaluation.leave_one_channel_out import hidden_channels
from lift_jax.evaluation.scores import score_prediction
from lift_jax.evaluation.statistics import mean_interval, paired_difference
from lift_jax.evaluation.translation import predict_hidden
from lift_jax.paths import atomic_write
from lift_jax.tasks.run import train
from lift_jax.trained import load_trained

KINDS = {"no_mixer": ("none", 1), "mixer": ("gru", 1), "mixer_grid": ("gru", 4)}
BY_VOLUME, BY_SLICE = "oracle of volumes", "oracle of slices"
METRICS = {
    "delta_z_mae": "Δz MAE (HU)",
    "delta_z_mae_bone": "Δz MAE, bone (HU)",
    "delta_z_correlation": "Δz correlation",
    "mae": "MAE (HU)",
    "psnr": "PSNR (dB)",
    "ssim": "SSIM",
    "dice_bone": "Dice, bone",
    "dice_air": "Dice, air",
}
DIGITS = {"delta_z_correlation": 4, "psnr": 2, "ssim": 4, "dice_bone": 4, "dice_air": 4}


def configuration(kind: str, seed: int, arguments):
    """The phantom variant of one kind and seed; kinds differ in nothing but the mixer."""
    config = synthrad_mr_to_ct.get_config("phantom")
    config.seed = seed
    config.data.subjects.train, config.data.subjects.test = arguments.train_subjects, arguments.subjects
    config.data.cache = str(arguments.workdir / "cache")
    config.model.translator.widths = (16, 32, 64)
    config.model.mixer.kind, config.model.mixer.grid = KINDS[kind]
    config.stages = ("translator", "joint")
    config.stage.translator.steps = arguments.translator_steps
    config.stage.joint.steps = arguments.steps
    config.stage.joint.batch, config.stage.joint.slices = 1, 32
    config.stage.joint.translator_learning_rate, config.stage.joint.mixer_learning_rate = 5e-4, 1e-3
    config.log.validate_every_steps = 10**6
    return validate(config)


def share_translator(config, workdir: pathlib.Path, other: pathlib.Path) -> None:
    """Gives a run the trained translator of another, and that one's untrained mixer, as its first stage's result."""
    steps = config.stage.translator.steps
    directory = run_directory.checkpoint_directory(workdir, "translator")
    if not (directory / str(steps)).is_dir():
        source = run_directory.checkpoint_directory(other, "translator")
        with ocp.CheckpointManager(source.absolute()) as manager:
            ema = manager.restore(steps, args=ocp.args.Composite(ema=ocp.args.StandardRestore()))["ema"]
        with ocp.CheckpointManager(directory.absolute()) as manager:
            groups = ("translator",) if config.model.mixer.kind == "none" else ("translator", "mixer")
            ema = {group: ema[group] for group in groups}
            manager.save(steps, args=ocp.args.Composite(ema=ocp.args.StandardSave(ema)))


def scores(workdir: pathlib.Path) -> dict[str, dict[str, list[float]]]:
    """Each metric of a trained run as it is and corrected by the oracles, one value a subject; kept on disk."""
    path = workdir / "scores.json"
    if not path.exists():
        trained = load_trained(workdir)
        subjects = subject_source(trained.config.data, "test")
        rows = {"": [], BY_VOLUME: [], BY_SLICE: []}
        for index in range(len(subjects.names)):
            (hidden,) = hidden_channels(subjects, index, trained.channels)
            prediction, target, mask = predict_hidden(trained, hidden), hidden.truth.target, hidden.truth.foreground
            slices = np.stack([nearest(*planes) for planes in zip(target, prediction, mask, strict=True)])
            for kind, volume in {
                "": prediction,
                BY_VOLUME: nearest(target, prediction, mask),
                BY_SLICE: slices,
            }.items():
                rows[kind].append(score_prediction(hidden.truth, volume))
        tables = {kind: {m: [row[m] for row in of_kind] for m in METRICS} for kind, of_kind in rows.items()}
        atomic_write(path, json.dumps(tables))
    return json.loads(path.read_text())


def nearest(target: np.ndarray, prediction: np.ndarray, mask: np.ndarray) -> np.ndarray:
    """The prediction after the scale and offset that bring it nearest to the target in the mask."""
    if np.count_nonzero(mask) < 2 or np.ptp(prediction[mask]) == 0:
        return prediction
    scale, offset = np.polyfit(prediction[mask], target[mask], 1)
    return np.where(mask, scale * prediction + offset, prediction)


def summarize(tables: dict[str, list[dict[str, list[float]]]]) -> str:
    """The study as Markdown: means, paired differences, and the same in per cent of the run without mixer."""
    means = {kind: {m: np.mean([run[m] for run in runs], axis=0) for m in METRICS} for kind, runs in tables.items()}

    def cell(interval, digits, sign=""):
        return f"{interval.mean:{sign}.{digits}f} [{interval.low:{sign}.{digits}f}, {interval.high:{sign}.{digits}f}]"

    lines = ["| | " + " | ".join(METRICS.values()) + " |", "|---|" + "---|" * len(METRICS)]
    for kind, values in means.items():
        cells = [cell(mean_interval(values[m]), DIGITS.get(m, 1)) for m in METRICS]
        lines.append(f"| {kind.replace('_', ' ')} | " + " | ".join(cells) + " |")
    base = means["no_mixer"]
    for kind in means:
        if kind != "no_mixer":
            difference = {m: paired_difference(means[kind][m], base[m]) for m in METRICS}
            cells = [cell(difference[m], DIGITS.get(m, 1) + (m not in DIGITS), "+") for m in METRICS]
            lines.append(f"| **{kind.replace('_', ' ')} - no mixer** | " + " | ".join(cells) + " |")
            shares = [f"{100 * difference[m].mean / base[m].mean():+.1f} %" for m in METRICS]
            lines.append("| in per cent | " + " | ".join(shares) + " |")
    if len(tables["no_mixer"]) > 1:
        lines += ["", "By seed, mixers - no mixer:", "", *lines[:2]]
        for kind in [kind for kind in KINDS if kind != "no_mixer"]:
            for seed, run in enumerate(tables[kind]):
                cells = [f"{np.mean(run[m]) - np.mean(tables['no_mixer'][seed][m]):+.4g}" for m in METRICS]
                lines.append(f"| {kind.replace('_', ' ')}, run {seed} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workdir", type=pathlib.Path, required=True)
    parser.add_argument("--output", type=pathlib.Path, help="writes <output>.md; without it, trains only")
    parser.add_argument("--kinds", nargs="+", default=tuple(KINDS), choices=tuple(KINDS))
    parser.add_argument("--seeds", type=int, nargs="+", default=(0,))
    parser.add_argument("--translator-steps", type=int, default=1500)
    parser.add_argument("--steps", type=int, default=800, help="of the second stage")
    parser.add_argument("--train-subjects", type=int, default=96)
    parser.add_argument("--subjects", type=int, default=32, help="held-out heads")
    arguments = parser.parse_args()
    tables = {}
    for seed in arguments.seeds:
        # The mixers first: their untrained weights ride along while the translator is trained for all.
        order = sorted(arguments.kinds, key=lambda kind: kind == "no_mixer")
        for kind in order:
            workdir = arguments.workdir / f"{kind}-{seed}"
            config = configuration(kind, seed, arguments)
            if kind != order[0]:
                share_translator(config, workdir, arguments.workdir / f"{order[0]}-{seed}")
            train(config, workdir)
            found = scores(workdir)
            tables.setdefault(kind, []).append(found[""])
            if kind == "no_mixer":
                for oracle in (BY_VOLUME, BY_SLICE):
                    tables.setdefault(oracle, []).append(found[oracle])
    if arguments.output:
        summary = (
            f"Phantom heads, {config.data.size[0]}³ at {config.data.spacing:g} mm, n = {arguments.subjects} held out, "
            f"{arguments.train_subjects} to train, {len(arguments.seeds)} seed(s); {arguments.translator_steps} steps "
            f"of {config.stage.translator.batch} single slices, then {arguments.steps} steps of "
            f"{config.stage.joint.slices} consecutive ones; "
            f"widths {tuple(config.model.translator.widths)}; {hardware()}."
        )
        atomic_write(arguments.output.with_suffix(".md"), f"{summary}\n\n{summarize(tables)}\n")
        print(f"{summary}\n\n{summarize(tables)}")


if __name__ == "__main__":
    main()
