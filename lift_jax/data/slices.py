"""Single slices of volumes, for training."""

import dataclasses

import grain
import numpy as np

from lift_jax.data.intensity import unit_to_network


@dataclasses.dataclass(frozen=True)
class RandomSlice(grain.transforms.RandomMap):
    """A random slice of a volume that shows something, in a random plane: `image [S, S, 1]` float32 in [-1, 1].

    Attributes:
      side: S; smaller slices are padded with background, larger ones cropped at random.
      flip: mirror left and right, every other time, where the plane has a left and a right.
    """

    side: int
    flip: bool = True

    def random_map(self, volume: np.ndarray, rng: np.random.Generator) -> dict[str, np.ndarray]:
        """The slice that `rng` draws from `volume [D, H, W]` in [0, 1]."""
        axis = int(rng.integers(3))
        shown = np.flatnonzero(volume.any(axis=tuple(other for other in range(3) if other != axis)))
        image = np.take(volume, rng.choice(shown) if shown.size else 0, axis=axis).astype(np.float32)
        if self.flip and axis < 2 and rng.random() < 0.5:
            image = image[:, ::-1]
        start = [int(rng.integers(max(size - self.side, 0) + 1)) for size in image.shape]
        image = image[start[0] : start[0] + self.side, start[1] : start[1] + self.side]
        missing = [self.side - size for size in image.shape]
        image = np.pad(image, [(n // 2, n - n // 2) for n in missing])
        return {"image": unit_to_network(image)[..., None]}
