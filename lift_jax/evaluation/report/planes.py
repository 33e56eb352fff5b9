"""Orthogonal planes of a volume in radiological display, as matplotlib panels."""

import io

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

MARGIN = 4.0
"""Background kept around the foreground, mm."""

RESOLUTION = 120
"""Dots per inch of figures."""

LEFT_SIDES = {"axial": "R", "coronal": "R", "sagittal": "A"}
"""What the left edge of each plane is: the patient's right, or anterior."""

ORIENTATION_NOTE = (
    "Planes go through the center of the foreground, true to size, in radiological display: superior and anterior are "
    "up, the patient's right (R) is on the left; in the sagittal plane anterior (A) is on the left."
)

Box = tuple[slice, slice, slice]


def bounding_box(mask: np.ndarray, spacing: tuple[float, float, float]) -> Box:
    """Slices around all voxels of a mask `[D, H, W]`, with a margin of `MARGIN` mm."""
    box = []
    for axis, (size, step) in enumerate(zip(mask.shape, spacing, strict=True)):
        inside = np.flatnonzero(mask.any(tuple(other for other in range(3) if other != axis)))
        margin = int(np.ceil(MARGIN / step))
        box.append(slice(max(0, inside[0] - margin), min(size, inside[-1] + 1 + margin)))
    depth, height, width = box
    return depth, height, width


def center_of_mass(mask: np.ndarray) -> list[int]:
    """The voxel nearest to the mean position of a mask."""
    return [round(float(indices.mean())) for indices in np.nonzero(mask)]


def panel_heights(box: Box, spacing: tuple[float, float, float], width: float) -> list[float]:
    """Heights of the axial, coronal and sagittal panel of one scale, for panels `width` wide."""
    depth, height, across = ((s.stop - s.start) * step for s, step in zip(box, spacing, strict=True))
    return [side * width / max(across, height) for side in (height, depth, depth)]


def show_plane(axes: Axes, volume: np.ndarray, axis: int, box: Box, index: int, spacing, scale: dict) -> None:
    """Draws one plane of a volume, in mm about the center of the box, on a panel as wide as the wider of y and x."""
    plane = np.take(volume, index, axis)[tuple(s for other, s in enumerate(box) if other != axis)]
    steps = [step for other, step in enumerate(spacing) if other != axis]
    height, width = (n * step for n, step in zip(plane.shape, steps, strict=True))
    panel_width = max((s.stop - s.start) * step for s, step in zip(box[1:], spacing[1:], strict=True))
    # Rows run to superior or anterior and columns to right or anterior: radiological display flips both.
    axes.imshow(plane[::-1, ::-1], extent=(-width / 2, width / 2, -height / 2, height / 2), **scale)
    axes.set_xlim(-panel_width / 2, panel_width / 2)
    axes.set_facecolor("black" if scale["cmap"] == "gray" else "#f7f7f7")  # the middle of RdBu
    axes.set_xticks([])
    axes.set_yticks([])
    axes.spines[:].set_visible(False)


def new_figure(width: float, height: float) -> Figure:
    """A white figure of a size in inches that is not registered with pyplot."""
    figure = Figure(figsize=(width, height), facecolor="white")
    FigureCanvasAgg(figure)
    return figure


def png_bytes(figure: Figure) -> bytes:
    """The figure as PNG."""
    written = io.BytesIO()
    figure.savefig(written, format="png", dpi=RESOLUTION)
    return written.getvalue()
