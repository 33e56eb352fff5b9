"""What every metric asks of its arrays: two finite volumes of one shape, and a mask that holds something."""

import numpy as np


def paired_volumes(target, prediction) -> tuple[np.ndarray, np.ndarray]:
    """`(target, prediction)` as float64 `[D, H, W]`; from NumPy or JAX arrays.

    Raises:
      ValueError: not three axes, different shapes, or a value that is not finite.
    """
    target, prediction = np.asarray(target, np.float64), np.asarray(prediction, np.float64)
    if target.ndim != 3 or target.shape != prediction.shape:
        raise ValueError(
            f"target and prediction must be volumes [D, H, W] of one shape, got {target.shape} and {prediction.shape}"
        )
    for name, volume in (("target", target), ("prediction", prediction)):
        if not np.isfinite(volume).all():
            raise ValueError(f"the {name} holds values that are not finite")
    return target, prediction


def nonempty_mask(mask, shape: tuple[int, ...]) -> np.ndarray:
    """`mask` as bool `[D, H, W]`: true where it is above zero.

    Raises:
      ValueError: another shape than `shape`, or nothing in the mask.
    """
    mask = np.asarray(mask) > 0
    if mask.shape != shape:
        raise ValueError(f"the mask must have the volumes' shape {shape}, got {mask.shape}")
    if not mask.any():
        raise ValueError("the mask is empty")
    return mask


def pearson(a: np.ndarray, b: np.ndarray) -> float:
    """Pearson's correlation of two `[n]` float64 samples; nan where one of them is constant."""
    if np.ptp(a) == 0 or np.ptp(b) == 0:
        return float("nan")
    a, b = a - a.mean(), b - b.mean()
    return float(a @ b / np.sqrt((a @ a) * (b @ b)))
