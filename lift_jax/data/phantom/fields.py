"""Grids of phantoms, and smooth random fields in millimeters: the same on every grid, whatever its voxel size."""

import numpy as np

from lift_jax.errors import UserError

SMALLEST_SIDE = 8
"""Voxels below which a grid holds no head."""

FIELD_RADIUS = 120.0
"""Half the side in mm of the cube, centered on the head, in which fields vary; beyond it they keep their edge value."""


def check_grid(shape: tuple[int, int, int], spacing: float) -> None:
    """Raises UserError if a grid can hold no volume."""
    if len(shape) != 3 or min(shape) < SMALLEST_SIDE or not spacing > 0:
        raise UserError(
            f"phantom: shape={tuple(shape)}, spacing={spacing}: "
            f"give three sides of at least {SMALLEST_SIDE} voxels and a spacing in mm above 0"
        )


def grid_affine(shape: tuple[int, int, int], spacing: float) -> np.ndarray:
    """Voxel (i, j, k) of a grid `(D, H, W)` centered on the origin to millimeters, `[4, 4]` float64, RAS+."""
    affine = np.diag([spacing, spacing, spacing, 1.0])
    affine[:3, 3] = [-(size - 1) / 2 * spacing for size in reversed(shape)]
    return affine


def grid_axes(shape: tuple[int, int, int], spacing: float) -> list[np.ndarray]:
    """The voxel centers in mm along D, H and W of a grid centered on the origin: three float32 vectors."""
    return [((np.arange(size) - (size - 1) / 2) * spacing).astype(np.float32) for size in shape]


def smooth_field(generator: np.random.Generator, axes: list[np.ndarray], pitch: float) -> np.ndarray:
    """A smooth random field of zero mean and about unit variance, `[D, H, W]` float32.

    Standard normal coefficients of cubic B-splines on a control grid over the cube of `FIELD_RADIUS`. The number of
    draws depends on `pitch` alone, so that one seed gives one field at every resolution.

    Args:
      generator: source of the coefficients.
      axes: coordinates of the voxel centers in mm along D, H and W.
      pitch: distance between control points in mm: structures are about twice as large.
    """
    knots = int(np.ceil(2 * FIELD_RADIUS / pitch)) + 3
    coefficients = generator.standard_normal((knots, knots, knots), dtype=np.float32)
    depth, height, width = (_spline_basis(axis, pitch, knots) for axis in axes)
    field = np.einsum("zc,abc->abz", width, coefficients, optimize=True)
    field = np.einsum("yb,abz->ayz", height, field, optimize=True)
    field = np.tensordot(depth, field, axes=1)
    return field / np.float32(_ROOT_MEAN_SQUARE**3)


_ROOT_MEAN_SQUARE = (151 / 315) ** 0.5
"""Root of the mean over a knot interval of the sum of squared cubic B-splines, which is 151/315."""


def _spline_basis(axis: np.ndarray, pitch: float, knots: int) -> np.ndarray:
    """Cubic B-spline weights `[len(axis), knots]` at coordinates in mm."""
    inside = np.clip(axis, -FIELD_RADIUS, FIELD_RADIUS)
    distance = np.abs((inside[:, None] + FIELD_RADIUS) / pitch + 1 - np.arange(knots))
    near = 2 / 3 - distance**2 + distance**3 / 2
    far = np.maximum(2 - distance, 0) ** 3 / 6
    return np.where(distance < 1, near, far).astype(np.float32)
