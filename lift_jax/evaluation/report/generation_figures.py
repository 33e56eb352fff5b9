"""Figures of sets of volumes: three planes of many, and statistics over depth."""

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes

from lift_jax.evaluation.metrics.plane_features import PLANES
from lift_jax.evaluation.report.planes import (
    LEFT_SIDES,
    Box,
    bounding_box,
    center_of_mass,
    new_figure,
    panel_heights,
    png_bytes,
    show_plane,
)

PANEL_WIDTH = 1.3
"""Width of a panel in inches."""

COLORS = ("#d1495b", "#2a6f97", "#8d6a9f", "#e09f3e")
"""Colors of the sets in a plot; the reference is black."""

GRAYS = {"cmap": "gray", "vmin": 0.0, "vmax": 1.0}


@dataclasses.dataclass(frozen=True)
class View:
    """Where volumes on one grid are cut, the same for all sets.

    Attributes:
      box: slices around the region that is shown.
      center: the voxel that the three planes go through.
      spacing: voxel size in mm along `(D, H, W)`.
    """

    box: Box
    center: list[int]
    spacing: tuple[float, float, float]


def view_of(region: np.ndarray, spacing: tuple[float, float, float]) -> View:
    """The view of a region `[D, H, W]` bool, such as `variety.brain_region` of real volumes."""
    return View(bounding_box(region, spacing), center_of_mass(region), tuple(spacing))


def draw_volumes(columns: Sequence[tuple[str, np.ndarray]], view: View) -> bytes:
    """PNG of volumes `[D, H, W]` in [0, 1] side by side under headings, in three planes, in radiological display."""
    heights = panel_heights(view.box, view.spacing, PANEL_WIDTH)
    gap, left, top, bottom = 0.04, 0.3, 0.28, 0.06
    size = (left + len(columns) * (PANEL_WIDTH + gap), top + sum(heights) + 2 * gap + bottom)
    figure = new_figure(*size)
    for axis, plane in enumerate(PLANES):
        low = size[1] - top - sum(heights[: axis + 1]) - axis * gap
        for column, (name, volume) in enumerate(columns):
            x = left + column * (PANEL_WIDTH + gap)
            axes = figure.add_axes((x / size[0], low / size[1], PANEL_WIDTH / size[0], heights[axis] / size[1]))
            show_plane(axes, volume, axis, view.box, view.center[axis], view.spacing, GRAYS)
            axes.set_title(name if axis == 0 else "", fontsize=8, pad=4)
            if column == 0:
                axes.set_ylabel(plane, fontsize=8)
                axes.annotate(LEFT_SIDES[plane], (0.03, 0.04), xycoords="axes fraction", color="white", fontsize=8)
    return png_bytes(figure)


def draw_depth_profiles(sets: Mapping[str, np.ndarray], reference: str, region: np.ndarray) -> bytes:
    """PNG of three plots over depth for every set: slice mean, its standard deviation over volumes, and mean |Δz|.

    Args:
      sets: volumes `[N, D, H, W]` by name, the reference's among them.
      reference: the name of the real volumes.
      region: `[D, H, W]` bool, where slices are averaged.
    """
    figure = new_figure(10.5, 3.4)
    figure.set_layout_engine("constrained")
    panels = figure.subplots(1, 3)
    colors = iter(COLORS * len(sets))
    for name, volumes in sets.items():
        style = {"color": "#111111" if name == reference else next(colors), "linewidth": 1.6, "label": name}
        profiles, steps = slice_means(volumes, region), slice_means(np.abs(np.diff(volumes, axis=1)), region[1:])
        mean, deviation = profiles.mean(0), profiles.std(0, ddof=1)
        slices = np.arange(len(mean))
        panels[0].plot(slices, mean, **style)
        panels[0].fill_between(
            slices, mean - deviation, mean + deviation, color=style["color"], alpha=0.15, linewidth=0
        )
        panels[1].plot(slices, deviation, **style)
        panels[2].plot(slices[1:], steps.mean(0), **style)
    titles = ("slice mean ± SD over volumes", "SD of the slice mean over volumes", "mean |Δz| from the slice before")
    for axes, title in zip(panels, titles, strict=True):
        _finish(axes, title)
    panels[0].legend(fontsize=8, frameon=False)
    return png_bytes(figure)


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
