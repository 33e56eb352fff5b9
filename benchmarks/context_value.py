"""What context along depth is worth, on phantoms: no mixer, the mixer, and an oracle, at equal steps.

    python -m benchmarks.context_value --workdir runs/context_value --output docs/context_value

Trains the quickstart in three kinds from several seeds, each run resumable, then scores all on the same held-out
phantoms. The oracle has no mixer but is told the true acquisition parameters that its volume's contrasts share and the
true gain of each slice: it shows how much there is to gain. Differences are paired by case (a case's value is its mean
over contrasts and seeds); intervals are percentile bootstraps over cases, 95 %.
"""

import argparse
import json
import pathlib

import numpy as np

from configs import quickstart
from lift_jax.configuration import validate
from lift_jax.data.sources import case_source
from lift_jax.evaluation.cost import hardware
from lift_jax.evaluation.intervals import LEVEL
from lift_jax.evaluation.runs import score_run
from lift_jax.evaluation.scores import MODEL
from lift_jax.places import write_aside
from lift_jax.trained import load_trained
from lift_jax.training.run import train

KINDS = ("no_mixer", "mixer", "oracle")
METRICS = {"psnr": "PSNR (dB)", "psnr_brain": "PSNR, brain (dB)", "ssim": "SSIM", "delta_z_mae": "Δz MAE"}


def configuration(kind: str, seed: int, steps: int, volumes: int, cases: int, cache: str):
    """The quickstart of one kind and seed; kinds differ in nothing else."""
    config = quickstart.get_config()
    config.seed = seed
    config.model.mixer.kind = "gru" if kind == "mixer" else "none"
    config.model.oracle = "acquisition" if kind == "oracle" else ""
    config.data.cases.train = volumes
    config.data.cases.test = cases
    config.data.cache = cache
    config.stage.joint.steps = steps
    config.log.validate = steps
    return validate(config)


def scores(workdir: pathlib.Path) -> dict[str, np.ndarray]:
    """Each metric of a trained run's model and of copying, `{method: {metric: [cases, contrasts]}}`; kept on disk."""
    path = workdir / "scores.json"
    if not path.exists():
        trained = load_trained(workdir)
        rows, _ = score_run(trained, case_source(trained.config.data, "test"))
        write_aside(path, json.dumps(rows))
    rows = json.loads(path.read_text())
    cases, contrasts = (list(dict.fromkeys(row[key] for row in rows)) for key in ("case", "contrast"))
    table = {}
    for method in dict.fromkeys(row["method"] for row in rows):
        chosen = {(row["case"], row["contrast"]): row for row in rows if row["method"] == method}
        table[method] = {m: np.array([[chosen[c, k][m] for k in contrasts] for c in cases]) for m in METRICS}
    return table


def summarise(tables: dict[str, list[dict]], contrasts) -> str:
    """The study as Markdown."""
    methods = {kind: {m: np.mean([t[MODEL][m] for t in tables[kind]], axis=0) for m in METRICS} for kind in KINDS}
    baselines = {name: values for name, values in tables["mixer"][0].items() if name != MODEL}
    generator = np.random.default_rng(0)
    count = len(methods["mixer"]["psnr"])
    draws = generator.integers(count, size=(10_000, count))
    ends = [50 * (1 - LEVEL), 50 * (1 + LEVEL)]

    def interval(values, digits):
        low, high = np.percentile(values[draws].mean(1), ends)
        return f"{values.mean():.{digits}f} [{low:.{digits}f}, {high:.{digits}f}]"

    lines = ["| | " + " | ".join(METRICS.values()) + " |", "|---|" + "---|" * len(METRICS)]
    for name, values in {**baselines, **methods}.items():
        cells = [interval(values[m].mean(1), 2 if "psnr" in m else 4) for m in METRICS]
        lines.append(f"| {name.replace('_', ' ')} | " + " | ".join(cells) + " |")
    for name, (a, b) in {
        "mixer - no mixer": ("mixer", "no_mixer"),
        "oracle - no mixer": ("oracle", "no_mixer"),
    }.items():
        cells = [interval((methods[a][m] - methods[b][m]).mean(1), 2 if "psnr" in m else 4) for m in METRICS]
        lines.append(f"| **{name}** | " + " | ".join(cells) + " |")
    cells = []
    for m in METRICS:
        gain, ceiling = ((methods[k][m] - methods["no_mixer"][m]).mean(1) for k in ("mixer", "oracle"))
        ratios = gain[draws].mean(1) / ceiling[draws].mean(1)
        low, high = np.percentile(ratios, ends)
        cells.append(f"{gain.mean() / ceiling.mean():.0%} [{low:.0%}, {high:.0%}]")
    lines.append("| **share of the oracle's gain** | " + " | ".join(cells) + " |")
    lines += ["", "By contrast and by seed, mixer - no mixer / oracle - no mixer:", ""]
    lines += ["| | " + " | ".join(METRICS.values()) + " |", "|---|" + "---|" * len(METRICS)]
    for k, contrast in enumerate(contrasts):
        cells = [
            " / ".join(f"{(methods[a][m] - methods['no_mixer'][m])[:, k].mean():+.4g}" for a in ("mixer", "oracle"))
            for m in METRICS
        ]
        lines.append(f"| {contrast} | " + " | ".join(cells) + " |")
    for s in range(len(tables["mixer"])):
        cells = [
            " / ".join(
                f"{(tables[a][s][MODEL][m] - tables['no_mixer'][s][MODEL][m]).mean():+.4g}" for a in ("mixer", "oracle")
            )
            for m in METRICS
        ]
        lines.append(f"| seed {s} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workdir", type=pathlib.Path, required=True)
    parser.add_argument("--output", type=pathlib.Path, help="writes <output>.md; without it, trains only")
    parser.add_argument("--kinds", nargs="+", default=KINDS, choices=KINDS)
    parser.add_argument("--seeds", type=int, nargs="+", default=(0, 1, 2))
    parser.add_argument("--steps", type=int, default=quickstart.get_config().stage.joint.steps)
    parser.add_argument("--volumes", type=int, default=quickstart.get_config().data.cases.train, help="to train on")
    parser.add_argument("--cases", type=int, default=32, help="held-out phantoms")
    arguments = parser.parse_args()
    tables = {}
    for seed in arguments.seeds:
        for kind in arguments.kinds:
            workdir = arguments.workdir / f"{kind}-{seed}"
            cache = str(arguments.workdir / "cache")
            config = configuration(kind, seed, arguments.steps, arguments.volumes, arguments.cases, cache)
            train(config, workdir)
            tables.setdefault(kind, []).append(scores(workdir))
    if arguments.output:
        facts = (
            f"Phantoms, {config.data.shape[0]}³ at {config.data.spacing:g} mm, n = {arguments.cases} held out, "
            f"{len(arguments.seeds)} seeds, {arguments.steps} steps each of {config.stage.joint.batch} of "
            f"{arguments.volumes} volumes, "
            f"widths {tuple(config.model.translator.widths)}, cWDM protocol, each contrast from the other three; "
            f"{hardware()}."
        )
        options = {"seeds": arguments.seeds, "steps": [arguments.steps], "volumes": [arguments.volumes]}
        options = " ".join(f"--{name} {' '.join(map(str, values))}" for name, values in options.items())
        command = f"python -m benchmarks.context_value {options} --cases {arguments.cases}"
        text = f"{facts}\n`{command}`\n\n{summarise(tables, config.data.targets)}\n"
        write_aside(arguments.output.with_suffix(".md"), text)
        print(text)


if __name__ == "__main__":
    main()
