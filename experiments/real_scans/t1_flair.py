"""T1 to FLAIR on real scans by cross-validation: LiFT-C with and without its mixer, a 2.5D and a 3D U-Net.

    python -m experiments.real_scans.t1_flair --root DIR --workdir runs/t1_flair --output runs/t1_flair/table

Folds are of every n-th subject by name; each kind and seed trains on the other folds, and every subject is scored once
a seed, in voxels of `--spacing` mm. The U-Nets train for as many steps as cost what those of the mixer with one cell
do. A subject's value is its mean over seeds; intervals are t-intervals over subjects, 95 %, paired where kinds are
compared. Two oracles give the prediction without mixer the scale and offset, of each volume or of each slice, that
bring it nearest to the truth. Resumable: runs go on from their checkpoints, and scores are kept.
"""

import argparse
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
from ml_collections import ConfigDict

from experiments.phantom_study import train_network
from experiments.real_scans.peers import equal_steps, neighbor_translator, predict_volume, volume_unet
from experiments.real_scans.scans import Scan, read_scans
from lift_jax.config import validate
from lift_jax.config.files import named_config
from lift_jax.data.channels import channels_of
from lift_jax.data.intensity import from_network, to_network
from lift_jax.data.sources import subject_source
from lift_jax.data.subject import BoxedSubjects, Subject, foreground_box
from lift_jax.evaluation.metrics import delta_z, interior_mean, peak_signal_to_noise, similarity_map
from lift_jax.evaluation.statistics import mean_interval, paired_difference
from lift_jax.tasks.run import train
from lift_jax.trained import load_trained

KINDS = {
    "no mixer": ("none", 1),
    "one cell": ("gru", 1),
    "4 x 4 cells": ("gru", 4),
    "2.5D U-Net": ("none", 1),
    "3D U-Net": ("none", 1),
}
PEERS = {"2.5D U-Net": neighbor_translator, "3D U-Net": volume_unet}
ORACLES = ("oracle of volumes", "oracle of slices")


Predict = Callable[[Scan], np.ndarray]
"""FLAIR of a scan in [0, 1], `[D, H, W]`."""


def configuration(kind: str, seed: int, split_file: Path, arguments) -> ConfigDict:
    """The run of one kind and seed; kinds differ in nothing but the mixer."""
    config = named_config("t1_to_flair")
    config.seed = seed
    config.data.root = arguments.root
    config.data.split_file = str(split_file)
    config.data.cache = str(arguments.workdir / "cache")
    config.data.spacing = arguments.spacing
    config.data.crop = (arguments.crop, arguments.crop)
    config.data.gamma = 0.1
    config.data.threads = 1
    config.stage.joint.steps = arguments.steps
    config.stage.joint.slices = arguments.slices
    config.checkpoint.every_steps = arguments.steps
    config.model.translator.widths = tuple(arguments.widths)
    config.model.mixer.kind, config.model.mixer.grid = KINDS[kind]
    config.log.validate_every_steps = arguments.steps
    config.log.validation_subjects = 1
    return validate(config)


def score(prediction: np.ndarray, target: np.ndarray, brain: np.ndarray, tumor: np.ndarray) -> dict[str, float]:
    """PSNR and SSIM over volume, brain and tumor, and Δz MAE and correlation over brain and tumor."""
    squared, similarity = (target - prediction) ** 2, similarity_map(target, prediction, 1.0)
    scores = {}
    for name, region in (("volume", np.ones_like(brain)), ("brain", brain), ("tumor", tumor)):
        scores[f"PSNR, {name}"] = peak_signal_to_noise(squared, region, 1.0)
        scores[f"SSIM, {name}"] = interior_mean(similarity, region)
        if name != "volume":
            through_plane = delta_z(target, prediction, region)
            scores[f"Δz MAE, {name}"] = through_plane["mae"]
            scores[f"Δz correlation, {name}"] = through_plane["correlation"]
    return scores


def run(kind: str, seed: int, fold: int, scans: list[Scan], arguments) -> list[dict]:
    """Trains on all folds but one and scores that one: rows for each of its subjects."""
    held_out = scans[fold :: arguments.folds]
    tested = [scan.name for scan in held_out]
    trained_on = [scan.name for scan in scans if scan.name not in tested]
    split_file = arguments.workdir / f"fold-{fold}.json"
    split_file.parent.mkdir(parents=True, exist_ok=True)
    split_file.write_text(json.dumps({"train": trained_on[1:], "validation": trained_on[:1], "test": tested}))
    workdir = arguments.workdir / f"{kind.replace(' ', '_')}-{seed}-{fold}"
    config = configuration(kind, seed, split_file, arguments)
    predict = train_peer(kind, config, workdir) if kind in PEERS else train_ours(config, workdir)
    rows = []
    for scan in held_out:
        source, target = scan.images["t1n"], scan.images["t2f"]
        predictions = {kind: predict(scan)}
        if kind == "no mixer":
            predictions |= oracles(predictions[kind], target, source > 0)
        for name, prediction in predictions.items():
            scores = score(prediction, target, source > 0, scan.tumor)
            rows.append({"kind": name, "seed": seed, "subject": scan.name, "scores": scores})
    return rows


