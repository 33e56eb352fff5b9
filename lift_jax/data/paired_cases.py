"""A case of MR to CT: a registered pair of one subject, and where the body is."""

import dataclasses

import numpy as np


@dataclasses.dataclass(frozen=True)
class PairedCase:
    """An MR and its CT on one canonical (RAS+) grid.

    Attributes:
      name: the case's directory name, or a name made from seed and index.
      mr: `[D, H, W]` float32 in [0, 1], scaled by the protocol, zero outside the body.
      ct: `[D, H, W]` float32 in Hounsfield units, or None where there is none.
      mask: `[D, H, W]` bool, the body.
      affine: `[4, 4]` float64, voxel `(i, j, k)` of the canonical grid to millimeters; `mr[k, j, i]`.
    """

    name: str
    mr: np.ndarray
    ct: np.ndarray | None
    mask: np.ndarray
    affine: np.ndarray

    @property
    def spacing(self) -> tuple[float, float, float]:
        """Voxel sides in millimeters along `(D, H, W)`."""
        return tuple(float(side) for side in np.linalg.norm(self.affine[:3, :3], axis=0)[::-1])

    def stored(self) -> tuple[dict, dict[str, np.ndarray]]:
        """Facts and arrays as the cache keeps them: MR in half precision, CT as the whole numbers scanners write.

        Half precision would round a CT number of bone to 2, whole numbers round it to 1, and files hold no other.
        """
        arrays = {"mr": self.mr.astype(np.float16), "mask": self.mask}
        if self.ct is not None:
            arrays["ct"] = np.rint(self.ct).clip(-32768, 32767).astype(np.int16)
        return {"name": self.name, "affine": self.affine.tolist()}, arrays
