"""An evaluation of unconditional volumes on disk: `metrics.json`, `cases.csv`, and `report.html`, pictures first."""

import os
from collections.abc import Iterator, Mapping

import numpy as np

from lift_jax.evaluation.distribution import AIR_INTENSITY, FEWEST_VOLUMES, brain_region
from lift_jax.evaluation.generation import GenerationScores
from lift_jax.evaluation.report.page import Figure, Table, estimates_row, render, write_report
from lift_jax.evaluation.report.pictures import UNIT_WINDOW
from lift_jax.evaluation.report.planes import ORIENTATION_NOTE, View, draw_depth_profiles, draw_volumes, view_of
from lift_jax.evaluation.report.viewer import Panel, Scene, encode_scenes, make_scene, page_budget, spacing_affine
from lift_jax.evaluation.statistics import LEVEL, Column

VOLUMES_SHOWN = 8
"""Volumes of each set in a figure."""

SCROLLED = 3
"""Volumes of each set in the viewer."""

NEIGHBORS_SHOWN = 4
"""Samples that are shown beside their nearest training volume: those that are nearest."""

REFERENCE = "real (reference)"
"""The name of the volumes that all sets are compared with."""

VOLUME_KEYS = ("set", "sample")
"""What names a row of `cases.csv`."""


def write_generation_report(
    directory: str | os.PathLike,
    scores: GenerationScores,
    sets: Mapping[str, np.ndarray],
    reference: np.ndarray,
    training: np.ndarray,
    *,
    title: str,
    metadata: Mapping[str, str | float],
    spacing: tuple[float, float, float],
) -> None:
    """Writes the three files, each atomically.

    `metrics.json` holds the metadata, the notes, and `scores[set][metric]` of `mean`, `low`, `high` and `n` (volumes);
    a value that is not finite is null. `cases.csv` has one line per volume of every set. `report.html` loads nothing.

    Args:
      directory: created if it does not exist; an evaluation in it is replaced.
      scores: `generation.score_generation` of these sets.
      sets: volumes `[N, D, H, W]` in [0, 1] by name; the first set is the model's, whose neighbors are shown.
      reference: real volumes `[M, D, H, W]`.
      training: `[T, D, H, W]`.
      title: of the page.
      metadata: what the numbers are based on (data set, steps, hardware, checkpoint), in this order.
      spacing: voxel size in mm along `(D, H, W)`.

    Raises:
      UserError: the directory cannot be written.
    """
    shown = {**sets, REFERENCE: reference}
    metrics = {
        "title": title,
        "metadata": dict(metadata),
        "notes": scores.notes,
        "volumes": {name: len(volumes) for name, volumes in shown.items()},
        "interval": {"method": "bootstrap over volumes, quantiles about the value, widened for few", "level": LEVEL},
        "scores": {name: {k: e._asdict() for k, e in row.items()} for name, row in scores.table.items()},
    }
    region = brain_region(reference)
    view = view_of(region, spacing)
    figures = [
        *_set_figures(shown, view),
        _neighbor_figure(scores, sets, training, view),
        Figure(
            draw_depth_profiles(shown, REFERENCE, region),
            "slice means, standard deviations and differences over depth",
            "Over depth",
            "within the foreground of the real reference volumes",
        ),
    ]
    size = sum(len(figure.png) for figure in figures)
    page = render(
        "generation.html",
        title=title,
        viewer=encode_scenes(_scenes(shown, spacing_affine(spacing)), page_budget(size)),
        figures=figures,
        figure_note=f"{ORIENTATION_NOTE} All volumes are cut at the same voxel.",
        tables=[_table(scores, heading, columns) for heading, columns in scores.groups.items()],
        metadata={**metadata, REFERENCE: f"{len(reference)} volumes", "training": f"{len(training)} volumes"},
        points=[*_reading_points(), *scores.notes],
    )
    write_report(directory, metrics, scores.volume_rows, VOLUME_KEYS, page)


def _scenes(sets: Mapping[str, np.ndarray], affine: np.ndarray) -> Iterator[Scene]:
    """The first volumes of every set; a scene holds the same number of each set, side by side."""
    for index in range(min(SCROLLED, *map(len, sets.values()))):
        panels = [Panel(name, volumes[index], (UNIT_WINDOW,)) for name, volumes in sets.items()]
        foreground = np.any([np.asarray(panel.volume) > AIR_INTENSITY for panel in panels], axis=0)
        yield make_scene(f"volume {index} of every set", panels, affine, foreground, (0, len(panels) - 1))


def _set_figures(sets: Mapping[str, np.ndarray], view: View) -> Iterator[Figure]:
    for name, volumes in sets.items():
        columns = [(str(i), volume) for i, volume in enumerate(volumes[:VOLUMES_SHOWN])]
        caption = f"the first {len(columns)} of {len(volumes)}"
        yield Figure(draw_volumes(columns, view), f"{name}: volumes in three planes", name, caption)


def _neighbor_figure(scores: GenerationScores, sets, training: np.ndarray, view: View) -> Figure:
    """The samples of the first set that are nearest to a training volume, each beside it."""
    name, volumes = next(iter(sets.items()))
    distances = {row["sample"]: row["nearest_rmse"] for row in scores.volume_rows if row["set"] == name}
    columns = []
    for sample in sorted(distances, key=distances.__getitem__)[:NEIGHBORS_SHOWN]:
        neighbor = scores.nearest[name][sample]
        columns.append((f"sample {sample}", volumes[sample]))
        columns.append((f"training {neighbor}, {distances[sample]:.3f}", training[neighbor]))
    label = f"{name}: samples nearest to a training volume"
    caption = "each beside that volume, with the root mean square difference"
    return Figure(draw_volumes(columns, view), f"{name}: samples beside training volumes", label, caption)


def _table(scores: GenerationScores, heading: str, columns: tuple[Column, ...]) -> Table:
    rows = [estimates_row([name], estimates, columns) for name, estimates in scores.table.items()]
    heads = ["set", "volumes", *(column.label for column in columns)]
    note = f"{LEVEL:.0%} intervals, volumes resampled; fewer than {FEWEST_VOLUMES} volumes have none (–)."
    return Table(heading, heads, rows, note)


def _reading_points() -> list[str]:
    return [
        "Distances compare a set with the reference over the slices of all volumes; coronal and sagittal slices are "
        "taken where the reference has foreground. Real volumes do not score 0: few volumes raise a Fréchet distance, "
        "so compare sets of equal size. The kernel distance is unbiased: it is about 0 for volumes that follow the "
        "distribution of the reference.",
        "Distances from different encoders have different units. They are in separate columns.",
        f"Mean |Δz| is the mean absolute difference of voxels along z, where one exceeds {AIR_INTENSITY:g}. "
        "Above real: slices do not fit together. Below real: volumes are blurred along z.",
        "The spread is the standard deviation over volumes at a voxel, averaged over the brain. Below real: volumes "
        "are too similar. MS-SSIM of pairs shows the same: above real, too similar.",
        "A sample is not a copy if its distance to the nearest training volume is like that of held-out real volumes.",
    ]
