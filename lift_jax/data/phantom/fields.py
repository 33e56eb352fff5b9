"""Grids of phantoms in millimeters, smooth random fields, and solid shapes painted with partial volume."""

from collections.abc import Callable

import numpy as np

from lift_jax.errors import UserError

SMALLEST_SIDE = 8
"""Voxels below which a grid holds no head."""

FIELD_RADIUS = 120.0
"""Half the side in mm of the cube, centered on the head, in which fields vary; beyond it they keep their edge value."""


Field = Callable[[float], np.ndarray]
"""Draws a smooth random field of a control point pitch in mm, `[N]` at N voxels of a mask."""


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


def ellipsoid(points: np.ndarray, center: tuple[float, float, float], half_axes: tuple):
    """Approximate signed distance to an ellipsoid, negative inside: `[D, H, W]` float32.

    Args:
      points: `[3, D, H, W]` float32, (z, y, x) in mm.
      center: (z, y, x).
      half_axes: likewise.
    """
    first = second = np.float32(0)
    for axis, middle, half in zip(points, center, half_axes, strict=True):
        scaled = (axis - np.float32(middle)) * np.float32(1 / half)
        square = scaled * scaled
        first = first + square
        second = second + square * np.float32(1 / half**2)
    first = np.sqrt(first)
    tiny = np.float32(1e-4)  # at the center both are 0, and their quotient is the half axis
    return (first - 1) * (first + tiny) / (np.sqrt(second) + tiny / np.float32(min(half_axes)))


def capsule(points: np.ndarray, start, end, radius: float, end_radius: float | None = None):
    """Signed distance to a rod with round ends between two places, whose radius may change along it: `[D, H, W]`."""
    direction = np.subtract(end, start).astype(np.float32)
    along = sum((axis - np.float32(s)) * d for axis, s, d in zip(points, start, direction, strict=True))
    along = np.clip(along / np.float32(direction @ direction), 0, 1)
    square = sum((axis - np.float32(s) - along * d) ** 2 for axis, s, d in zip(points, start, direction, strict=True))
    taper = 0.0 if end_radius is None else end_radius - radius
    return np.sqrt(square) - (np.float32(radius) + along * np.float32(taper))


def bump(points: np.ndarray, center: tuple[float, float, float], reach: tuple[float, float, float]) -> np.ndarray:
    """A Gaussian hill of height 1, `[D, H, W]` float32; `reach` holds its standard deviations in mm."""
    exponent = sum(
        ((axis - np.float32(c)) * np.float32(1 / r)) ** 2 for axis, c, r in zip(points, center, reach, strict=True)
    )
    return np.exp(np.float32(-0.5) * exponent)


def smooth_union(first: np.ndarray, second: np.ndarray, reach: float) -> np.ndarray:
    """The signed distance to two shapes melted together over `reach` mm."""
    mix = np.clip(np.float32(0.5) + (second - first) * np.float32(0.5 / reach), 0, 1)
    return second + (first - second) * mix - np.float32(reach) * mix * (1 - mix)


class Canvas:
    """Volumes onto which tissues are painted one over the other; a voxel holds the mean of what it covers.

    Attributes:
      levels: `[tissues, K]` float32, what a pure tissue shows in each of K volumes.
      volumes: `[K, D, H, W]` float32.
      softness: mm over which the edge of a shape is spread, by the size of the voxels.
    """

    def __init__(self, levels: np.ndarray, ground: int, shape: tuple[int, int, int], spacing: float):
        """A canvas all of tissue `ground`."""
        self.levels = np.asarray(levels, np.float32)
        self.volumes = np.empty((self.levels.shape[1], *shape), np.float32)
        self.volumes[...] = self.levels[ground][:, None, None, None]
        self.softness = np.float32(0.28 * np.hypot(spacing, 1))

    def inside(self, distance: np.ndarray) -> np.ndarray:
        """The share of each voxel that lies inside a shape with this signed distance."""
        return 1 / (1 + np.exp(np.clip(distance / self.softness, -30, 30)))

    def shell(self, distance: np.ndarray, inner, outer) -> np.ndarray:
        """The share of each voxel that lies between the distances `inner` and `outer` of a shape."""
        return np.clip(self.inside(distance - outer) - self.inside(distance - inner), 0, 1)

    def paint(self, share: np.ndarray, tissue: int) -> None:
        """Covers the share of each voxel, `[D, H, W]` in [0, 1], with a tissue."""
        for volume, level in zip(self.volumes, self.levels[tissue], strict=True):
            volume += share * (level - volume)

    def paint_mixture(self, share: np.ndarray, first: int, second: int, amount: np.ndarray) -> None:
        """Covers a share with two tissues at once, of which `amount` is the second's."""
        for volume, a, b in zip(self.volumes, self.levels[first], self.levels[second], strict=True):
            volume += share * (a + amount * (b - a) - volume)
