"""One case as a picture: three planes of source, target, prediction and error, and its profile along z."""

import dataclasses
import io
from typing import ClassVar

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from lift_jax.evaluation.plane_features import PLANES
from lift_jax.evaluation.through_plane import z_profile

ERROR_LIMIT = 0.3
"""End of the error maps' scale, in units of the normalised intensity; fixed, so that pictures compare everywhere."""

MARGIN = 4.0
"""Millimetres of background kept around the brain."""

PANEL_WIDTH = 2.1
"""Inches of a panel."""

PROFILE_WIDTH = 3.0
"""Inches of the z-profile."""

RESOLUTION = 120
"""Dots per inch of the written picture."""

LEFT_SIDES = {"axial": "R", "coronal": "R", "sagittal": "A"}
"""Where the left edge of each plane lies: the patient's right, or anterior."""

SHADES = {"cmap": "gray", "vmin": 0.0, "vmax": 1.0}
ERRORS = {"cmap": "RdBu_r", "vmin": -ERROR_LIMIT, "vmax": ERROR_LIMIT}

PROFILE_STYLES = {
    "source": {"color": "#9aa0a6", "linewidth": 1.2},
    "target": {"color": "#111111", "linewidth": 1.6},
    "prediction": {"color": "#d1495b", "linewidth": 1.6},
}


@dataclasses.dataclass(frozen=True)
class PictureCase:
    """One predicted contrast of one case, to be shown.

    Attributes:
      case: the case's name.
      contrast: the predicted contrast.
      rank: where the case stands among the others: "best", "median" or "worst".
      source: `[D, H, W]` in [0, 1] on a canonical (RAS+) grid, the source that is shown.
      target: `[D, H, W]`, likewise.
      prediction: `[D, H, W]`, likewise.
      spacing: millimetres between voxels along `(z, y, x)`.
    """

    case: str
    contrast: str
    rank: str
    source: np.ndarray
    target: np.ndarray
    prediction: np.ndarray
    spacing: tuple[float, float, float]

    note: ClassVar[str] = (
        "The cases are ranked by the PSNR of the model. Planes go through the brain's centre of mass, true to size, in "
        "radiological display: superior and anterior up, the patient's right (R) on the left; in the sagittal plane "
        f"anterior (A) on the left. Error maps end at ±{ERROR_LIMIT:g} in every report. The dotted line in the profile "
        "is the axial slice shown."
    )

    def png(self) -> bytes:
        """The picture as PNG bytes; see `draw_case`."""
        return draw_case(self)


def draw_case(picture: PictureCase) -> bytes:
    """The picture as PNG bytes: planes through the brain's centre of mass, true to size, in radiological display.

    Superior and anterior are up and the patient's right is on the left; in the sagittal plane anterior is on the left.
    """
    brain = (np.asarray(picture.source) > 0) | (np.asarray(picture.target) > 0)
    brain = brain if brain.any() else np.ones_like(brain)
    box, centre = bounding_box(brain, picture.spacing), centre_of_mass(brain)
    volumes = {name: np.asarray(getattr(picture, name)) for name in ("source", "target", "prediction")}
    errors = {"prediction − target": volumes["prediction"] - volumes["target"]}
    figure, panels, profile_axes, bars = _layout(box, picture.spacing)
    for axis, plane in enumerate(PLANES):
        for column, (name, volume) in enumerate((volumes | errors).items()):
            axes = panels[axis][column]
            show_plane(axes, volume, axis, box, centre[axis], picture.spacing, ERRORS if name in errors else SHADES)
            axes.set_title(name if axis == 0 else "", fontsize=10, pad=6)
        panels[axis][0].set_ylabel(plane, fontsize=10)
        panels[axis][0].annotate(LEFT_SIDES[plane], (0.03, 0.04), xycoords="axes fraction", color="white")
    for bar, panel, extend in zip(bars, panels[0][2:], ("neither", "both"), strict=True):
        figure.colorbar(panel.images[0], cax=bar, orientation="horizontal", extend=extend)
        bar.tick_params(labelsize=8)
    _draw_profiles(profile_axes, volumes, brain, box[0], centre[0])
    written = io.BytesIO()
    figure.savefig(written, format="png", dpi=RESOLUTION)
    return written.getvalue()


