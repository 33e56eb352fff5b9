"""Reads folders of skull-stripped scans, one folder a subject, in BraTS 2023 names or as `T1`, `FLAIR` and `GT_W`."""

import dataclasses
import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from lift_jax.data.datasets import BRATS_CHANNELS as CHANNELS
from lift_jax.data.intensity import get_protocol
from lift_jax.data.resample import resample_foreground, resample_onto, resampled_grid
from lift_jax.data.volumes import read_volume

OTHER_NAMES = {"T1": "t1n", "FLAIR": "t2f"}
TUMOR = "GT_W"


@dataclasses.dataclass(frozen=True)
class Scan:
    """One subject: channels `[D, H, W]` in [0, 1] by the cWDM protocol, at the resolution of the files.

    Attributes:
      site: the folder that holds the subject.
      name: of the subject.
      images: by channel, those that exist.
      affine: `[4, 4]`, voxel `(i, j, k)` to millimeters.
      tumor: `[D, H, W]` bool, or None where no one outlined any.
    """

    site: str
    name: str
    images: dict[str, np.ndarray]
    affine: np.ndarray
    tumor: np.ndarray | None = None

    def sources(self, target: str) -> np.ndarray:
        """All channels but the target, `[D, H, W, C]`."""
        return np.stack([image for channel, image in self.images.items() if channel != target], axis=-1)

    def resampled(self, spacing: float) -> "Scan":
        """The same in voxels of `spacing` mm."""
        images, affine = self.coarse(spacing)
        tumor = None
        if self.tumor is not None:
            shape = next(iter(images.values())).shape
            tumor = resample_onto(self.tumor.astype(np.float32), self.affine, shape, affine) > 0.5
        return Scan(self.site, self.name, images, affine, tumor)

    def coarse(self, spacing: float) -> tuple[dict[str, np.ndarray], np.ndarray]:
        """The images in voxels of `spacing` mm, levels as they were, and their affine."""
        images = {}
        for channel, image in self.images.items():
            grid = resampled_grid(image.shape, self.affine, spacing, (0, 0, 0))
            images[channel] = resample_foreground(image, image > 0, 0.0, self.affine, *grid)[0]
        return images, grid[1]


def read_scans(root: str | os.PathLike) -> Iterator[Scan]:
    """Reads the subjects below a folder, in the order of their names; folders without a known file are passed over."""
    root, protocol = Path(root), get_protocol("mr_quantile")
    for folder in sorted(path for path in root.iterdir() if path.is_dir()):
        paths = {_channel(path, folder.name): path for path in sorted(folder.glob("*.nii*"))}
        volumes = {name: read_volume(paths[name]) for name in (*CHANNELS, TUMOR) if name in paths}
        tumor = volumes.pop(TUMOR, None)
        if len(volumes) > 1:
            arrays = {channel: volume.array for channel, volume in volumes.items()}
            images = {channel: protocol.normalize(array, array > 0) for channel, array in arrays.items()}
            affine = next(iter(volumes.values())).affine
            yield Scan(root.name, folder.name, images, affine, None if tumor is None else tumor.array > 0)


def _channel(path: Path, subject: str) -> str:
    stem = path.name.split(".nii")[0].removeprefix(f"{subject}-")
    return OTHER_NAMES.get(stem, stem)
