"""One synthetic CT as a picture: three planes in a brain and a bone window, error in HU, and calibration by tissue."""

import dataclasses
import io
from typing import ClassVar, Self

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

from lift_jax.data.paired_cases import PairedCase
from lift_jax.evaluation.report_figures import (
    LEFT_SIDES,
    PANEL_WIDTH,
    PLANES,
    RESOLUTION,
    bounding_box,
    centre_of_mass,
    show_plane,
)

BRAIN_WINDOW = (0.0, 80.0)
BONE_WINDOW = (-550.0, 1450.0)
"""Grey scales in HU: width 80 about 40, and width 2000 about 450."""

ERROR_LIMIT = 500.0
"""End of the error maps' scale in HU; fixed, so that pictures compare everywhere."""

TISSUES = {
    "air": (-1024, -400),
    "fat": (-200, -30),
    "soft": (-30, 100),
    "spongy bone": (250, 700),
    "dense bone": (700, 3000),
}
"""True CT numbers, in HU, of the classes of the calibration plot; what lies between is mostly partial volume."""

CALIBRATION_EDGES = np.concatenate([np.arange(-1024, -200, 100), np.arange(-200, 200, 20), np.arange(200, 2001, 100)])
"""Bins of true CT numbers, narrow where soft tissues lie."""

SMALLEST_BIN = 20
"""Voxels below which a bin is not drawn."""

PROFILE_WIDTH = 3.6
"""Inches of the calibration plot."""


@dataclasses.dataclass(frozen=True)
class CtPicture:
    """A predicted CT to be shown.

    Attributes:
      case: the case's name.
      contrast: always "ct".
      rank: where the case stands among the others: "best", "median" or "worst".
      mr: `[D, H, W]` in [0, 1] on a canonical (RAS+) grid.
      target, prediction: `[D, H, W]` HU.
      mask: `[D, H, W]` bool, the body.
      spacing: millimetres between voxels along `(z, y, x)`.
    """

    case: str
    contrast: str
    rank: str
    mr: np.ndarray
    target: np.ndarray
    prediction: np.ndarray
    mask: np.ndarray
    spacing: tuple[float, float, float]

    note: ClassVar[str] = (
        "The cases are ranked by the PSNR of the model. Planes go through the head's centre of mass, true to size, in "
        "radiological display: superior and anterior up, the patient's right (R) on the left; in the sagittal plane "
        "anterior (A) on the left. Brain window: width 80 HU about 40; bone window: width 2000 HU about 450. Error "
        f"maps end at ±{ERROR_LIMIT:g} HU in every report. The calibration shows the median prediction, and between "
        "the quartiles, of all voxels of the case with a true CT number; the table below it gives mean true and "
        "predicted numbers by tissue."
    )

    @classmethod
    def of(cls, case: PairedCase, prediction: np.ndarray, rank: str) -> Self:
        """The prediction beside the case's MR and CT."""
        return cls(case.name, "ct", rank, case.mr, case.ct, prediction, case.mask, case.spacing)

    def png(self) -> bytes:
        """The picture as PNG bytes."""
        box, centre = bounding_box(self.mask, self.spacing), centre_of_mass(self.mask)
        columns = (
            ("MR", self.mr, (0.0, 1.0), "gray"),
            ("CT, brain", self.target, BRAIN_WINDOW, "gray"),
            ("synthetic, brain", self.prediction, BRAIN_WINDOW, "gray"),
            ("CT, bone", self.target, BONE_WINDOW, "gray"),
            ("synthetic, bone", self.prediction, BONE_WINDOW, "gray"),
            (
                "synthetic − CT (HU)",
                np.where(self.mask, self.prediction - self.target, 0),
                (-ERROR_LIMIT, ERROR_LIMIT),
                "RdBu_r",
            ),
        )
        figure, panels, plot = _layout(box, self.spacing, len(columns))
        for axis, plane in enumerate(PLANES):
            for column, (name, volume, (low, high), colours) in enumerate(columns):
                axes = panels[axis][column]
                scale = {"cmap": colours, "vmin": low, "vmax": high}
                show_plane(axes, volume, axis, box, centre[axis], self.spacing, scale)
                if colours == "gray":
                    axes.set_facecolor("black")
                axes.set_title(name if axis == 0 else "", fontsize=10, pad=6)
            panels[axis][0].set_ylabel(plane, fontsize=10)
            panels[axis][0].annotate(LEFT_SIDES[plane], (0.03, 0.04), xycoords="axes fraction", color="white")
        _draw_calibration(plot, self.target[self.mask], self.prediction[self.mask])
        written = io.BytesIO()
        figure.savefig(written, format="png", dpi=RESOLUTION)
        return written.getvalue()


