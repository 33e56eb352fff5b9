"""Orthogonal planes of volumes in radiological display, as panels, figures and montages."""

import io
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from lift_jax.data.subject import foreground_box
from lift_jax.losses.triplanar import PLANES

MARGIN_MM = 4.0
"""Background kept around the foreground, mm."""

RESOLUTION = 120
"""Dots per inch of figures."""

LEFT_SIDES = {"axial": "R", "coronal": "R", "sagittal": "A"}
"""What the left edge of each plane is: the patient's right, or anterior."""

ORIENTATION_NOTE = (
    "Planes go through the center of the foreground, true to size, in radiological display: superior and anterior are "
    "up, the patient's right (R) is on the left; in the sagittal plane anterior (A) is on the left."
)

GRAYS = {"cmap": "gray", "vmin": 0.0, "vmax": 1.0}

SET_COLORS = ("#d1495b", "#2a6f97", "#8d6a9f", "#e09f3e")
"""Colors of sets of volumes in a plot; the reference is black."""


class View(NamedTuple):
    """Where volumes on one grid are cut.

    Attributes:
      box: slices around the region that is shown, with a margin.
      center: the voxel that the three planes go through.
      spacing: voxel size in mm along `(D, H, W)`.
    """

    box: tuple[slice, slice, slice]
    center: list[int]
    spacing: tuple[float, float, float]

    def heights(self, width: float) -> list[float]:
        """Heights of the axial, coronal and sagittal panel of one scale, for panels `width` wide."""
        depth, height, across = (
            (side.stop - side.start) * step for side, step in zip(self.box, self.spacing, strict=True)
        )
        return [side * width / max(across, height) for side in (height, depth, depth)]


def view_of(region: np.ndarray, spacing: tuple[float, float, float]) -> View:
    """The view of a region `[D, H, W]` bool that is not empty, through its center of mass."""
    depth, height, width = (int(np.ceil(MARGIN_MM / step)) for step in spacing)
    box = foreground_box(region, margin=(depth, height, width), step=(1, 1, 1)).slices
    return View(box, [round(float(indices.mean())) for indices in np.nonzero(region)], spacing)


def show_plane(axes: Axes, volume: np.ndarray, axis: int, view: View, scale: dict) -> None:
    """Draws one plane of a volume, in mm about the center of the box, on a panel as wide as the wider of y and x."""
    plane = np.take(volume, view.center[axis], axis)[tuple(s for other, s in enumerate(view.box) if other != axis)]
    steps = [step for other, step in enumerate(view.spacing) if other != axis]
    height, width = (n * step for n, step in zip(plane.shape, steps, strict=True))
    panel_width = max((s.stop - s.start) * step for s, step in zip(view.box[1:], view.spacing[1:], strict=True))
    # Rows run to superior or anterior and columns to right or anterior: radiological display flips both.
    axes.imshow(plane[::-1, ::-1], extent=(-width / 2, width / 2, -height / 2, height / 2), **scale)
    axes.set_xlim(-panel_width / 2, panel_width / 2)
    axes.set_facecolor("black" if scale["cmap"] == "gray" else "#f7f7f7")  # the middle of RdBu
    axes.set_xticks([])
    axes.set_yticks([])
    axes.spines[:].set_visible(False)


def new_figure(width: float, height: float, layout=None) -> Figure:
    """A white figure of a size in inches that is not registered with pyplot."""
    figure = Figure(figsize=(width, height), facecolor="white", layout=layout)
    FigureCanvasAgg(figure)
    return figure


def png_bytes(figure: Figure) -> bytes:
    """The figure as PNG."""
    written = io.BytesIO()
    figure.savefig(written, format="png", dpi=RESOLUTION)
    return written.getvalue()


def style_plot(axes: Axes, title: str) -> None:
    """Title, grid and ticks of a plot beside planes."""
    axes.set_title(title, fontsize=10, pad=6)
    axes.tick_params(labelsize=8)
    axes.grid(color="#e8eaed", linewidth=0.6)
    axes.spines[["top", "right"]].set_visible(False)


