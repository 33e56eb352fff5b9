"""Solid shapes as signed distances in millimeters, and a canvas on which tissues are painted with partial volume."""

import numpy as np


def ellipsoid(points: np.ndarray, center: tuple[float, float, float], half_axes: tuple[float, float, float]):
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
