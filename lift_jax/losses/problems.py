"""Several problems side by side along the axis of locations: what is normalised, is normalised within each of them."""

import dataclasses
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np


@dataclasses.dataclass(frozen=True)
class Problems:
    """Consecutive locations that make a problem each, as those of one feature tensor do.

    Attributes:
      sizes: locations of each of the G problems; L in all.
    """

    sizes: tuple[int, ...]

    @classmethod
    def of(cls, sizes: Sequence[int] | None, locations: int) -> "Problems":
        """Those of these sizes, or all locations as one problem.

        Raises:
          ValueError: if the sizes do not add up to the locations, or one of them is none.
        """
        sizes = (locations,) if sizes is None else tuple(sizes)
        if sum(sizes) != locations or min(sizes) < 1:
            raise ValueError(f"problems of {sizes} locations do not make up the {locations} that there are")
        return cls(sizes)

    def mean(self, x: jax.Array) -> jax.Array:
        """The mean over each problem's locations and all further axes, `[L, ...]` to `[G]`."""
        if len(self.sizes) == 1:
            return x.mean()[None]
        rows = x.reshape(len(x), -1).mean(1)
        # A product, not a sum by segments: accelerators add up those in any order.
        share = np.repeat(np.eye(len(self.sizes), dtype=np.float32), self.sizes, axis=1)
        return jnp.dot(share / np.float32(self.sizes)[:, None], rows, precision="highest")

    def at_locations(self, values: jax.Array) -> jax.Array:
        """Every location's own of one value a problem, `[G]` to `[L, 1, 1]`."""
        return values[np.repeat(np.arange(len(self.sizes)), self.sizes)][:, None, None]
