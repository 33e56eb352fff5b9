"""Figures of a sweep: learning curves of every stage, and metrics against cost."""

import math
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.ticker import LogFormatter, MaxNLocator

from lift_jax.evaluation.report.planes import new_figure, png_bytes
from lift_jax.evaluation.statistics import Column, Estimate

PLOTS_PER_ROW = 4
"""Plots in a row."""

COLORS = (
    *("#111111", "#d1495b", "#2a6f97", "#e09f3e", "#8d6a9f", "#3c8d5a"),
    *("#7f5539", "#00a6a6", "#c77dff", "#6c757d", "#b5179e", "#90be6d"),
)
"""Of the variants, the base first; they begin anew after the last, with dashes."""

Curve = Sequence[tuple[int, float]]
"""`[(step, value), …]`."""


def draw_curves(curves: Mapping[str, Mapping[str, Sequence[Curve]]], names: Sequence[str]) -> bytes:
    """PNG of a plot over steps for every number: the mean over seeds as a line for every variant, seeds thin behind it.

    Args:
      curves: `curves[number][variant]`, one curve a seed.
      names: all variants, in the order of the colors.
    """
    rows, columns = math.ceil(len(curves) / PLOTS_PER_ROW), min(PLOTS_PER_ROW, len(curves))
    figure = new_figure(3.4 * columns, 2.5 * rows + 0.6, layout="constrained")
    panels = figure.subplots(rows, columns, squeeze=False).ravel()
    lines = {}
    for axes in panels[len(curves) :]:
        axes.set_visible(False)
    for axes, (number, variants) in zip(panels, curves.items(), strict=False):
        for variant, seeds in variants.items():
            repeat, color = divmod(names.index(variant), len(COLORS))
            style = {"color": COLORS[color], "linestyle": ("-", "--", ":")[repeat % 3]}
            for curve in seeds if len(seeds) > 1 else ():
                axes.plot(*zip(*curve, strict=True), **style, linewidth=0.5, alpha=0.35)
            marker = "o" if max(len(curve) for curve in seeds) == 1 else None
            lines[variant] = axes.plot(*mean_curve(seeds), **style, linewidth=1.5, marker=marker, markersize=3)[0]
        axes.xaxis.set_major_locator(MaxNLocator(5, integer=True))
        _finish(axes, number)
    ordered = sorted(lines, key=names.index)
    handles, count = [lines[name] for name in ordered], min(6, len(ordered))
    figure.legend(handles, ordered, loc="outside lower center", ncols=count, fontsize=8, frameon=False)
    return png_bytes(figure)


def mean_curve(seeds: Sequence[Curve]) -> tuple[list[int], list[float]]:
    """Steps and the mean over seeds, at the steps that all of them logged."""
    values = [dict(curve) for curve in seeds]
    steps = sorted(set.intersection(*(set(of_seed) for of_seed in values)))
    return steps, [float(np.mean([of_seed[step] for of_seed in values])) for step in steps]


def pareto_front(costs: Sequence[float], values: Sequence[float], higher_is_better: bool) -> list[int]:
    """The indices, cheapest first, of those that are better than everything that costs no more."""
    quality = np.asarray(values) * (1 if higher_is_better else -1)
    best, indices = -np.inf, []
    for index in sorted(range(len(costs)), key=lambda i: (costs[i], -quality[i])):
        if quality[index] > best:
            best = quality[index]
            indices.append(index)
    return indices


def draw_quality_and_cost(
    cost: Column,
    costs: Mapping[str, float],
    metrics: Sequence[Column],
    estimates: Mapping[str, Mapping[str, Estimate]],
) -> bytes:
    """PNG of a plot for every metric over a cost on a logarithmic axis, with intervals and the Pareto front.

    Args:
      cost: what it is.
      costs: of every variant, above 0.
      metrics: the quality of variants.
      estimates: `estimates[metric][variant]`.
    """
    figure = new_figure(5.2 * len(metrics), 4.0, layout="constrained")
    for axes, metric in zip(figure.subplots(1, len(metrics), squeeze=False)[0], metrics, strict=True):
        own = {name: e for name, e in estimates[metric.key].items() if e.n and name in costs}
        x, values = [costs[name] for name in own], [e.mean for e in own.values()]
        front = pareto_front(x, values, metric.higher_is_better)
        axes.plot([x[i] for i in front], [values[i] for i in front], color="#c9ced6", linewidth=1.5)
        for i, (name, estimate) in enumerate(own.items()):
            ends = [[max(estimate.mean - estimate.low, 0)], [max(estimate.high - estimate.mean, 0)]]
            error = ends if np.isfinite(ends).all() else None
            color = COLORS[i % len(COLORS)]
            axes.errorbar(x[i], values[i], yerr=error, fmt="o", color=color, markersize=4, linewidth=0.8)
            axes.annotate(name, (x[i], values[i]), (4, 3), textcoords="offset points", fontsize=7)
        axes.set_xscale("log")
        axes.xaxis.set_major_formatter(LogFormatter())
        axes.xaxis.set_minor_formatter(LogFormatter(minor_thresholds=(2, 0.5)))
        axes.set_xlabel(cost.label, fontsize=8)
        axes.margins(x=0.15)
        _finish(axes, metric.label)
    return png_bytes(figure)


def _finish(axes: Axes, title: str) -> None:
    axes.set_title(title, fontsize=9)
    axes.tick_params(which="both", labelsize=7)
    axes.grid(color="#e8eaed", linewidth=0.6)
    axes.spines[["top", "right"]].set_visible(False)
