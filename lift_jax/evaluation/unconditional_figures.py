"""Pictures of sets of volumes: three planes of many, samples beside their neighbours, statistics along depth."""

import dataclasses
import io
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from lift_jax.evaluation.plane_features import PLANES
from lift_jax.evaluation.report_figures import LEFT_SIDES, RESOLUTION, SHADES, bounding_box, centre_of_mass, show_plane

PANEL_WIDTH = 1.3
"""Inches of a panel."""

COLOURS = ("#d1495b", "#2a6f97", "#8d6a9f", "#e09f3e")
"""Of the sets in a graph; the reference is black."""


@dataclasses.dataclass(frozen=True)
class View:
    """Where volumes of a grid are cut, one for all sets, so that pictures compare.

    Attributes:
      box: slices around all that real volumes show.
      centre: the voxel that the three planes go through.
      spacing: millimetres between voxels along `(z, y, x)`.
    """

    box: tuple[slice, ...]
    centre: list[int]
    spacing: tuple[float, float, float]


def view_of(region: np.ndarray, spacing: tuple[float, float, float]) -> View:
    """The view of a region `[D, H, W]` bool, such as `variety.brain_region` of real volumes."""
    return View(bounding_box(region, spacing), centre_of_mass(region), tuple(spacing))


def draw_volumes(columns: Sequence[tuple[str, np.ndarray]], view: View) -> bytes:
    """Volumes `[D, H, W]` in [0, 1] side by side under headings, in three planes, in radiological display: PNG."""
    depth, height, width = ((s.stop - s.start) * step for s, step in zip(view.box, view.spacing, strict=True))
    heights = [size * PANEL_WIDTH / max(width, height) for size in (height, depth, depth)]
    gap, left, top, bottom = 0.04, 0.3, 0.28, 0.06
    size = (left + len(columns) * (PANEL_WIDTH + gap), top + sum(heights) + 2 * gap + bottom)
    figure = Figure(figsize=size, facecolor="white")
    FigureCanvasAgg(figure)
    for axis, plane in enumerate(PLANES):
        low = size[1] - top - sum(heights[: axis + 1]) - axis * gap
        for column, (name, volume) in enumerate(columns):
            x = left + column * (PANEL_WIDTH + gap)
            place = (x / size[0], low / size[1], PANEL_WIDTH / size[0], heights[axis] / size[1])
            axes = figure.add_axes(place)
            show_plane(axes, volume, axis, view.box, view.centre[axis], view.spacing, SHADES)
            axes.set_title(name if axis == 0 else "", fontsize=8, pad=4)
            if column == 0:
                axes.set_ylabel(plane, fontsize=8)
                axes.annotate(LEFT_SIDES[plane], (0.03, 0.04), xycoords="axes fraction", color="white", fontsize=8)
    return _png(figure)


def draw_depth_profiles(sets: Mapping[str, np.ndarray], reference: str, region: np.ndarray) -> bytes:
    """Three graphs over depth, of every set: mean of the slice, its spread over volumes, and its step to the next: PNG.

    Args:
      sets: volumes `[N, D, H, W]` by name, the reference's among them.
      reference: the name of the real volumes.
      region: `[D, H, W]` bool, where slices are averaged.
    """
    figure = Figure(figsize=(10.5, 3.4), facecolor="white", layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(1, 3)
    colours = iter(COLOURS * len(sets))
    for name, volumes in sets.items():
        style = {"color": "#111111" if name == reference else next(colours), "linewidth": 1.6, "label": name}
        profiles, steps = slice_means(volumes, region), slice_means(np.abs(np.diff(volumes, axis=1)), region[1:])
        mean, spread = profiles.mean(0), profiles.std(0, ddof=1)
        slices = np.arange(len(mean))
        panels[0].plot(slices, mean, **style)
        panels[0].fill_between(slices, mean - spread, mean + spread, color=style["color"], alpha=0.15, linewidth=0)
        panels[1].plot(slices, spread, **style)
        panels[2].plot(slices[1:], steps.mean(0), **style)
    titles = ("mean of the slice ± spread", "spread of that mean over volumes", "mean |Δz| from the slice before")
    for axes, title in zip(panels, titles, strict=True):
        _finish(axes, title)
    panels[0].legend(fontsize=8, frameon=False)
    return _png(figure)


def slice_means(volumes, region: np.ndarray) -> np.ndarray:
    """Means of every axial slice within a region: `[N, D, H, W], [D, H, W] -> [N, D]`, nan where it is empty."""
    voxels = region.sum((1, 2))
    sums = np.einsum("ndhw,dhw->nd", np.asarray(volumes, np.float64), region.astype(np.float64))
    return np.divide(sums, voxels, out=np.full(sums.shape, np.nan), where=voxels > 0)


def _finish(axes: Axes, title: str) -> None:
    axes.set_title(title, fontsize=10)
    axes.set_xlabel("axial slice, inferior to superior", fontsize=9)
    axes.tick_params(labelsize=8)
    axes.grid(color="#e8eaed", linewidth=0.6)
    axes.spines[["top", "right"]].set_visible(False)


def _png(figure: Figure) -> bytes:
    written = io.BytesIO()
    figure.savefig(written, format="png", dpi=RESOLUTION)
    return written.getvalue()
