"""Where the slices of a volume lie along depth, as numbers in [-1, 1]."""

import numpy as np


def slice_centers(slices: int) -> np.ndarray:
    """Centers of slices that divide the field of view [-1, 1], `(2i + 1)/D - 1`, from inferior to superior: `[D]`.

    Of LiFT-U, which may sample another number of slices than it was trained on: a slice of `trained/D` times the
    thickness then lies where the head has it. Float32.
    """
    return ((2 * np.arange(slices) + 1) / slices - 1).astype(np.float32)


def depth_coordinates(slices: int) -> np.ndarray:
    """Ranks of slices from inferior to superior, -1 the first and 1 the last, `[D]` float32; a lone slice lies at 0.

    Of LiFT-C's z-mixer, which always sees the slices that there are, and so tells the ends of a volume apart from what
    lies within, whatever its depth. They are no positions in millimeters; for those see `slice_centers`.
    """
    if slices == 1:
        return np.zeros(1, np.float32)
    return np.linspace(-1, 1, slices, dtype=np.float32)
