"""A viewer page for any NIfTI files on one grid: `python -m lift_jax.evaluation.report.view FILE…`."""

import argparse
import os
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from lift_jax.data.volumes import Volume, describe_difference, read_volume
from lift_jax.errors import UserError
from lift_jax.evaluation.report.files import atomic_write_file
from lift_jax.evaluation.report.html import render
from lift_jax.evaluation.report.pictures import UNIT_WINDOW, Window
from lift_jax.evaluation.report.volumes import UNIT_STEP, Panel, Scene, encode_scenes, page_budget
from lift_jax.paths import PathLike, resolve_local_path

MAX_PANELS = 6
"""Volumes side by side; browsers limit the number of WebGL contexts on a page."""

WINDOW_QUANTILES = (0.005, 0.995)
"""Quantiles of the foreground that are black and white where no window is given."""

DEFAULT_OUTPUT = "view.html"


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
    first = read_volume(paths[0])

    def scenes():
        for start in range(0, len(paths), MAX_PANELS):
            batch = list(zip(paths, names, strict=True))[start : start + MAX_PANELS]
            volumes = [_read_like(first, paths[0], path) for path, _ in batch]
            panels = [_panel(name, volume.array, given) for (_, name), volume in zip(batch, volumes, strict=True)]
            foreground = np.any([panel.volume != panel.volume.flat[0] for panel in panels], axis=0)
            pair = (0, 1) if len(panels) > 1 else None
            yield Scene(", ".join(name for _, name in batch), panels, first.affine, foreground, pair)

    page = render("view.html", title=title or ", ".join(names[:4]), viewer=encode_scenes(scenes(), page_budget()))
    atomic_write_file(output, page)
    return output


def _read_like(first: Volume, first_path, path) -> Volume:
    volume = read_volume(path)
    difference = describe_difference(first, volume)
    if difference:
        raise UserError(f"{path}: is not on the grid of {first_path}: {difference}; resample it onto that grid")
    return volume


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


def main(arguments: Sequence[str] | None = None) -> int:
    """Writes the page and prints its path; bad input is one line on standard error and exit code 1."""
    parser = argparse.ArgumentParser(prog="lift-jax view", description="Write a web page that shows NIfTI volumes.")
    parser.add_argument("files", nargs="+", metavar="FILE", help="NIfTI files (.nii, .nii.gz) on one grid")
    parser.add_argument("--output", default=DEFAULT_OUTPUT, help="HTML file to write (default: %(default)s)")
    parser.add_argument("--level", type=float, help="intensity in the middle of the gray scale")
    parser.add_argument("--window", type=float, help="width of the gray scale")
    options = parser.parse_args(arguments)
    try:
        page = write_viewer(
            options.files, resolve_local_path(options.output), level=options.level, window=options.window
        )
    except UserError as error:
        print(error, file=sys.stderr)
        return 1
    print(page)
    return 0


if __name__ == "__main__":
    sys.exit(main())
