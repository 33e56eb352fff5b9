"""What each real subject buys: weights trained on phantoms, trained on with 1, 2, 4 and 8 subjects, T1 and FLAIR.

    python -m experiments.real_scans.fine_tuning --weights phantom-missing-mr --root DIR --workdir runs/fine_tuning \
        --output runs/fine_tuning/table

Folds are of every n-th subject by name. For each fold and count the weights are trained on with the first subjects of
the other folds, then both channels of the fold's subjects are predicted from each other and scored as in
`experiments.real_scans.levels`, on the grids of the scans. Resumable: scores are kept, one JSON line a volume.
"""

import argparse
import json
from pathlib import Path

import numpy as np
from ml_collections import ConfigDict

from experiments.real_scans.levels import score_scan
from experiments.real_scans.prediction import predictor
from experiments.real_scans.scans import Scan, read_scans
from lift_jax import run_directory
from lift_jax.data.slabs import RandomSlab, slab_size
from lift_jax.data.sources import subject_source
from lift_jax.evaluation.statistics import mean_interval, paired_difference
from lift_jax.trained import Trained, load_trained, trained_folder, write_weights
from lift_jax.training.inputs import cache_shared
from lift_jax.training.translation import loss_weights, train_stages, translation_loss

COLUMNS = ("model", "model, scale", "model, scale and offset", "best source", "linear combination")


def configuration(trained: Trained, names: list[str], split_file: Path, arguments) -> ConfigDict:
    """The run of the weights with real subjects in place of phantoms."""
    config = trained.config.copy_and_resolve_references()
    split_file.parent.mkdir(parents=True, exist_ok=True)
    split_file.write_text(json.dumps({"train": names, "validation": [], "test": []}))
    data = config.data
    data.dataset, data.root, data.split_file = "files", arguments.root, str(split_file)
    data.pattern = "{subject}/{channel}.nii.gz"
    data.channels = ConfigDict({"t1n": "mr_quantile", "t2f": "mr_quantile"})
    data.suffixes = ConfigDict({"t1n": "T1", "t2f": "FLAIR", "mask": "mask", "segmentation": "segmentation"})
    data.sources = data.targets = ("t1n", "t2f")
    data.size, data.gamma, data.cache = (0, 0, 0), 0.0, ""
    stage = config.stage.joint
    stage.steps = config.checkpoint.every_steps = config.log.validate_every_steps = arguments.steps
    stage.translator_learning_rate = stage.mixer_learning_rate = arguments.learning_rate
    config.optimizer.warmup_steps = 10
    return config


def fine_tune(trained: Trained, names: list[str], workdir: Path, arguments) -> Path:
    """Trains the weights on with the subjects of these names; the folder of the exported result."""
    config = configuration(trained, names, workdir / "split.json", arguments)
    run_directory.prepare(workdir, config)
    cached = cache_shared(subject_source(config.data, "train"), config, workdir)
    size = slab_size(cached, config.data.crop, trained.network.translator.multiple)
    params = train_stages(
        config,
        workdir,
        trained.params,
        cached,
        slab=lambda slices: RandomSlab(slices, size, trained.channels),
        loss=lambda use_mixer: translation_loss(
            trained.network, trained.channels, loss_weights(config.loss), use_mixer
        ),
        validate=lambda params: ({}, {}),
    )
    write_weights(workdir / "exported", params, json.loads(trained.config.to_json()), "joint", arguments.steps)
    return workdir / "exported"


def score_count(count: int, fold: int, scans: list[Scan], trained: Trained, arguments) -> list[dict]:
    """Rows of the fold's subjects by weights that were trained on with so many others; 0: as they are."""
    held_out = scans[fold :: arguments.folds]
    others = [scan.name for i, scan in enumerate(scans) if i % arguments.folds != fold]
    folder = trained_folder(arguments.weights)
    if count:
        folder = fine_tune(trained, others[:count], arguments.workdir / f"{count}-{fold}", arguments)
    predict = predictor(str(folder))
    return [row | {"count": count} for scan in held_out for row in score_scan(predict, scan)]


def table(rows: list[dict]) -> str:
    """Means over subjects of the mean over both channels, and what training on adds, paired, as Markdown."""
    subjects = sorted({row["subject"] for row in rows})

    def values(count: int, column: str) -> np.ndarray:
        chosen = [row for row in rows if row["count"] == count]
        return np.array(
            [np.mean([r["scores"][column]["psnr"] for r in chosen if r["subject"] == name]) for name in subjects]
        )

    lines = ["| subjects | " + " | ".join(COLUMNS) + " | model - before |", "|---" * (len(COLUMNS) + 2) + "|"]
    for count in sorted({row["count"] for row in rows}):
        cells = ["{:.2f} [{:.2f}, {:.2f}]".format(*mean_interval(values(count, column))) for column in COLUMNS]
        gain = paired_difference(values(count, "model"), values(0, "model")) if count else ()
        cells.append("{:+.2f} [{:+.2f}, {:+.2f}]".format(*gain) if count else "")
        lines.append(f"| {count} | " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def main():
    """See the module's docstring."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weights", required=True, help="name of shipped weights, or a work directory")
    parser.add_argument("--root", required=True)
    parser.add_argument("--workdir", type=Path, required=True)
    parser.add_argument("--output", type=Path, required=True, help="writes <output>.jsonl and <output>.md")
    parser.add_argument("--counts", type=int, nargs="+", default=(0, 1, 2, 4, 8))
    parser.add_argument("--folds", type=int, default=5)
    parser.add_argument("--steps", type=int, default=200)
    parser.add_argument("--learning_rate", type=float, default=3e-4)
    arguments = parser.parse_args()
    trained, scans = load_trained(trained_folder(arguments.weights)), list(read_scans(arguments.root))
    output = arguments.output.with_suffix(".jsonl")
    output.parent.mkdir(parents=True, exist_ok=True)
    rows = [json.loads(line) for line in output.read_text().splitlines()] if output.exists() else []
    for fold in range(arguments.folds):
        for count in arguments.counts:
            if scans[fold].name not in {row["subject"] for row in rows if row["count"] == count}:
                new = score_count(count, fold, scans, trained, arguments)
                with output.open("a") as file:
                    file.writelines(json.dumps(row) + "\n" for row in new)
                rows += new
    chosen = [row for row in rows if row["count"] in arguments.counts]
    text = f"PSNR (dB), n = {len(scans)} scans, {arguments.folds} folds, {arguments.steps} steps.\n\n{table(chosen)}"
    arguments.output.with_suffix(".md").write_text(text)
    print(text)


if __name__ == "__main__":
    main()
