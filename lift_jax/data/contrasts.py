"""Volumes of one contrast, for learning to make them: what LiFT-U trains on."""

import dataclasses
import hashlib
from collections.abc import Sequence

import numpy as np
from ml_collections import ConfigDict

from lift_jax.data.brats import BratsCases, check_split, find_cases
from lift_jax.data.cache import CachedCase
from lift_jax.data.cases import CONTRASTS, Case, CaseSource
from lift_jax.data.sources import case_source
from lift_jax.data.splits import read_split_file, split_cases
from lift_jax.errors import UserError
from lift_jax.places import local_place

WDM_SHAPE = (155, 240, 240)
"""Grid `(D, H, W)` of BraTS, for which WDM's protocol is defined."""

WDM_PADDING = ((50, 51), (8, 8), (8, 8))
"""Voxels of background before and after each axis, which make 256³ of it (WDM, arXiv 2402.19043)."""

WDM_SPACING = 2.0
"""Millimeters of a voxel of WDM's protocol, of BraTS's 1 mm."""


@dataclasses.dataclass(frozen=True)
class ContrastCases:
    """One contrast of every case of a source, as cases with a single channel.

    Attributes:
      cases: a source of cases that have the contrast.
      contrast: a name in `CONTRASTS`.
      wdm: bring BraTS's grid to 128³ by WDM's protocol.
    """

    cases: CaseSource
    contrast: str
    wdm: bool = False

    @property
    def names(self) -> Sequence[str]:
        """Names of the cases."""
        return self.cases.names

    def load(self, index: int) -> Case:
        """Reads or makes case `index`; raises UserError if WDM's protocol is wanted and its grid is not BraTS's."""
        case = self.cases.load(index)
        volume, affine = case.targets[..., CONTRASTS.index(self.contrast)], case.affine
        if self.wdm:
            if volume.shape != WDM_SHAPE:
                raise UserError(
                    f"{case.name}: has {volume.shape} slices, rows and columns; WDM's protocol wants {WDM_SHAPE}"
                )
            volume, affine = halve_wdm(volume), affine @ _wdm_voxels()
        volume = np.ascontiguousarray(volume)[..., None]
        return Case(case.name, volume, volume, np.ones(1, bool), affine)

    def fingerprint(self, index: int) -> str:
        """A hex digest of the case's own fingerprint, the contrast and the protocol."""
        known = (self.cases.fingerprint(index), self.contrast, self.wdm, WDM_PADDING)
        return hashlib.sha256(repr(known).encode()).hexdigest()


def contrast_source(data: ConfigDict, split: str) -> ContrastCases:
    """One contrast of the cases of a split (`train`, `validation` or `test`) of a configured data set.

    Raises:
      UserError: if the folder holds no cases, or any case of any split lacks the contrast or cannot be used.
    """
    if data.layout == "phantom":
        return ContrastCases(case_source(data, split), data.contrast)
    root = local_place(data.root)
    names = find_cases(root)
    splits = read_split_file(data.split_file, names) if data.split_file else split_cases(names)
    required = (data.contrast,)
    check_split(root, sorted(name for members in splits.values() for name in members), required)
    return ContrastCases(BratsCases(root, tuple(splits[split]), required, None), data.contrast, wdm=True)


def volume_shape(data: ConfigDict) -> tuple[int, int, int]:
    """The shape (D, H, W) of the volumes of a configured data set."""
    if data.layout == "phantom":
        return tuple(data.shape)
    return tuple((size + sum(padding)) // 2 for size, padding in zip(WDM_SHAPE, WDM_PADDING, strict=True))


def volume_spacing(data: ConfigDict) -> float:
    """Millimeters of the cubic voxels of the volumes of a configured data set."""
    return data.spacing if data.layout == "phantom" else WDM_SPACING


def stack_volumes(cases: Sequence[CachedCase]) -> np.ndarray:
    """The volumes of cached single-channel cases, `[V, D, H, W]` float16 in [0, 1].

    Raises:
      UserError: if they differ in shape, or hold a value that is not finite.
    """
    volumes = [case.array("targets")[..., 0] for case in cases]
    shapes = {volume.shape for volume in volumes}
    if len(shapes) > 1:
        raise UserError(
            f"config.data: volumes differ in shape ({', '.join(map(str, sorted(shapes)[:3]))}); use one grid"
        )
    for case, volume in zip(cases, volumes, strict=True):
        if not np.isfinite(volume).all():
            raise UserError(f"{case.directory}: holds values that are not finite; delete it and start again")
    return np.stack(volumes)


def halve_wdm(volume: np.ndarray) -> np.ndarray:
    """A BraTS volume `[155, 240, 240]`, padded to 256³ and averaged over 2³ blocks: `[128, 128, 128]` float32."""
    padded = np.pad(volume, WDM_PADDING)
    depth, height, width = (side // 2 for side in padded.shape)
    return padded.reshape(depth, 2, height, 2, width, 2).mean(axis=(1, 3, 5), dtype=np.float32)


def _wdm_voxels() -> np.ndarray:
    """Voxels (i, j, k) of the halved grid to voxels of BraTS's, `[4, 4]`."""
    (below, _), (top, _), (left, _) = WDM_PADDING
    matrix = np.diag([2.0, 2.0, 2.0, 1.0])
    matrix[:3, 3] = 0.5 - np.array([left, top, below])
    return matrix
