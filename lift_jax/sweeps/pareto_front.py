"""What variants are worth against what they cost: a point each, and the front that none lies beyond."""

import io
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import LogFormatter

from lift_jax.evaluation.aggregates import Column, Estimate
from lift_jax.evaluation.report.planes import RESOLUTION
from lift_jax.sweeps.curves import COLORS


def front(costs: Sequence[float], values: Sequence[float], higher_is_better: bool) -> list[int]:
    """The places, cheapest first, of those that are better than everything that costs no more (the Pareto front)."""
    worth = np.asarray(values) * (1 if higher_is_better else -1)
    best, places = -np.inf, []
    for place in sorted(range(len(costs)), key=lambda i: (costs[i], -worth[i])):
        if worth[place] > best:
            best = worth[place]
            places.append(place)
    return places


def draw_tradeoff(
    cost: Column,
    costs: Mapping[str, float],
    metrics: Sequence[Column],
    estimates: Mapping[str, Mapping[str, Estimate]],
) -> bytes:
    """A graph for every metric over a cost on a logarithmic axis, with intervals, and the front as a line: PNG.

    Args:
      cost: what it is.
      costs: of every variant, above 0.
      metrics: what variants are worth.
      estimates: `estimates[metric][variant]`.
    """
    figure = Figure(figsize=(5.2 * len(metrics), 4.0), facecolor="white", layout="constrained")
    FigureCanvasAgg(figure)
    for axes, metric in zip(figure.subplots(1, len(metrics), squeeze=False)[0], metrics, strict=True):
        own = {name: e for name, e in estimates[metric.key].items() if e.n and name in costs}
        names, values = list(own), [e.mean for e in own.values()]
        places = front([costs[name] for name in names], values, metric.higher_is_better)
        axes.plot([costs[names[i]] for i in places], [values[i] for i in places], color="#c9ced6", linewidth=1.5)
        for i, (name, estimate) in enumerate(own.items()):
            ends = [[max(estimate.mean - estimate.low, 0)], [max(estimate.high - estimate.mean, 0)]]
            error = ends if np.isfinite(ends).all() else None
            style = {"color": COLORS[i % len(COLORS)], "markersize": 4, "linewidth": 0.8}
            axes.errorbar(costs[name], estimate.mean, yerr=error, fmt="o", **style)
            axes.annotate(name, (costs[name], estimate.mean), (4, 3), textcoords="offset points", fontsize=7)
        axes.set_xscale("log")
        axes.xaxis.set_major_formatter(LogFormatter())
        axes.xaxis.set_minor_formatter(LogFormatter(minor_thresholds=(2, 0.5)))
        axes.set_xlabel(cost.label, fontsize=8)
        axes.set_title(metric.label, fontsize=9)
        axes.tick_params(which="both", labelsize=7)
        axes.margins(x=0.15)
        axes.grid(color="#e8eaed", linewidth=0.6)
        axes.spines[["top", "right"]].set_visible(False)
    written = io.BytesIO()
    figure.savefig(written, format="png", dpi=RESOLUTION)
    return written.getvalue()
