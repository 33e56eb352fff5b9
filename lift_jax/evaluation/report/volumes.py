"""Volumes embedded in a page: cropped, quantized, downsampled to a size limit, as gzip-compressed NIfTI in base64."""

import base64
import dataclasses
import gzip
from collections.abc import Iterable, Sequence

import nibabel as nib
import numpy as np

from lift_jax.evaluation.report.html import static_file
from lift_jax.evaluation.report.pictures import Picture, Window

MAX_PAGE_BYTES = 25_000_000
"""Size limit of a report."""

PAGE_RESERVE = 500_000
"""Bytes kept free for styles, scripts and tables."""

BLOCKS = ((1, 1, 1), (1, 2, 2), (2, 2, 2), (2, 3, 3), (2, 4, 4), (4, 4, 4), (8, 8, 8))
"""Voxels along (D, H, W) that are averaged into one, from the first choice to the last; depth is kept longest."""

UNIT_STEP, HU_STEP = 1 / 255, 1.0
"""Intensity steps that are stored of volumes in [0, 1] and in HU."""

GZIP_LEVEL = 6
BASE64_GROWTH = 4 / 3


@dataclasses.dataclass(frozen=True)
class Panel:
    """One volume of a scene.

    Attributes:
      name: heading.
      volume: `[D, H, W]`.
      windows: display windows; the first is the default. Panels with equal windows are adjusted together.
      step: intensity difference that is kept; values are rounded to multiples of it.
    """

    name: str
    volume: np.ndarray
    windows: tuple[Window, ...]
    step: float = UNIT_STEP


@dataclasses.dataclass(frozen=True)
class Scene:
    """Volumes on one grid, shown side by side.

    Attributes:
      title: name in the list of scenes.
      panels: the volumes.
      affine: `[4, 4]`, voxel (i, j, k) of the RAS+ grid to mm.
      foreground: `[D, H, W]` bool, what the volumes are cropped to.
      pair: indices of the two panels that can be swiped, e.g. prediction and target.
      difference_limit: end of the color scale of their difference; None for no difference.
    """

    title: str
    panels: Sequence[Panel]
    affine: np.ndarray
    foreground: np.ndarray
    pair: tuple[int, int] | None = None
    difference_limit: float | None = None


def spacing_affine(spacing: Sequence[float]) -> np.ndarray:
    """The affine of a RAS+ grid with a voxel size in mm along `(D, H, W)` and its first voxel at the origin."""
    return np.diag([*reversed([float(step) for step in spacing]), 1.0])


def picture_scene(picture: Picture) -> Scene:
    """Source, target and prediction of a picture. Outside of its mask the target's minimum is shown."""
    step = HU_STEP if picture.unit == "HU" else UNIT_STEP
    target, prediction = np.asarray(picture.target), np.asarray(picture.prediction)
    if picture.mask is not None:
        target, prediction = (np.where(picture.mask, volume, target.min()) for volume in (target, prediction))
    panels = (
        Panel("source", picture.source, (picture.source_window,)),
        Panel("target", target, picture.windows, step),
        Panel("prediction", prediction, picture.windows, step),
    )
    title = f"{picture.channel}, {picture.rank}: {picture.subject}"
    affine = spacing_affine(picture.spacing)
    return Scene(title, panels, affine, picture.foreground, (2, 1), picture.difference_limit)


def page_budget(png_bytes: int = 0) -> int:
    """Bytes that are left for volumes on a page that holds the viewer and pictures of a total size."""
    return int(MAX_PAGE_BYTES - PAGE_RESERVE - len(static_file("niivue.js").encode()) - png_bytes * BASE64_GROWTH)


class SceneCollector:
    """Keeps scenes cropped and quantized, one after the other, so that full volumes need not stay in memory."""

    def __init__(self) -> None:
        self._scenes: list[Scene] = []

    def add(self, scene: Scene) -> None:
        """Adds a scene."""
        box = _crop_box(scene.foreground)
        panels = [
            dataclasses.replace(panel, volume=quantize(np.asarray(panel.volume)[box], panel.step))
            for panel in scene.panels
        ]
        affine = _shifted(scene.affine, [s.start for s in box], (1, 1, 1))
        self._scenes.append(dataclasses.replace(scene, panels=panels, affine=affine, foreground=scene.foreground[box]))

    def encode(self, budget: int, start: int = 0) -> dict | None:
        """The viewer's data as JSON types, within `budget` bytes; None without a scene.

        All scenes are downsampled by the first of `BLOCKS` that fits. Should none fit, the last scenes are left out.

        Args:
          budget: bytes.
          start: index of the scene that is shown first.
        """
        scenes = self._scenes
        if not scenes:
            return None
        encoded, block = self._fit(budget)
        total = len(encoded)
        while encoded and sum(map(_size, encoded)) > budget:
            encoded.pop()
        return {"scenes": encoded, "start": min(start, max(len(encoded) - 1, 0)), "note": _note(block, encoded, total)}

    def _fit(self, budget: int) -> tuple[list[dict], tuple[int, int, int]]:
        raw = sum(panel.volume.nbytes for scene in self._scenes for panel in scene.panels)
        for block in BLOCKS:
            if raw / np.prod(block) > 20 * budget and block != BLOCKS[-1]:
                continue  # gzip does not shrink that much; do not try
            encoded = [_encode(scene, block) for scene in self._scenes]
            if sum(map(_size, encoded)) <= budget:
                break
        return encoded, block


