"""Files of predictions, whose units are checked before they are scored: nothing is normalized silently."""

import dataclasses
from pathlib import Path

import numpy as np

from lift_jax.data.intensity import IntensityProtocol
from lift_jax.data.volumes import read_volume
from lift_jax.errors import UserError

OVERSHOOT = 0.01
"""Share of the protocol's range by which a prediction may leave it and is clamped; beyond, its unit is another one."""

ROUNDING = 1e-6
"""Share of the range that is no overshoot."""

SOFT_TISSUE = (-100.0, 200.0)
"""True CT numbers in HU by which the zero of a prediction's unit is checked."""

WATER_OFFSET = 1024.0
"""What is added to HU where air is stored as 0."""

OFFSET_TOLERANCE = 250.0
"""HU by which soft tissue may be off before a warning, and within which an offset is recognized."""

IMPOSSIBLE_AIR = -200.0
"""HU that air cannot have: a body without lower values holds no air, or its unit is shifted up."""

LOWEST_HU = -1100.0
"""HU below which nothing lies in a body: lower values are in a unit that is shifted down."""

SMALLEST_SPREAD = 50.0
"""HU between the 1st and 99th percentile of the body, below which a prediction is in no unit of CT."""


@dataclasses.dataclass(frozen=True)
class ReadPrediction:
    """A prediction in the unit of its protocol.

    Attributes:
      array: `[D, H, W]` float32.
      overshoot: by how much of the range it left it before it was clamped; 0 where it did not.
      warning: one line about its unit; or "".
    """

    array: np.ndarray
    overshoot: float = 0.0
    warning: str = ""


def read_prediction(
    path: Path,
    protocol: IntensityProtocol,
    target: np.ndarray,
    foreground: np.ndarray,
    prediction_range: tuple[float, float] | None = None,
) -> ReadPrediction:
    """A prediction as it is scored.

    Predictions in [0, 1] are clamped where they overshoot by 1 % of the range or less. Predictions in HU are not
    clamped; their zero is checked by the soft tissue of the target.

    Args:
      path: the file.
      protocol: of the channel.
      target: `[D, H, W]`, the true channel in the protocol's unit.
      foreground: `[D, H, W]` bool, the brain or body.
      prediction_range: values of the file that stand for the ends of the protocol's range; None: it is in the
        protocol's unit.

    Raises:
      UserError: the file cannot be read, or is in another unit.
    """
    array = read_volume(path).array.astype(np.float32)
    if array.shape != target.shape:
        raise UserError(f"{path}: has the grid {array.shape}, its target {target.shape}; resample it onto that grid")
    if prediction_range is not None:
        low, high = prediction_range
        array = (array - low) / (high - low) * (protocol.high - protocol.low) + protocol.low
    if protocol.unit == "HU":
        return _in_hu(path, array, target, foreground)
    return _clamped(path, array, protocol, stated=prediction_range is not None)


def parse_range(text: str) -> tuple[float, float]:
    """`LOW,HIGH` of `--prediction_range`; raises UserError."""
    try:
        low, high = (float(part) for part in text.split(","))
    except ValueError:
        low, high = 0.0, 0.0
    if not (np.isfinite([low, high]).all() and low < high):
        raise UserError(f"--prediction_range: {text!r} is not LOW,HIGH with LOW below HIGH, such as -1,1")
    return low, high


def _clamped(path: Path, array: np.ndarray, protocol: IntensityProtocol, *, stated: bool) -> ReadPrediction:
    low, high = float(array.min()), float(array.max())
    overshoot = max(protocol.low - low, high - protocol.high, 0.0) / (protocol.high - protocol.low)
    if overshoot > OVERSHOOT:
        remedy = "correct --prediction_range" if stated else "state their unit by --prediction_range=LOW,HIGH"
        guess = ", such as -1,1" if not stated and -1.1 <= low < 0 and high <= 1.1 else ""
        raise UserError(
            f"{path}: holds values from {low:.4g} to {high:.4g}, which are not in {protocol.unit}; {remedy}{guess}"
        )
    return ReadPrediction(array.clip(protocol.low, protocol.high), overshoot if overshoot > ROUNDING else 0.0)


def _in_hu(path: Path, array: np.ndarray, target: np.ndarray, body: np.ndarray) -> ReadPrediction:
    inside = array[body]
    if inside.size == 0:
        raise UserError(f"{path}: has no body to be scored in; draw a mask")
    low, high = np.quantile(inside, (0.01, 0.99))
    remedy = "state their unit by --prediction_range=LOW,HIGH, the values that stand for -1024 and 3000 HU"
    if high - low < SMALLEST_SPREAD and np.ptp(array) < SMALLEST_SPREAD:
        raise UserError(f"{path}: holds values from {array.min():.4g} to {array.max():.4g}, which are not HU; {remedy}")
    soft = body & (target > SOFT_TISSUE[0]) & (target < SOFT_TISSUE[1])
    if not soft.any():
        return ReadPrediction(array)
    offset = float(np.median(array[soft]) - np.median(target[soft]))
    message = f"{path}: its soft tissue is {offset:+.0f} HU from that of the target"
    shifted = low > IMPOSSIBLE_AIR if offset > 0 else float(inside.min()) < LOWEST_HU
    if shifted and abs(abs(offset) - WATER_OFFSET) < OFFSET_TOLERANCE:
        ends = "0,4024" if offset > 0 else "-2048,1976"
        raise UserError(f"{message}, as where 1024 was added or subtracted; state it by --prediction_range={ends}")
    return ReadPrediction(array, warning=f"{message}; check its unit" if abs(offset) > OFFSET_TOLERANCE else "")
