"""What a report shows of one prediction: three planes of source, target, prediction and difference, and a plot."""

import dataclasses
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from lift_jax.evaluation.report.planes import (
    LEFT_SIDES,
    View,
    new_figure,
    png_bytes,
    show_plane,
    slice_means,
    style_plot,
    view_of,
)
from lift_jax.evaluation.scores import ScoredChannel
from lift_jax.losses.triplanar import PLANES


class Window(NamedTuple):
    """A gray scale: black at `low`, white at `high`, both in `unit` ("" for normalized intensities)."""

    name: str
    low: float
    high: float
    unit: str = ""


UNIT_WINDOW = Window("full range", 0.0, 1.0)
CT_WINDOWS = (Window("brain", 0.0, 80.0, "HU"), Window("bone", -550.0, 1450.0, "HU"))
"""CT windows: width 80 HU at level 40 HU, and width 2000 HU at level 450 HU."""

DIFFERENCE_LIMITS = {"[0, 1]": 0.3, "HU": 500.0}
"""Ends of the color scales of differences by unit; fixed, so that reports can be compared."""

DIFFERENCE_COLORS = "RdBu_r"

PANEL_WIDTH, PLOT_WIDTH = 2.1, 3.3
"""Widths of a panel and of the plot beside the panels, inches."""

PROFILE_STYLES = {"source": ("#9aa0a6", 1.2), "target": ("#111111", 1.6), "prediction": ("#d1495b", 1.6)}
"""Color and width of the lines of a z-profile."""

TISSUE_RANGES = {
    "air": (-1024, -400),
    "fat": (-200, -30),
    "soft": (-30, 100),
    "spongy bone": (250, 700),
    "dense bone": (700, 3000),
}
"""Ranges of true CT numbers in HU by tissue; the values between them are mostly partial volume."""

CALIBRATION_EDGES = np.concatenate([np.arange(-1024, -200, 100), np.arange(-200, 200, 20), np.arange(200, 2001, 100)])
"""Bin edges of true CT numbers in HU, finer for soft tissue."""

SMALLEST_BIN = 20
"""Voxels below which a bin is not drawn."""

TABLE_HEIGHT = 1.55
"""Height of the tissue table below the calibration plot, inches."""


@dataclasses.dataclass(frozen=True)
class Picture:
    """One predicted channel of one subject.

    Attributes:
      subject: name of the subject.
      channel: name of the predicted channel.
      rank: why the subject is shown: "best", "median" or "worst" by the model's PSNR, or another label.
      source: `[D, H, W]` float32 on a canonical (RAS+) grid, the source that is shown.
      target: `[D, H, W]` float32, the true channel.
      prediction: `[D, H, W]` float32, in the unit of the target.
      spacing: voxel size in mm along `(D, H, W)`.
      source_unit: "[0, 1]" or "HU", of the source.
      unit: the same, of target and prediction.
      mask: `[D, H, W]` bool, the scored region. Differences outside of it are not shown. None: all voxels.
    """

    subject: str
    channel: str
    rank: str
    source: np.ndarray
    target: np.ndarray
    prediction: np.ndarray
    spacing: tuple[float, float, float]
    source_unit: str = "[0, 1]"
    unit: str = "[0, 1]"
    mask: np.ndarray | None = None

    @property
    def source_window(self) -> Window:
        """Display window of the source."""
        return CT_WINDOWS[0] if self.source_unit == "HU" else UNIT_WINDOW

    @property
    def windows(self) -> tuple[Window, ...]:
        """Display windows of target and prediction; the first is the default."""
        return CT_WINDOWS if self.unit == "HU" else (UNIT_WINDOW,)

    @property
    def difference_limit(self) -> float:
        """End of the color scale of differences."""
        return DIFFERENCE_LIMITS[self.unit]

    @property
    def foreground(self) -> np.ndarray:
        """`[D, H, W]` bool: the mask; without one, where source or target is above zero, or everywhere if nowhere."""
        if self.mask is not None:
            return self.mask
        foreground = (np.asarray(self.source) > 0) | (np.asarray(self.target) > 0)
        return foreground if foreground.any() else np.ones_like(foreground)

    @property
    def difference(self) -> np.ndarray:
        """`prediction - target`, `[D, H, W]`, zero outside of the mask."""
        difference = np.asarray(self.prediction) - np.asarray(self.target)
        return difference if self.mask is None else np.where(self.mask, difference, 0)


def scored_picture(
    subject: str, channel: str, rank: str, truth: ScoredChannel, prediction: np.ndarray, spacing
) -> Picture:
    """A scored prediction beside the truth and the first source, or the foreground where there is no source.

    Args:
      subject: its name; channel: that was predicted; rank: why it is shown.
      truth: what the prediction was scored with.
      prediction: `[D, H, W]` in the unit of the target.
      spacing: voxel size in mm along `(D, H, W)`.
    """
    first = next(iter(truth.sources), None)
    source = truth.foreground.astype(np.float32) if first is None else truth.sources[first]
    source_unit, unit = "[0, 1]" if first is None else truth.units[first], truth.protocol.unit
    mask = truth.foreground if "HU" in (source_unit, unit) else None
    spacing = tuple(spacing)
    return Picture(subject, channel, rank, source, truth.target, prediction, spacing, source_unit, unit, mask)


