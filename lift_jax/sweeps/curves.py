"""Learning curves of a sweep as pictures: a graph for every logged number of a stage, a line for every variant."""

import io
import math
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from lift_jax.evaluation.report.planes import RESOLUTION

COLUMNS = 4
"""Graphs in a row."""

COLORS = (
    "#111111",
    "#d1495b",
    "#2a6f97",
    "#e09f3e",
    "#8d6a9f",
    "#3c8d5a",
    "#7f5539",
    "#00a6a6",
    "#c77dff",
    "#6c757d",
    "#b5179e",
    "#90be6d",
)
"""Of the variants, the base first; they begin anew after the last, with dashes."""

Curve = Sequence[tuple[int, float]]
"""`[(step, value), …]`."""


def draw_curves(curves: Mapping[str, Mapping[str, Sequence[Curve]]], names: Sequence[str]) -> bytes:
    """A graph over steps for every number: the mean over seeds as a line for every variant, seeds thin behind it: PNG.

    Args:
      curves: `curves[number][variant]`, one curve a seed.
      names: all variants, in the order of the colors.
    """
    rows = math.ceil(len(curves) / COLUMNS)
    columns = min(COLUMNS, len(curves))
    figure = Figure(figsize=(3.4 * columns, 2.5 * rows + 0.6), facecolor="white", layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(rows, columns, squeeze=False).ravel()
    lines = {}
    for axes, (number, variants) in zip(panels, curves.items(), strict=False):
        for variant, seeds in variants.items():
            style = _style(names.index(variant))
            for curve in seeds if len(seeds) > 1 else ():
                axes.plot(*zip(*curve, strict=True), **style, linewidth=0.5, alpha=0.35)
            marker = "o" if max(len(curve) for curve in seeds) == 1 else None
            lines[variant] = axes.plot(*mean_curve(seeds), **style, linewidth=1.5, marker=marker, markersize=3)[0]
        axes.set_title(number, fontsize=9)
        axes.tick_params(labelsize=7)
        axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
        axes.grid(color="#e8eaed", linewidth=0.6)
        axes.spines[["top", "right"]].set_visible(False)
    for axes in panels[len(curves) :]:
        axes.set_visible(False)
    ordered = sorted(lines, key=names.index)
    figure.legend(
        [lines[name] for name in ordered],
        ordered,
        loc="outside lower center",
        ncols=min(6, len(ordered)),
        fontsize=8,
        frameon=False,
    )
    written = io.BytesIO()
    figure.savefig(written, format="png", dpi=RESOLUTION)
    return written.getvalue()


def mean_curve(seeds: Sequence[Curve]) -> tuple[list[int], list[float]]:
    """Steps and the mean over seeds, at the steps that all of them logged."""
    values = [dict(curve) for curve in seeds]
    steps = sorted(set.intersection(*(set(of_seed) for of_seed in values)))
    return steps, [float(np.mean([of_seed[step] for of_seed in values])) for step in steps]


def _style(place: int) -> dict:
    return {"color": COLORS[place % len(COLORS)], "linestyle": ("-", "--", ":")[place // len(COLORS) % 3]}
