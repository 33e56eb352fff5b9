"""Training windows of MR to CT, out of cached pairs."""

import dataclasses

import grain
import numpy as np

from lift_jax.data.cache import CachedCase
from lift_jax.data.hounsfield import OUTSIDE, hounsfield_to_network
from lift_jax.data.intensities import to_network
from lift_jax.data.windows import counted, draw_range, draw_start, pad_planes
from lift_jax.models.depth_encoding import depth_coordinates


@dataclasses.dataclass(frozen=True)
class TakePair(grain.transforms.RandomMap):
    """A random window of a pair, augmented.

    The result, all float32, with T = `window` slices (repeating the last where the volume is shorter):
    `sources [T, H, W, 1]` and `target [T, H, W]` in [-1, 1]; `available [1]` and `wanted [1]`, both 1, for there is one
    source and one target; `depth [T]`, each slice's place in the whole volume; `counted [T]`, 1
    for slices of the volume and 0 for repeats; and `body [T, H, W]`, 1 in the body.
    The target is -1 outside the body.

    Attributes:
      window: consecutive slices.
      size: rows and columns of the result; larger slices are cropped at random, smaller ones padded with background.
      flip: mirror left and right, every other time.
      gamma: the MR is raised to the power of e^N(0, gamma²).
    """

    window: int
    size: tuple[int, int]
    flip: bool = True
    gamma: float = 0.0

    def random_map(self, case: CachedCase, rng: np.random.Generator) -> dict[str, np.ndarray]:
        """The window that `rng` draws from `case`."""
        mr = case.array("mr")
        slices, height, width = mr.shape
        start = draw_start(slices, self.window, rng)
        index = np.minimum(np.arange(start, start + self.window), slices - 1)
        rows, columns = draw_range(height, self.size[0], rng), draw_range(width, self.size[1], rng)
        flip = self.flip and rng.random() < 0.5

        def cut(name: str) -> np.ndarray:
            part = np.asarray(case.array(name)[start : start + self.window, rows, columns], np.float32)
            if name == "ct":
                part = part - np.float32(OUTSIDE)  # so that padding with zeros pads with air
            part = pad_planes(part[:, :, ::-1] if flip else part, self.size)
            return part[index - start] if len(part) < self.window else part

        source, body = cut("mr"), cut("mask")
        if self.gamma > 0:
            source **= np.float32(np.exp(rng.normal(0, self.gamma)))
        target = hounsfield_to_network(np.where(body > 0, cut("ct") + np.float32(OUTSIDE), np.float32(OUTSIDE)))
        return {
            "sources": to_network(source)[..., None],
            "target": target.astype(np.float32),
            "available": np.ones(1, np.float32),
            "wanted": np.ones(1, np.float32),
            "depth": depth_coordinates(slices)[index],
            "counted": counted(start, self.window, slices),
            "body": body,
        }