def bounding_box(mask: np.ndarray, spacing: tuple[float, float, float]) -> tuple[slice, ...]:
    """Slices around all that is in the mask, with a margin."""
    box = []
    for axis, (size, step) in enumerate(zip(mask.shape, spacing, strict=True)):
        inside = np.flatnonzero(mask.any(tuple(other for other in range(3) if other != axis)))
        margin = int(np.ceil(MARGIN / step))
        box.append(slice(max(0, inside[0] - margin), min(size, inside[-1] + 1 + margin)))
    return tuple(box)


def centre_of_mass(mask: np.ndarray) -> list[int]:
    """The voxel nearest to the mean place of a mask."""
    return [round(float(indices.mean())) for indices in np.nonzero(mask)]


def _layout(box, spacing) -> tuple[Figure, list[list[Axes]], Axes, list[Axes]]:
    """A figure with 3×4 panels of one scale, the axes of the z-profile on the right, and two colour bars below."""
    depth, height, width = ((s.stop - s.start) * step for s, step in zip(box, spacing, strict=True))
    heights = [size * PANEL_WIDTH / max(width, height) for size in (height, depth, depth)]
    gap, left, top, bottom, right, between = 0.05, 0.35, 0.35, 0.5, 0.2, 0.75
    grid_width, grid_height = 4 * PANEL_WIDTH + 3 * gap, sum(heights) + 2 * gap
    size = (left + grid_width + between + PROFILE_WIDTH + right, top + grid_height + bottom)
    figure = Figure(figsize=size, facecolor="white")
    FigureCanvasAgg(figure)

    def add(x: float, y: float, width: float, height: float) -> Axes:
        return figure.add_axes((x / size[0], y / size[1], width / size[0], height / size[1]))

    lows = [bottom + grid_height - sum(heights[: row + 1]) - row * gap for row in range(3)]
    lefts = [left + column * (PANEL_WIDTH + gap) for column in range(4)]
    panels = [[add(x, y, PANEL_WIDTH, h) for x in lefts] for y, h in zip(lows, heights, strict=True)]
    bars = [add(x + 0.1 * PANEL_WIDTH, bottom - 0.2, 0.8 * PANEL_WIDTH, 0.09) for x in lefts[2:]]
    return figure, panels, add(left + grid_width + between, bottom, PROFILE_WIDTH, grid_height), bars


def show_plane(axes: Axes, volume: np.ndarray, axis: int, box, index: int, spacing, scale: dict) -> None:
    """One plane of a volume, in millimetres about the box's centre, on panels as wide as the wider of y and x."""
    plane = np.take(volume, index, axis)[tuple(s for other, s in enumerate(box) if other != axis)]
    steps = [step for other, step in enumerate(spacing) if other != axis]
    height, width = (n * step for n, step in zip(plane.shape, steps, strict=True))
    panel_width = max((s.stop - s.start) * step for s, step in zip(box[1:], spacing[1:], strict=True))
    # Rows run to superior or anterior and columns to right or anterior: radiological display turns both.
    axes.imshow(plane[::-1, ::-1], extent=(-width / 2, width / 2, -height / 2, height / 2), **scale)
    axes.set_xlim(-panel_width / 2, panel_width / 2)
    axes.set_facecolor(axes.images[0].cmap(axes.images[0].norm(0.0)))
    axes.set_xticks([])
    axes.set_yticks([])
    axes.spines[:].set_visible(False)


def _draw_profiles(axes: Axes, volumes: dict, brain: np.ndarray, extent: slice, shown: int) -> None:
    slices = np.arange(brain.shape[0])
    for name, volume in volumes.items():
        axes.plot(z_profile(volume, brain), slices, label=name, **PROFILE_STYLES[name])
    axes.axhline(shown, color="#9aa0a6", linewidth=0.8, linestyle=":")
    axes.set_ylim(extent.start, extent.stop - 1)
    axes.set_title("mean in the brain, slice by slice", fontsize=10, pad=6)
    axes.set_xlabel("normalised intensity", fontsize=9)
    axes.set_ylabel("axial slice, inferior to superior", fontsize=9)
    axes.tick_params(labelsize=8)
    axes.grid(color="#e8eaed", linewidth=0.6)
    axes.spines[["top", "right"]].set_visible(False)
    axes.legend(fontsize=8, frameon=False, loc="best")
