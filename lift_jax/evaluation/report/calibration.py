"""Calibration of predicted CT numbers: predicted against true, and means by tissue."""

import numpy as np
from matplotlib.axes import Axes

TISSUES = {
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
"""Height of the tissue table below the plot, inches."""


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
    """Mean true and mean predicted CT number in HU of each of `TISSUES` that `target [N]` holds."""
    means = {}
    for name, (low, high) in TISSUES.items():
        inside = (target >= low) & (target < high)
        if inside.any():
            means[name] = (float(target[inside].mean()), float(prediction[inside].mean()))
    return means


def draw_calibration(axes: Axes, target: np.ndarray, prediction: np.ndarray) -> None:
    """Draws the median prediction and its quartiles by true CT number, and the tissue table below, into `axes`."""
    position, inches = axes.get_position(), axes.figure.get_size_inches()
    axes.set_position(
        (
            position.x0,
            position.y0 + TABLE_HEIGHT / inches[1],
            position.width,
            position.height - TABLE_HEIGHT / inches[1],
        )
    )
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