def draw_volumes(columns: Sequence[tuple[str, np.ndarray]], view: View) -> bytes:
    """PNG of volumes `[D, H, W]` in [0, 1] side by side under headings, in three planes, in radiological display."""
    panel_width, gap, left, top, bottom = 1.3, 0.04, 0.3, 0.28, 0.06  # inches
    heights = view.heights(panel_width)
    size = (left + len(columns) * (panel_width + gap), top + sum(heights) + 2 * gap + bottom)
    figure = new_figure(*size)
    for axis, plane in enumerate(PLANES):
        low = size[1] - top - sum(heights[: axis + 1]) - axis * gap
        for column, (name, volume) in enumerate(columns):
            x = left + column * (panel_width + gap)
            axes = figure.add_axes((x / size[0], low / size[1], panel_width / size[0], heights[axis] / size[1]))
            show_plane(axes, volume, axis, view, GRAYS)
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
    figure = new_figure(10.5, 3.4, layout="constrained")
    panels = figure.subplots(1, 3)
    colors = iter(SET_COLORS * len(sets))
    for name, volumes in sets.items():
        color = "#111111" if name == reference else next(colors)
        style = {"color": color, "linewidth": 1.6, "label": name}
        profiles, steps = slice_means(volumes, region), slice_means(np.abs(np.diff(volumes, axis=1)), region[1:])
        mean, deviation = profiles.mean(0), profiles.std(0, ddof=1)
        slices = np.arange(len(mean))
        panels[0].plot(slices, mean, **style)
        panels[0].fill_between(slices, mean - deviation, mean + deviation, color=color, alpha=0.15, linewidth=0)
        panels[1].plot(slices, deviation, **style)
        panels[2].plot(slices[1:], steps.mean(0), **style)
    titles = ("slice mean ± SD over volumes", "SD of the slice mean over volumes", "mean |Δz| from the slice before")
    for axes, title in zip(panels, titles, strict=True):
        style_plot(axes, title)
        axes.set_xlabel("axial slice, inferior to superior", fontsize=9)
    panels[0].legend(fontsize=8, frameon=False)
    return png_bytes(figure)


def slice_means(volumes, region: np.ndarray) -> np.ndarray:
    """Means of every axial slice within a region: `[N, D, H, W], [D, H, W] -> [N, D]`, nan where it is empty."""
    voxels = region.sum((1, 2))
    sums = np.einsum("ndhw,dhw->nd", np.asarray(volumes, np.float64), region.astype(np.float64))
    return np.divide(sums, voxels, out=np.full(sums.shape, np.nan), where=voxels > 0)


def planes_montage(volumes: np.ndarray) -> np.ndarray:
    """The three middle planes of volumes `[n, D, H, W]` in [0, 1], a row each: `[height, width, 3]` uint8.

    Superior and anterior are up.
    """
    rows = []
    for plane in range(3):
        images = np.take(volumes, volumes.shape[1 + plane] // 2, axis=1 + plane)[:, ::-1]
        missing = [max(volumes.shape[1:]) - side for side in images.shape[1:]]
        rows.append(np.pad(images, ((0, 0), *((n // 2, n - n // 2) for n in missing))))
    return montage(np.concatenate(rows), len(volumes))


def montage(images: np.ndarray, columns: int) -> np.ndarray:
    """Images `[n, h, w]` in [0, 1], row by row, as one `[height, width, 3]` uint8; n is a multiple of columns."""
    _, height, width = images.shape
    rows = images.reshape(-1, columns, height, width).transpose(0, 2, 1, 3).reshape(-1, columns * width)
    gray = (np.clip(np.nan_to_num(rows.astype(np.float32)), 0, 1) * 255).astype(np.uint8)
    return np.repeat(gray[..., None], 3, axis=-1)
