"""The volume viewer of a page: volumes cropped, quantized and downsampled to a size limit, as NIfTI in base64.

`write_viewer` makes a page of it for any NIfTI files on one grid.
"""

import base64
import dataclasses
import gzip
import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import nibabel as nib
import numpy as np

from lift_jax.data.scans import check_same_grid
from lift_jax.data.subject import foreground_box
from lift_jax.data.volumes import read_volume
from lift_jax.errors import UserError
from lift_jax.evaluation.report.page import render, static_file, write_text
from lift_jax.evaluation.report.pictures import UNIT_WINDOW, Picture, Window
from lift_jax.paths import PathLike

MAX_PANELS = 6
"""Volumes side by side; browsers limit the number of WebGL contexts on a page."""

MAX_PAGE_BYTES = 25_000_000
"""Size limit of a report."""

PAGE_RESERVE = 500_000
"""Bytes kept free for styles, scripts and tables."""

DOWNSAMPLING_BLOCKS = ((1, 1, 1), (1, 2, 2), (2, 2, 2), (2, 3, 3), (2, 4, 4), (4, 4, 4), (8, 8, 8))
"""Voxels along (D, H, W) that are averaged into one, from the first choice to the last; depth is kept longest."""

UNIT_STEP, HU_STEP = 1 / 255, 1.0
"""Intensity steps that are stored of volumes in [0, 1] and in HU."""

WINDOW_QUANTILES = (0.005, 0.995)
"""Quantiles of the foreground that are black and white where no window is given."""

PAGE_GZIP_LEVEL = 6
BASE64_GROWTH = 4 / 3


@dataclasses.dataclass(frozen=True)
class Panel:
    """One volume of a scene.

    Attributes:
      name: heading.
      volume: `[D, H, W]`.
      windows: display windows; the first is the default. Panels with equal windows are adjusted together.
      step: intensity difference that is kept; `make_scene` rounds values to multiples of it, and keeps these.
    """

    name: str
    volume: np.ndarray
    windows: tuple[Window, ...]
    step: float = UNIT_STEP


@dataclasses.dataclass(frozen=True)
class Scene:
    """Volumes on one grid, shown side by side, cropped and quantized by `make_scene`.

    Attributes:
      title: name in the list of scenes.
      panels: the volumes.
      affine: `[4, 4]`, voxel (i, j, k) of the RAS+ grid to mm.
      pair: indices of the two panels that can be swiped, e.g. prediction and target.
      difference_limit: end of the color scale of their difference; None for no difference.
    """

    title: str
    panels: Sequence[Panel]
    affine: np.ndarray
    pair: tuple[int, int] | None = None
    difference_limit: float | None = None


def make_scene(
    title: str,
    panels: Sequence[Panel],
    affine: np.ndarray,
    foreground: np.ndarray,
    pair: tuple[int, int] | None = None,
    difference_limit: float | None = None,
) -> Scene:
    """A scene cropped to `foreground [D, H, W]` with 2 voxels of margin, and quantized: small enough to be kept."""
    box = foreground_box(np.asarray(foreground, bool), margin=(2, 2, 2), step=(1, 1, 1))
    panels = [
        dataclasses.replace(panel, volume=quantize(np.asarray(panel.volume)[box.slices], panel.step))
        for panel in panels
    ]
    return Scene(title, panels, _shifted(affine, box.start, (1, 1, 1)), pair, difference_limit)


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
    return make_scene(title, panels, affine, picture.foreground, (2, 1), picture.difference_limit)


def page_budget(png_bytes: int = 0) -> int:
    """Bytes that are left for volumes on a page that holds the viewer and pictures of a total size."""
    return int(MAX_PAGE_BYTES - PAGE_RESERVE - len(static_file("niivue.js").encode()) - png_bytes * BASE64_GROWTH)


def encode_scenes(scenes: Iterable[Scene], budget: int, start: int = 0) -> dict | None:
    """The viewer's data as JSON types, within `budget` bytes; None without a scene.

    All scenes are downsampled by the first of `DOWNSAMPLING_BLOCKS` that fits; if none does, last scenes are left out.

    Args:
      scenes: of `make_scene`.
      budget: bytes.
      start: index of the scene that is shown first.
    """
    scenes = list(scenes)
    if not scenes:
        return None
    raw = sum(panel.volume.nbytes for scene in scenes for panel in scene.panels)
    for block in DOWNSAMPLING_BLOCKS:
        if raw / np.prod(block) > 20 * budget and block != DOWNSAMPLING_BLOCKS[-1]:
            continue  # gzip does not shrink that much; do not try
        encoded = [_encode(scene, block) for scene in scenes]
        if sum(map(_size, encoded)) <= budget:
            break
    while encoded and sum(map(_size, encoded)) > budget:
        encoded.pop()
    note = _note(block, len(encoded), len(scenes))
    return {"scenes": encoded, "start": min(start, max(len(encoded) - 1, 0)), "note": note}


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