def encode_scenes(scenes: Iterable[Scene], budget: int, start: int = 0) -> dict | None:
    """`SceneCollector.encode` of scenes that are made one after the other."""
    collector = SceneCollector()
    for scene in scenes:
        collector.add(scene)
    return collector.encode(budget, start)


def quantize(volume: np.ndarray, step: float) -> np.ndarray:
    """A volume in multiples of `step`: uint8 where they lie in [0, 255], else int16, clipped to its range."""
    multiples = np.rint(np.asarray(volume, np.float32) / step)
    if multiples.size and multiples.min() >= 0 and multiples.max() <= 255:
        return multiples.astype(np.uint8)
    limits = np.iinfo(np.int16)
    return np.clip(multiples, limits.min, limits.max).astype(np.int16)


def downsample(volume: np.ndarray, block: tuple[int, int, int]) -> np.ndarray:
    """Means over blocks of voxels, rounded, of an integer volume `[D, H, W]`; edges are repeated to whole blocks."""
    if block == (1, 1, 1):
        return volume
    pads = [(0, -size % step) for size, step in zip(volume.shape, block, strict=True)]
    padded = np.pad(volume, pads, mode="edge")
    d, h, w = (size // step for size, step in zip(padded.shape, block, strict=True))
    blocks = padded.reshape(d, block[0], h, block[1], w, block[2])
    return np.rint(blocks.mean((1, 3, 5), dtype=np.float32)).astype(volume.dtype)


def nifti_base64(volume: np.ndarray, step: float, affine: np.ndarray) -> str:
    """A quantized volume `[D, H, W]` as a gzip-compressed NIfTI file in base64, the same for the same volume."""
    image = nib.Nifti1Image(np.ascontiguousarray(volume.transpose(2, 1, 0)), affine)
    image.header.set_slope_inter(step, 0)
    image.header.set_xyzt_units("mm")
    return base64.b64encode(gzip.compress(image.to_bytes(), GZIP_LEVEL, mtime=0)).decode("ascii")


def _encode(scene: Scene, block: tuple[int, int, int]) -> dict:
    """A scene of quantized volumes as JSON types."""
    affine = _shifted(scene.affine, (0, 0, 0), block)
    panels = [
        {
            "name": panel.name,
            "windows": [window._asdict() for window in panel.windows],
            "nifti": nifti_base64(downsample(panel.volume, block), panel.step, affine),
        }
        for panel in scene.panels
    ]
    shape = [-(-size // step) for size, step in zip(scene.panels[0].volume.shape, block, strict=True)]
    limit = scene.difference_limit
    return {"title": scene.title, "shape": shape, "panels": panels, "pair": scene.pair, "difference_limit": limit}


def _size(scene: dict) -> int:
    return sum(len(panel["nifti"]) for panel in scene["panels"])


def _crop_box(foreground: np.ndarray, margin: int = 2) -> tuple[slice, ...]:
    """Slices around the foreground with a margin in voxels; the whole volume if there is none."""
    foreground = np.asarray(foreground, bool)
    if not foreground.any():
        return (slice(0, None),) * 3
    box: list[slice] = []
    for axis in range(3):
        inside = np.flatnonzero(foreground.any(tuple(other for other in range(3) if other != axis)))
        box.append(slice(max(0, int(inside[0]) - margin), int(inside[-1]) + 1 + margin))
    return tuple(box)


def _shifted(affine: np.ndarray, start: Sequence[int], block: Sequence[int]) -> np.ndarray:
    """The affine of a grid that starts at voxel `start (D, H, W)` and averages blocks of voxels."""
    grid = np.eye(4)
    grid[:3, :3] = np.diag(block[::-1])
    grid[:3, 3] = [first + (step - 1) / 2 for first, step in zip(start[::-1], block[::-1], strict=True)]
    return np.asarray(affine, np.float64) @ grid


def _note(block: tuple[int, int, int], encoded: list[dict], total: int) -> str:
    blocks = " × ".join(map(str, block))
    text = "The volumes in this page are cropped to the foreground"
    if block != (1, 1, 1):
        text += f" and averaged over blocks of {blocks} voxels (D × H × W) to keep the file below 25 MB"
    text += "; intensities are rounded. Use the NIfTI files for measurements."
    if len(encoded) < total:
        text += f" {total - len(encoded)} of {total} do not fit and are left out."
    return text
