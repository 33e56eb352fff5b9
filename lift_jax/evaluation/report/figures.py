"""A picture as one figure: three planes of source, target, prediction and difference, and a plot beside them."""

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from lift_jax.evaluation.metrics.plane_features import PLANES
from lift_jax.evaluation.metrics.through_plane import z_profile
from lift_jax.evaluation.report.calibration import draw_calibration
from lift_jax.evaluation.report.pictures import Picture, Window
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

PANEL_WIDTH = 2.1
"""Width of a panel in inches."""

PLOT_WIDTH = 3.3
"""Width of the plot beside the panels in inches."""

CALIBRATED_UNIT = "HU"
"""Unit of the predictions that get a calibration plot; others get a z-profile."""

DIFFERENCE_COLORS = "RdBu_r"

PROFILE_STYLES = {
    "source": {"color": "#9aa0a6", "linewidth": 1.2},
    "target": {"color": "#111111", "linewidth": 1.6},
    "prediction": {"color": "#d1495b", "linewidth": 1.6},
}


def draw_picture(picture: Picture) -> bytes:
    """The figure as PNG: a column of planes for the source, for target and prediction in every window, and for the
    difference. Planes go through the center of mass of the foreground."""
    foreground = picture.foreground
    box, center = bounding_box(foreground, picture.spacing), center_of_mass(foreground)
    columns = _columns(picture)
    figure, panels, plot, bars = _layout(box, picture.spacing, len(columns))
    for row, plane in enumerate(PLANES):
        for panel, (name, volume, scale, _) in zip(panels[row], columns, strict=True):
            show_plane(panel, volume, row, box, center[row], picture.spacing, scale)
            panel.set_title(name if row == 0 else "", fontsize=10, pad=6)
        panels[row][0].set_ylabel(plane, fontsize=10)
        panels[row][0].annotate(LEFT_SIDES[plane], (0.03, 0.04), xycoords="axes fraction", color="white")
    for bar, panel, (*_, unit) in zip(bars, panels[0], columns, strict=True):
        extend = "both" if panel.images[0].get_cmap().name == DIFFERENCE_COLORS else "neither"
        figure.colorbar(panel.images[0], cax=bar, orientation="horizontal", extend=extend)
        bar.tick_params(labelsize=7)
        bar.set_xlabel(unit, fontsize=7, labelpad=1)
    if picture.unit == CALIBRATED_UNIT:
        draw_calibration(plot, picture.target[foreground], picture.prediction[foreground])
    else:
        _draw_profiles(plot, picture, foreground, box[0], center[0])
    return png_bytes(figure)


def _columns(picture: Picture) -> list[tuple[str, np.ndarray, dict, str]]:
    """Heading, volume, color scale and unit of every column."""

    def column(name: str, volume: np.ndarray, window: Window, several: bool):
        heading = f"{name}, {window.name}" if several else name
        return heading, np.asarray(volume), {"cmap": "gray", "vmin": window.low, "vmax": window.high}, window.unit

    several, limit = len(picture.windows) > 1, picture.difference_limit
    columns = [column("source", picture.source, picture.source_window, False)]
    for window in picture.windows:
        columns.append(column("target", picture.target, window, several))
        columns.append(column("prediction", picture.prediction, window, several))
    scale = {"cmap": DIFFERENCE_COLORS, "vmin": -limit, "vmax": limit}
    return [*columns, ("prediction − target", picture.difference, scale, picture.unit)]


def _layout(box: Box, spacing, columns: int) -> tuple[Figure, list[list[Axes]], Axes, list[Axes]]:
    """A figure with three rows of panels of one scale, the axes of the plot on the right, and color bars below."""
    heights = panel_heights(box, spacing, PANEL_WIDTH)
    gap, left, top, bottom, right, between = 0.05, 0.35, 0.35, 0.55, 0.2, 0.75
    grid_width, grid_height = columns * PANEL_WIDTH + (columns - 1) * gap, sum(heights) + 2 * gap
    size = (left + grid_width + between + PLOT_WIDTH + right, top + grid_height + bottom)
    figure = new_figure(*size)

    def add(x: float, y: float, width: float, height: float) -> Axes:
        return figure.add_axes((x / size[0], y / size[1], width / size[0], height / size[1]))

    lows = [bottom + grid_height - sum(heights[: row + 1]) - row * gap for row in range(3)]
    lefts = [left + column * (PANEL_WIDTH + gap) for column in range(columns)]
    panels = [[add(x, y, PANEL_WIDTH, h) for x in lefts] for y, h in zip(lows, heights, strict=True)]
    bars = [add(x + 0.1 * PANEL_WIDTH, bottom - 0.2, 0.8 * PANEL_WIDTH, 0.09) for x in lefts]
    return figure, panels, add(left + grid_width + between, bottom, PLOT_WIDTH, grid_height), bars


def _draw_profiles(axes: Axes, picture: Picture, foreground: np.ndarray, extent: slice, shown: int) -> None:
    """The mean of every axial slice over depth; a source in another unit is left out."""
    slices = np.arange(foreground.shape[0])
    for name, style in PROFILE_STYLES.items():
        if name != "source" or picture.source_window.unit == picture.unit:
            axes.plot(z_profile(np.asarray(getattr(picture, name)), foreground), slices, label=name, **style)
    axes.axhline(shown, color="#9aa0a6", linewidth=0.8, linestyle=":")
    axes.set_ylim(extent.start, extent.stop - 1)
    axes.set_title("z-profile: foreground mean of each slice", fontsize=10, pad=6)
    axes.set_xlabel(picture.unit or "normalized intensity", fontsize=9)
    axes.set_ylabel("axial slice, inferior to superior", fontsize=9)
    axes.tick_params(labelsize=8)
    axes.grid(color="#e8eaed", linewidth=0.6)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(fontsize=8, frameon=False, loc="best")
