"""Whether the standard deviation over views knows the error, on a run's held-out phantoms.

    python -m benchmarks.uncertainty --workdir runs/quickstart --cases 32 --output docs/uncertainty

Each contrast is hidden in turn and predicted from all others, with its standard deviation (see
`lift_jax.inference.uncertainty`), which is compared with the absolute error in the brain: correlations, and the mean
error of what is kept when the most uncertain voxels are put aside. Means over cases, with 95 % t-intervals. The
same for the prediction itself, taken for an uncertainty: brighter voxels have larger errors, and that is soon known.
`over cases` is the rank correlation of the means over whole brains: which volume is wrong, and not where.
"""

import argparse
import io
import pathlib

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from lift_jax.data.cases import CONTRASTS, Case
from lift_jax.data.sources import case_source
from lift_jax.evaluation.held_out import other_contrasts
from lift_jax.evaluation.inputs import pearson
from lift_jax.evaluation.intervals import mean_interval
from lift_jax.evaluation.uncertainty import rank_correlation, retention_curve
from lift_jax.inference.uncertainty import predict_with_deviation
from lift_jax.places import write_aside
from lift_jax.trained import Trained, for_inference, load_trained

FRACTIONS = np.linspace(0.05, 1, 20)
CURVES = {"standard deviation": "#2a6f97", "intensity": "#e09f3e", "the error itself": "#8d6a9f"}


def look(trained: Trained, case: Case, contrast: str, passes: int) -> dict[str, float | np.ndarray]:
    """Correlations, and retention curves relative to the mean error, of a hidden contrast of a case."""
    available, channel = other_contrasts(case, contrast), CONTRASTS.index(contrast)
    options = {"oracle": trained.config.model.oracle, **trained.options}
    (prediction,), (deviation,) = predict_with_deviation(
        trained.network, trained.params, case, available, [channel], passes, **options
    )
    brain = (case.sources[..., available] > 0).any(axis=-1)
    error = np.abs(prediction - case.targets[..., channel])[brain].astype(np.float64)
    samples = dict(zip(CURVES, (deviation[brain], prediction[brain], error), strict=True))
    return {
        "error": error.mean(),
        "deviation": deviation[brain].mean(),
        "pearson": pearson(error, deviation[brain].astype(np.float64)),
        "rank": rank_correlation(error, deviation[brain]),
        "rank of intensity": rank_correlation(error, prediction[brain]),
        **{name: retention_curve(error, values, FRACTIONS) / error.mean() for name, values in samples.items()},
    }


def table(found: dict[str, list[dict]]) -> str:
    """A row of Markdown for each contrast."""
    half = int(np.argmin(np.abs(FRACTIONS - 0.5)))
    keys = ("error", "deviation", "pearson", "rank", "rank of intensity")
    heading = ["", *keys, "over cases", *(f"error of half, kept by {name}" for name in CURVES)]
    lines = ["| " + " | ".join(heading) + " |", "|---" * len(heading) + "|"]
    for contrast, rows in found.items():
        values = [[row[key] for row in rows] for key in keys] + [[row[name][half] for row in rows] for name in CURVES]
        cells = [f"{c.mean:.3f} [{c.low:.3f}, {c.high:.3f}]" for c in (mean_interval(each) for each in values)]
        cells.insert(len(keys), f"{rank_correlation(*values[:2]):.3f}")
        lines.append(f"| {contrast} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def draw(found: dict[str, list[dict]]) -> bytes:
    """The retention curves of all contrasts side by side: PNG."""
    figure = Figure(figsize=(2.4 * len(found) + 0.6, 2.8), facecolor="white", layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(1, len(found), sharey=True, squeeze=False)[0]
    for axes, (contrast, rows) in zip(panels, found.items(), strict=True):
        axes.axhline(1, color="black", linewidth=0.8, label="no choice")
        for name, colour in CURVES.items():
            axes.plot(FRACTIONS, np.mean([row[name] for row in rows], axis=0), color=colour, label=f"by {name}")
        axes.set_title(contrast, fontsize=9)
        axes.set_xlabel("share of voxels kept", fontsize=8)
        axes.tick_params(labelsize=8)
    panels[0].set_ylabel("mean error of these / of all", fontsize=8)
    panels[0].legend(fontsize=7, frameon=False)
    png = io.BytesIO()
    figure.savefig(png, format="png", dpi=130)
    return png.getvalue()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workdir", type=pathlib.Path, required=True)
    parser.add_argument("--cases", type=int, default=8, help="held-out phantoms")
    parser.add_argument("--passes", type=int, default=8, help="views of a case, 8 at most")
    parser.add_argument("--output", type=pathlib.Path, required=True, help="writes <output>.md and <output>.png")
    arguments = parser.parse_args()
    trained = for_inference(load_trained(arguments.workdir))
    data = trained.config.data
    data.cases.test = max(data.cases.test, arguments.cases)  # the last split: the others stay as they are
    cases = case_source(data, "test")
    found = {contrast: [] for contrast in data.targets}
    for index in range(min(arguments.cases, len(cases.names))):
        case = cases.load(index)
        for contrast in data.targets:
            found[contrast].append(look(trained, case, contrast, arguments.passes))
    facts = f"n = {len(found[contrast])} cases, {arguments.passes} views; errors in [0, 1], in the brain."
    text = f"{facts}\n\n{table(found)}\n"
    write_aside(arguments.output.with_suffix(".md"), text)
    arguments.output.with_suffix(".png").write_bytes(draw(found))
    print(text)


if __name__ == "__main__":
    main()