def train_ours(config: ConfigDict, workdir: Path) -> Predict:
    """Trains LiFT-C as configured; FLAIR of a scan in [0, 1]."""
    train(config, workdir)
    trained = load_trained(workdir)

    def predict(scan: Scan) -> np.ndarray:
        return trained.predict(Subject(scan.name, {"T1": scan.images["t1n"]}, scan.affine), ["T1"], ["FLAIR"])["FLAIR"]

    return predict


def train_peer(kind: str, config: ConfigDict, workdir: Path) -> Predict:
    """Trains a U-Net for as many operations as the mixer with one cell; FLAIR of a scan in [0, 1]."""
    network, params = PEERS[kind](config)
    with_mixer = config.copy_and_resolve_references()
    with_mixer.model.mixer.kind = "gru"
    config.stage.joint.steps = config.checkpoint.every_steps = equal_steps(network, params, with_mixer)
    subjects = BoxedSubjects(subject_source(config.data, "train"))
    params = train_network(validate(config), workdir, network, params, subjects=subjects)
    protocol = channels_of(config.data).protocols["FLAIR"]

    def predict(scan: Scan) -> np.ndarray:
        source = scan.images["t1n"]
        box = foreground_box(source > 0).slices
        prediction = predict_volume(network, params, to_network(protocol, source[box]), 8)
        result = np.zeros_like(source)
        result[box] = np.where(source[box] > 0, from_network(protocol, prediction), 0)
        return result

    return predict


def oracles(prediction: np.ndarray, target: np.ndarray, brain: np.ndarray) -> dict[str, np.ndarray]:
    """The prediction after the scale and offset, of the volume and of each slice, that bring it nearest the truth."""
    by_slice = [_fitted(*slices) for slices in zip(prediction, target, brain, strict=True)]
    return dict(zip(ORACLES, (_fitted(prediction, target, brain), np.stack(by_slice)), strict=True))


def _fitted(prediction: np.ndarray, target: np.ndarray, brain: np.ndarray) -> np.ndarray:
    if brain.sum() < 100:  # too few voxels of brain to fit two numbers to
        return prediction
    scale, offset = np.polyfit(prediction[brain], target[brain], 1)
    return np.where(brain, np.clip(scale * prediction + offset, 0, 1), 0).astype(np.float32)


def table(rows: list[dict]) -> str:
    """Means by kind, and differences from the first kind paired by subject, as Markdown."""
    subjects = sorted({row["subject"] for row in rows})
    metrics = list(rows[0]["scores"])

    def values(kind: str, metric: str) -> np.ndarray:
        of_kind = [row for row in rows if row["kind"] == kind]
        return np.array(
            [np.mean([r["scores"][metric] for r in of_kind if r["subject"] == subject]) for subject in subjects]
        )

    kinds = [kind for kind in (*KINDS, *ORACLES) if any(row["kind"] == kind for row in rows)]
    lines = ["| | " + " | ".join(kinds) + " | " + " | ".join(f"{kind} - {kinds[0]}" for kind in kinds[1:]) + " |"]
    lines.append("|---" * (2 * len(kinds)) + "|")
    for metric in metrics:
        first = values(kinds[0], metric)
        cells = [mean_interval(values(kind, metric)) for kind in kinds]
        cells += [paired_difference(values(kind, metric), first) for kind in kinds[1:]]
        lines.append(f"| {metric} | " + " | ".join("{:.4g} [{:.4g}, {:.4g}]".format(*cell) for cell in cells) + " |")
    return "\n".join(lines) + "\n"


def main():
    """See the module's docstring."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", required=True)
    parser.add_argument("--workdir", type=Path, required=True)
    parser.add_argument("--output", type=Path, required=True, help="writes <output>.jsonl and <output>.md")
    parser.add_argument("--folds", type=int, default=5)
    parser.add_argument("--seeds", type=int, nargs="+", default=(0, 1))
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--spacing", type=float, default=2.0)
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=tuple(KINDS))
    parser.add_argument("--slices", type=int, default=32, help="of a training slab")
    parser.add_argument("--widths", type=int, nargs="+", default=(16, 32), help="of the slice translators")
    parser.add_argument("--crop", type=int, default=96, help="rows and columns of training slices")
    arguments = parser.parse_args()
    scans = [scan.resampled(arguments.spacing) for scan in read_scans(arguments.root)]
    output = arguments.output.with_suffix(".jsonl")
    output.parent.mkdir(parents=True, exist_ok=True)
    rows = [json.loads(line) for line in output.read_text().splitlines()] if output.exists() else []
    for seed in arguments.seeds:
        for fold in range(arguments.folds):
            for kind in arguments.kinds:
                held_out = {scan.name for scan in scans[fold :: arguments.folds]}
                if not held_out <= {r["subject"] for r in rows if (r["kind"], r["seed"]) == (kind, seed)}:
                    new = run(kind, seed, fold, scans, arguments)
                    with output.open("a") as file:
                        file.writelines(json.dumps(row) + "\n" for row in new)
                    rows += new
    text = f"n = {len({row['subject'] for row in rows})} scans, {arguments.folds} folds, {arguments.steps} steps.\n\n"
    arguments.output.with_suffix(".md").write_text(text + table(rows))
    print(text + table(rows))


if __name__ == "__main__":
    main()