def _encode(scene: Scene, block: tuple[int, int, int]) -> dict:
    """A scene of quantized volumes as JSON types; the same scene gives the same bytes."""
    affine = _shifted(scene.affine, (0, 0, 0), block)
    panels = []
    for panel in scene.panels:
        volume = downsample(panel.volume, block)
        image = nib.Nifti1Image(np.ascontiguousarray(volume.transpose(2, 1, 0)), affine)
        image.header.set_slope_inter(panel.step, 0)
        image.header.set_xyzt_units("mm")
        content = base64.b64encode(gzip.compress(image.to_bytes(), PAGE_GZIP_LEVEL, mtime=0)).decode("ascii")
        windows = [window._asdict() for window in panel.windows]
        panels.append({"name": panel.name, "windows": windows, "nifti": content})
    shape = list(volume.shape)
    encoded = {"title": scene.title, "shape": shape, "panels": panels}
    return encoded | {"pair": scene.pair, "difference_limit": scene.difference_limit}


def _size(scene: dict) -> int:
    return sum(len(panel["nifti"]) for panel in scene["panels"])


def _shifted(affine: np.ndarray, start: Sequence[int], block: Sequence[int]) -> np.ndarray:
    """The affine of a grid that starts at voxel `start (D, H, W)` and averages blocks of voxels."""
    grid = np.eye(4)
    grid[:3, :3] = np.diag(block[::-1])
    grid[:3, 3] = [first + (step - 1) / 2 for first, step in zip(start[::-1], block[::-1], strict=True)]
    return np.asarray(affine, np.float64) @ grid


def _note(block: tuple[int, int, int], shown: int, total: int) -> str:
    blocks = " × ".join(map(str, block))
    text = "The volumes in this page are cropped to the foreground"
    if block != (1, 1, 1):
        text += f" and averaged over blocks of {blocks} voxels (D × H × W) to keep the file below 25 MB"
    text += "; intensities are rounded. Use the NIfTI files for measurements."
    if shown < total:
        text += f" {total - shown} of {total} do not fit and are left out."
    return text


def write_viewer(
    paths: Sequence[str | os.PathLike],
    output: PathLike,
    *,
    level: float | None = None,
    window: float | None = None,
    title: str = "",
) -> PathLike:
    """Writes one HTML page, without network access and at most 25 MB, that shows volumes side by side.

    Args:
      paths: NIfTI files on one grid; their names are the headings. Every six of them are one picture.
      output: the HTML file.
      level: intensity in the middle of the gray scale, for all files; goes with `window`.
      window: width of the gray scale. Without it: [0, 1] for volumes in that range, else quantiles of the foreground.
      title: of the page; by default the names of the files.

    Returns:
      The path of the page.

    Raises:
      UserError: no file, a file that cannot be read or is on another grid, a window that is not positive, or a page
        that cannot be written.
    """
    if not paths:
        raise UserError("no file to view; give at least one NIfTI file")
    if (level is None) != (window is None):
        raise UserError("level and window go together; give both or none")
    if window is not None and not window > 0:
        raise UserError(f"window: {window} is not a positive width")
    given = None if window is None or level is None else Window("given", level - window / 2, level + window / 2)
    names = _short_names([Path(path) for path in paths])
    scenes = _file_scenes(list(zip(names, paths, strict=True)), given)
    page = render("view.html", title=title or ", ".join(names[:4]), viewer=encode_scenes(scenes, page_budget()))
    write_text(output, page)
    return output


def _file_scenes(files: Sequence[tuple[str, str | os.PathLike]], given: Window | None) -> Iterator[Scene]:
    first_path = files[0][1]
    first = read_volume(first_path)
    for start in range(0, len(files), MAX_PANELS):
        panels = []
        for name, path in files[start : start + MAX_PANELS]:
            volume = read_volume(path)
            check_same_grid(Path(first_path), first, Path(path), volume)
            panels.append(_panel(name, volume.array, given))
        foreground = np.any([panel.volume != panel.volume.flat[0] for panel in panels], axis=0)
        pair = (0, 1) if len(panels) > 1 else None
        yield make_scene(", ".join(panel.name for panel in panels), panels, first.affine, foreground, pair)


def _panel(name: str, array: np.ndarray, given: Window | None) -> Panel:
    low, high = float(array.min()), float(array.max())
    if low >= 0 and high <= 1:
        return Panel(name, array, (given or UNIT_WINDOW,), UNIT_STEP)
    is_integer = bool((np.rint(array) == array).all()) and max(-low, high) < np.iinfo(np.int16).max
    step = 1.0 if is_integer else max((high - low) / 4000, max(-low, high) / 32000, 1e-12)
    return Panel(name, array, (given or _robust_window(array),), step)


def _robust_window(array: np.ndarray) -> Window:
    foreground = array[array != array.flat[0]]
    low, high = np.quantile(foreground if foreground.size else array, WINDOW_QUANTILES)
    return Window("default", float(low), float(high) if high > low else float(low) + 1)


def _short_names(paths: Sequence[Path]) -> list[str]:
    """File names without suffix, with their folder where two are the same."""
    names = [path.name.removesuffix(".gz").removesuffix(".nii") for path in paths]
    return [
        f"{path.parent.name}/{name}" if names.count(name) > 1 else name for path, name in zip(paths, names, strict=True)
    ]