def draw_picture(picture: Picture) -> bytes:
    """The figure as PNG: a column of planes for the source, for target and prediction in every window, and for the
    difference. Planes go through the center of mass of the foreground."""
    view, columns = view_of(picture.foreground, picture.spacing), _columns(picture)
    figure, panels, plot, bars = _layout(view, len(columns))
    for row, plane in enumerate(PLANES):
        for panel, (name, volume, scale, _) in zip(panels[row], columns, strict=True):
            show_plane(panel, volume, row, view, scale)
            panel.set_title(name if row == 0 else "", fontsize=10, pad=6)
        panels[row][0].set_ylabel(plane, fontsize=10)
        panels[row][0].annotate(LEFT_SIDES[plane], (0.03, 0.04), xycoords="axes fraction", color="white")
    for bar, panel, (*_, scale, unit) in zip(bars, panels[0], columns, strict=True):
        extend = "both" if scale["cmap"] == DIFFERENCE_COLORS else "neither"
        figure.colorbar(panel.images[0], cax=bar, orientation="horizontal", extend=extend)
        bar.tick_params(labelsize=7)
        bar.set_xlabel(unit, fontsize=7, labelpad=1)
    if picture.unit == "HU":
        mask = picture.foreground
        _draw_calibration(figure, plot, picture.target[mask], picture.prediction[mask])
    else:
        _draw_profiles(plot, picture, view)
    return png_bytes(figure)


def calibration(target: np.ndarray, prediction: np.ndarray) -> np.ndarray:
    """Quartiles of predictions by true CT number: rows `(mean true, 25 %, 50 %, 75 %)`, one per bin with voxels.

    Args:
      target: `[N]` HU.
      prediction: `[N]` HU.
    """
    bins = np.digitize(target, CALIBRATION_EDGES)
    rows = []
    for bin_number in range(1, len(CALIBRATION_EDGES)):
        inside = bins == bin_number
        if np.count_nonzero(inside) >= SMALLEST_BIN:
            rows.append([target[inside].mean(), *np.quantile(prediction[inside], (0.25, 0.5, 0.75))])
    return np.array(rows).reshape(-1, 4)


def tissue_means(target: np.ndarray, prediction: np.ndarray) -> dict[str, tuple[float, float]]:
    """Mean true and mean predicted CT number in HU of each tissue of `TISSUE_RANGES` that `target [N]` holds."""
    means = {}
    for name, (low, high) in TISSUE_RANGES.items():
        inside = (target >= low) & (target < high)
        if inside.any():
            means[name] = (float(target[inside].mean()), float(prediction[inside].mean()))
    return means


def _columns(picture: Picture) -> list[tuple[str, np.ndarray, dict, str]]:
    """Heading, volume, color scale and unit of every column."""

    def column(name: str, volume: np.ndarray, window: Window, several: bool = False):
        heading = f"{name}, {window.name}" if several else name
        return heading, np.asarray(volume), {"cmap": "gray", "vmin": window.low, "vmax": window.high}, window.unit

    several, limit = len(picture.windows) > 1, picture.difference_limit
    columns = [column("source", picture.source, picture.source_window)]
    for window in picture.windows:
        columns.append(column("target", picture.target, window, several))
        columns.append(column("prediction", picture.prediction, window, several))
    scale = {"cmap": DIFFERENCE_COLORS, "vmin": -limit, "vmax": limit}
    return [*columns, ("prediction − target", picture.difference, scale, picture.windows[0].unit)]


def _layout(view: View, columns: int) -> tuple[Figure, list[list[Axes]], Axes, list[Axes]]:
    """A figure with three rows of panels of one scale, the axes of the plot on the right, and color bars below."""
    heights = view.heights(PANEL_WIDTH)
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


def _draw_profiles(axes: Axes, picture: Picture, view: View) -> None:
    """The mean of every axial slice over depth; a source in another unit is left out."""
    slices = np.arange(picture.target.shape[0])
    for name, (color, width) in PROFILE_STYLES.items():
        if name != "source" or picture.source_unit == picture.unit:
            profile = slice_means(np.asarray(getattr(picture, name))[None], picture.foreground)[0]
            axes.plot(profile, slices, label=name, color=color, linewidth=width)
    axes.axhline(view.center[0], color="#9aa0a6", linewidth=0.8, linestyle=":")
    axes.set_ylim(view.box[0].start, view.box[0].stop - 1)
    style_plot(axes, "z-profile: foreground mean of each slice")
    axes.set_xlabel("normalized intensity", fontsize=9)
    axes.set_ylabel("axial slice, inferior to superior", fontsize=9)
    axes.legend(fontsize=8, frameon=False, loc="best")


def _draw_calibration(figure: Figure, axes: Axes, target: np.ndarray, prediction: np.ndarray) -> None:
    """The median prediction and its quartiles by true CT number, and the tissue table below, into `axes`."""
    x, y, width, height = axes.get_position().bounds
    table = TABLE_HEIGHT / figure.get_size_inches()[1]
    axes.set_position((x, y + table, width, height - table))
    ends = (-1100, 2000)
    rows = calibration(target, prediction)
    axes.plot(ends, ends, color="#9aa0a6", linewidth=0.8)
    axes.fill_between(rows[:, 0], rows[:, 1], rows[:, 3], color="#d1495b", alpha=0.25, linewidth=0)
    axes.plot(rows[:, 0], rows[:, 2], color="#d1495b", linewidth=1.6)
    axes.set(xlim=ends, ylim=ends)
    style_plot(axes, "calibration")
    axes.set_xlabel("true CT number (HU)", fontsize=9)
    axes.set_ylabel("predicted (HU)", fontsize=9)
    lines = [f"{'mean HU':<12}{'true':>7}{'predicted':>11}"]
    lines += [f"{name:<12}{true:7.0f}{mean:11.0f}" for name, (true, mean) in tissue_means(target, prediction).items()]
    text = "\n".join(lines).replace("-", "−")
    axes.annotate(text, (0, 0), (0, -46), "axes fraction", "offset points", va="top", family="monospace", fontsize=8)
