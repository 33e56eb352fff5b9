"""How well runs of LiFT-C do with three sources, with two and with one, on the same held-out phantoms.

    python -m experiments.source_subsets --runs runs/translators/runs --names no_mixer stem_2 \
        --seeds 0 1 2 --output runs/source_subsets

Every channel of every subject is hidden in turn and predicted from three, two and one of the others; which ones is
drawn once for a subject and channel, and the same for all runs. A subject's value is its mean over channels and
seeds. Differences from the first name are paired by subject; intervals are of Student's t over subjects, 95 %.
"""

import argparse
import pathlib
from collections.abc import Sequence

import numpy as np

from lift_jax.data.sources import subject_source
from lift_jax.evaluation.cost import hardware
from lift_jax.evaluation.leave_one_channel_out import HiddenChannel, hidden_channels, scored_channel
from lift_jax.evaluation.scores import score_prediction
from lift_jax.evaluation.statistics import mean_interval, paired_difference
from lift_jax.paths import atomic_write
from lift_jax.progress import progress
from lift_jax.trained import Trained, load_trained

METRICS = {"psnr": ("PSNR (dB)", 2), "delta_z_mae": ("Δz MAE", 4)}
COUNTS = (3, 2, 1)


def drawn_sources(others: Sequence[str], seed: Sequence[int]) -> dict[int, tuple[str, ...]]:
    """`{how many: names}` of the channels beside the target, in their order; each set holds the smaller ones."""
    order = np.random.default_rng(seed).permutation(len(others))
    return {count: tuple(others[i] for i in sorted(order[:count])) for count in COUNTS}


def score_hidden(trained: Trained, hidden: HiddenChannel, seed: Sequence[int]) -> dict[tuple[int, str], float]:
    """`{(how many sources, metric): value}` of one hidden channel."""
    found, subject, target = {}, hidden.subject, hidden.target
    for count, sources in drawn_sources(hidden.sources, seed).items():
        prediction = trained.predict(subject, sources, [target])[target]
        truth = scored_channel(trained.channels.protocols, target, hidden.truth.target, subject, sources, None)
        scores = score_prediction(truth, prediction)
        found |= {(count, metric): scores[metric] for metric in METRICS}
    return found


def score_run(workdir: pathlib.Path, count: int) -> dict[tuple[int, str], np.ndarray]:
    """`{(how many sources, metric): [subjects]}`, means over channels."""
    trained = load_trained(workdir)
    trained.config.data.subjects.test = count  # the last split: the others stay as they are
    subjects = subject_source(trained.config.data, "test")
    rows = []
    for index in progress(range(count), description=workdir.name, unit="subject"):
        hidden = enumerate(hidden_channels(subjects, index, trained.channels))
        scores = [score_hidden(trained, each, (index, number)) for number, each in hidden]
        rows.append({key: np.mean([row[key] for row in scores]) for key in scores[0]})
    return {key: np.array([row[key] for row in rows]) for key in rows[0]}


def table(found: dict[str, dict[tuple[int, str], np.ndarray]]) -> str:
    """Means, and differences from the first name, as Markdown."""
    columns = [(metric, count) for metric in METRICS for count in COUNTS]
    heading = [f"{METRICS[metric][0]}, {count} source{'s' * (count > 1)}" for metric, count in columns]
    lines = ["| | " + " | ".join(heading) + " |", "|---" * (len(columns) + 1) + "|"]

    def row(name, cells):
        lines.append(f"| {name} | " + " | ".join(cells) + " |")

    def cell(interval, metric):
        return "{:.{d}f} [{:.{d}f}, {:.{d}f}]".format(*interval, d=METRICS[metric][1])

    first, *others = found
    for name, values in found.items():
        row(name, [cell(mean_interval(values[count, metric]), metric) for metric, count in columns])
    for name in others:
        pairs = [(found[name][count, metric], found[first][count, metric], metric) for metric, count in columns]
        row(f"**{name} - {first}**", [cell(paired_difference(a, b), metric) for a, b, metric in pairs])
    return "\n".join(lines)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=pathlib.Path, required=True, help="folder of work directories NAME-SEED")
    parser.add_argument("--names", nargs="+", required=True, help="the first is what the others are compared with")
    parser.add_argument("--seeds", type=int, nargs="+", default=(0,))
    parser.add_argument("--subjects", type=int, default=32, help="held-out phantoms")
    parser.add_argument("--output", type=pathlib.Path, required=True, help="writes <output>.md")
    arguments = parser.parse_args()
    found = {}
    for name in arguments.names:
        runs = [score_run(arguments.runs / f"{name}-{seed}", arguments.subjects) for seed in arguments.seeds]
        found[name] = {key: np.mean([run[key] for run in runs], axis=0) for key in runs[0]}
    summary = f"n = {arguments.subjects} held-out phantoms, seeds {', '.join(map(str, arguments.seeds))}; {hardware()}."
    text = f"{summary}\n\n{table(found)}\n"
    atomic_write(arguments.output.with_suffix(".md"), text)
    print(text)


if __name__ == "__main__":
    main()
