"""One channel of every subject, for learning to generate it: WDM's grid, and volumes as one array."""

import hashlib
from collections.abc import Sequence

import numpy as np
from ml_collections import ConfigDict

from lift_jax.data.cache import CachedSubject
from lift_jax.data.geometry import Grid, new_geometry
from lift_jax.data.sources import subject_source
from lift_jax.data.subject import Subject, SubjectSource, TransformedSubjects
from lift_jax.errors import UserError

WDM_SHAPE = (155, 240, 240)
"""Grid `(D, H, W)` of BraTS, for which WDM's protocol is defined."""

WDM_PADDING = ((50, 51), (8, 8), (8, 8))
"""Voxels of background before and after each axis, which make 256³ of it (WDM, arXiv 2402.19043)."""

WDM_RESULT = (128, 128, 128)
"""Grid `(D, H, W)` after the protocol."""

WDM_SPACING = 2.0
"""Millimeters of a voxel after the protocol, of BraTS's 1 mm."""


class WdmSubjects(TransformedSubjects):
    """Subjects on BraTS's grid brought to 128³ by WDM's protocol, a SubjectSource; masks and labels are left out.

    The source has channels whose background is 0.
    """

    def load(self, index: int, channels: Sequence[str] | None = None) -> Subject:
        """Reads subject `index`; raises UserError if its grid is not BraTS's."""
        subject = self.subjects.load(index, channels)
        if subject.shape != WDM_SHAPE:
            raise UserError(
                f"{subject.name}: has {subject.shape} slices, rows and columns; WDM's protocol needs {WDM_SHAPE}"
            )
        images = {channel: halve_wdm(image) for channel, image in subject.images.items()}
        return Subject(subject.name, images, subject.affine @ _wdm_voxels())

    def fingerprint(self, index: int) -> str:
        """A hex digest of the subject's own fingerprint and the protocol."""
        return hashlib.sha256(repr((self.subjects.fingerprint(index), WDM_PADDING)).encode()).hexdigest()

    def geometry(self, index: int) -> Grid:
        """The grid of 128³ voxels of twice the size."""
        return new_geometry(WDM_RESULT, self.subjects.geometry(index).affine @ _wdm_voxels())


def channel_source(data: ConfigDict, split: str) -> SubjectSource:
    """The subjects of a split of which `config.data.targets` names the one channel that is generated.

    Scans on BraTS's grid without a size or spacing are brought to 128³ by WDM's protocol.

    Raises:
      UserError: as `subject_source`.
    """
    source = subject_source(ConfigDict(dict(data.items()) | {"sources": tuple(data.targets)}), split)
    return source if any(data.size) or data.spacing > 0 else WdmSubjects(source)


def volume_shape(data: ConfigDict) -> tuple[int, int, int]:
    """The shape `(D, H, W)` of the volumes of a configured data set."""
    depth, height, width = data.size if any(data.size) else WDM_RESULT
    return depth, height, width


def volume_spacing(data: ConfigDict) -> float:
    """Millimeters of the cubic voxels of the volumes of a configured data set."""
    return data.spacing if data.spacing > 0 else WDM_SPACING


def stack_volumes(subjects: Sequence[CachedSubject], channel: str) -> np.ndarray:
    """The references of one channel of cached subjects, `[V, D, H, W]` in the stored dtype.

    Raises:
      UserError: if they differ in shape, or hold a value that is not finite.
    """
    volumes = [subject.reference(channel) for subject in subjects]
    shapes = {volume.shape for volume in volumes}
    if len(shapes) > 1:
        listed = ", ".join(map(str, sorted(shapes)[:3]))
        raise UserError(f"config.data: volumes differ in shape ({listed}); set config.data.size and spacing")
    for subject, volume in zip(subjects, volumes, strict=True):
        if not np.isfinite(volume).all():
            raise UserError(f"{subject.directory}: holds values that are not finite; delete it and start again")
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
