"""How well runs of LiFT-C do with three sources, with two and with one, on the same held-out phantoms.

    python -m experiments.source_subsets --runs runs/translators/runs --names no_mixer stem_2 \
        --seeds 0 1 2 --output runs/source_subsets

Every contrast of every case is hidden in turn and predicted from three, two and one of the others; which ones is drawn
once for a case and contrast, and the same for all runs. A case's value is its mean over contrasts and seeds.
Differences from the first name are paired by case; intervals are percentile bootstraps over cases, 95 %.
"""

import argparse
import pathlib

import numpy as np
from tqdm import tqdm

from lift_jax.data.cases import CONTRASTS, Case
from lift_jax.data.sources import case_source
from lift_jax.evaluation.cost import hardware
from lift_jax.evaluation.held_out import other_contrasts
from lift_jax.evaluation.intervals import bootstrap_mean, paired_difference
from lift_jax.evaluation.scores import score_cwdm
from lift_jax.inference.complete import predict_contrasts
from lift_jax.places import write_aside
from lift_jax.trained import Trained, load_trained

METRICS = {"psnr": ("PSNR (dB)", 2), "delta_z_mae": ("Δz MAE", 4)}
COUNTS = (3, 2, 1)


def drawn_sources(case: Case, target: str, index: int) -> dict[int, np.ndarray]:
    """`{how many: available [C] bool}`, of the contrasts beside the target; each set holds the smaller ones."""
    others = np.flatnonzero(other_contrasts(case, target))
    order = np.random.default_rng((index, CONTRASTS.index(target))).permutation(others)
    return {count: np.isin(np.arange(len(CONTRASTS)), order[:count]) for count in COUNTS}


def score_case(trained: Trained, case: Case, index: int) -> dict[tuple[int, str], float]:
    """`{(how many sources, metric): mean over contrasts}`."""
    found = {(count, metric): [] for count in COUNTS for metric in METRICS}
    for name in trained.config.data.targets:
        channel = CONTRASTS.index(name)
        for count, available in drawn_sources(case, name, index).items():
            (made,) = predict_contrasts(trained.network, trained.params, case, available, [channel], **trained.options)
            shown = case.sources[..., available]
            scores = score_cwdm(case.targets[..., channel], made, shown, shown[..., 0])
            for metric in METRICS:
                found[count, metric].append(scores[metric])
    return {key: float(np.mean(values)) for key, values in found.items()}


def score_run(workdir: pathlib.Path, cases: int) -> dict[tuple[int, str], np.ndarray]:
    """`{(how many sources, metric): [cases]}`."""
    trained = load_trained(workdir)
    trained.config.data.cases.test = cases  # the last split: the others stay as they are
    source = case_source(trained.config.data, "test")
    rows = [
        score_case(trained, source.load(i), i) for i in tqdm(range(len(source.names)), desc=workdir.name, unit="case")
    ]
    return {key: np.array([row[key] for row in rows]) for key in rows[0]}


def table(found: dict[str, dict[tuple[int, str], np.ndarray]]) -> str:
    """Means, and differences from the first name, as Markdown."""
    columns = [(metric, count) for metric in METRICS for count in COUNTS]
    heading = [f"{METRICS[metric][0]}, {count} source{'s' * (count > 1)}" for metric, count in columns]
    lines = ["| | " + " | ".join(heading) + " |", "|---" * (len(columns) + 1) + "|"]

    def row(name, cells):
        lines.append(f"| {name} | " + " | ".join(cells) + " |")

    def told(interval, metric):
        return "{:.{d}f} [{:.{d}f}, {:.{d}f}]".format(*interval, d=METRICS[metric][1])

    first, *others = found
    for name, values in found.items():
        row(name, [told(bootstrap_mean(values[count, metric], seed=0), metric) for metric, count in columns])
    for name in others:
        pairs = [(found[name][count, metric], found[first][count, metric], metric) for metric, count in columns]
        row(f"**{name} - {first}**", [told(paired_difference(a, b, seed=0), metric) for a, b, metric in pairs])
    return "\n".join(lines)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=pathlib.Path, required=True, help="folder of work directories NAME-SEED")
    parser.add_argument("--names", nargs="+", required=True, help="the first is what the others are compared with")
    parser.add_argument("--seeds", type=int, nargs="+", default=(0,))
    parser.add_argument("--cases", type=int, default=32, help="held-out phantoms")
    parser.add_argument("--output", type=pathlib.Path, required=True, help="writes <output>.md")
    arguments = parser.parse_args()
    found = {}
    for name in arguments.names:
        runs = [score_run(arguments.runs / f"{name}-{seed}", arguments.cases) for seed in arguments.seeds]
        found[name] = {key: np.mean([run[key] for run in runs], axis=0) for key in runs[0]}
    facts = f"n = {arguments.cases} held-out phantoms, seeds {', '.join(map(str, arguments.seeds))}; {hardware()}."
    text = f"{facts}\n\n{table(found)}\n"
    write_aside(arguments.output.with_suffix(".md"), text)
    print(text)


if __name__ == "__main__":
    main()
