"""What a report shows of one prediction: source, target, prediction, and the windows that they are displayed in."""

import dataclasses
from typing import NamedTuple

import numpy as np


class Window(NamedTuple):
    """A gray scale: black at `low`, white at `high`, both in `unit` ("" for normalized intensities)."""

    name: str
    low: float
    high: float
    unit: str = ""


UNIT_WINDOW = Window("full range", 0.0, 1.0)
BRAIN_WINDOW = Window("brain", 0.0, 80.0, "HU")
BONE_WINDOW = Window("bone", -550.0, 1450.0, "HU")
"""CT windows: width 80 HU at level 40 HU, and width 2000 HU at level 450 HU."""

UNIT_DIFFERENCE_LIMIT = 0.3
HU_DIFFERENCE_LIMIT = 500.0
"""Ends of the color scales of differences; fixed, so that reports can be compared."""


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
      source_window: display window of the source.
      windows: display windows of target and prediction; the first is the default.
      difference_limit: end of the color scale of `prediction - target`, in the unit of the target.
      mask: `[D, H, W]` bool, the scored region. Differences outside of it are not shown. None: all voxels.
    """

    subject: str
    channel: str
    rank: str
    source: np.ndarray
    target: np.ndarray
    prediction: np.ndarray
    spacing: tuple[float, float, float]
    source_window: Window = UNIT_WINDOW
    windows: tuple[Window, ...] = (UNIT_WINDOW,)
    difference_limit: float = UNIT_DIFFERENCE_LIMIT
    mask: np.ndarray | None = None

    @property
    def unit(self) -> str:
        """The unit of target and prediction; "" for normalized intensities."""
        return self.windows[0].unit

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


def mr_picture(subject: str, channel: str, rank: str, source, target, prediction, spacing) -> Picture:
    """A predicted MR channel, intensities in [0, 1]."""
    return Picture(subject, channel, rank, source, target, prediction, tuple(spacing))


def ct_picture(subject: str, rank: str, mr, ct, prediction, mask, spacing) -> Picture:
    """A predicted CT in HU beside its MR in [0, 1], in a brain and a bone window, scored within `mask`."""
    return Picture(
        subject,
        "ct",
        rank,
        mr,
        ct,
        prediction,
        tuple(spacing),
        windows=(BRAIN_WINDOW, BONE_WINDOW),
        difference_limit=HU_DIFFERENCE_LIMIT,
        mask=mask,
    )