def calibration(target: np.ndarray, prediction: np.ndarray) -> np.ndarray:
    """Quartiles of predictions by true CT number: rows `(mean true, 25 %, 50 %, 75 %)`, one per bin with voxels.

    Args:
      target, prediction: `[N]` HU.
    """
    bins = np.digitize(target, CALIBRATION_EDGES)
    rows = []
    for bin_number in range(1, len(CALIBRATION_EDGES)):
        inside = bins == bin_number
        if np.count_nonzero(inside) >= SMALLEST_BIN:
            rows.append([target[inside].mean(), *np.quantile(prediction[inside], (0.25, 0.5, 0.75))])
    return np.array(rows).reshape(-1, 4)


def tissue_means(target: np.ndarray, prediction: np.ndarray) -> dict[str, tuple[float, float]]:
    """Mean true and mean predicted CT number of each of `TISSUES` that `target [N]` holds, HU."""
    means = {}
    for name, (low, high) in TISSUES.items():
        inside = (target >= low) & (target < high)
        if inside.any():
            means[name] = (float(target[inside].mean()), float(prediction[inside].mean()))
    return means


def _layout(box, spacing, columns: int) -> tuple[Figure, list[list[Axes]], Axes]:
    """A figure with three rows of panels of one scale, and the axes of the calibration on the right."""
    depth, height, width = ((s.stop - s.start) * step for s, step in zip(box, spacing, strict=True))
    heights = [side * PANEL_WIDTH / max(width, height) for side in (height, depth, depth)]
    gap, left, top, bottom, right, between = 0.05, 0.35, 0.35, 0.2, 0.2, 0.75
    grid_width, grid_height = columns * PANEL_WIDTH + (columns - 1) * gap, sum(heights) + 2 * gap
    size = (left + grid_width + between + PROFILE_WIDTH + right, top + grid_height + bottom)
    figure = Figure(figsize=size, facecolor="white")
    FigureCanvasAgg(figure)

    def add(x: float, y: float, width: float, height: float) -> Axes:
        return figure.add_axes((x / size[0], y / size[1], width / size[0], height / size[1]))

    lows = [bottom + grid_height - sum(heights[: row + 1]) - row * gap for row in range(3)]
    lefts = [left + column * (PANEL_WIDTH + gap) for column in range(columns)]
    panels = [[add(x, y, PANEL_WIDTH, h) for x in lefts] for y, h in zip(lows, heights, strict=True)]
    plot_bottom = bottom + 1.75
    return figure, panels, add(left + grid_width + between, plot_bottom, PROFILE_WIDTH, size[1] - plot_bottom - top)


def _draw_calibration(axes: Axes, target: np.ndarray, prediction: np.ndarray) -> None:
    ends = (-1100, 2000)
    rows = calibration(target, prediction)
    axes.plot(ends, ends, color="#9aa0a6", linewidth=0.8)
    axes.fill_between(rows[:, 0], rows[:, 1], rows[:, 3], color="#d1495b", alpha=0.25, linewidth=0)
    axes.plot(rows[:, 0], rows[:, 2], color="#d1495b", linewidth=1.6)
    axes.set(xlim=ends, ylim=ends)
    axes.set_title("calibration", fontsize=10, pad=6)
    axes.set_xlabel("true CT number (HU)", fontsize=9)
    axes.set_ylabel("predicted (HU)", fontsize=9)
    axes.tick_params(labelsize=8)
    axes.grid(color="#e8eaed", linewidth=0.6)
    axes.spines[["top", "right"]].set_visible(False)
    lines = [f"{'mean HU':<12}{'true':>7}{'predicted':>11}"]
    lines += [f"{name:<12}{true:7.0f}{got:11.0f}" for name, (true, got) in tissue_means(target, prediction).items()]
    text = "\n".join(lines).replace("-", "−")
    axes.annotate(text, (0, 0), (0, -46), "axes fraction", "offset points", va="top", family="monospace", fontsize=8)
