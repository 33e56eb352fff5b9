"""An evaluation of unconditional volumes on disk: `metrics.json`, `cases.csv`, and `report.html`, pictures first."""

import os
from collections.abc import Mapping
from html import escape

import numpy as np

from lift_jax.evaluation.aggregates import Column
from lift_jax.evaluation.intervals import LEVEL
from lift_jax.evaluation.report_files import write_report
from lift_jax.evaluation.report_pieces import cell, document, facts_table, figure, reading_list, table
from lift_jax.evaluation.set_distances import FEWEST_VOLUMES
from lift_jax.evaluation.unconditional import UnconditionalScores
from lift_jax.evaluation.unconditional_figures import draw_depth_profiles, draw_volumes, view_of
from lift_jax.evaluation.variety import AIR, brain_region

SHOWN = 8
"""Volumes of each set on a contact sheet."""

NEIGHBOURS_SHOWN = 4
"""Samples that are shown beside their nearest training volume: those that are nearest."""

REFERENCE = "real (reference)"
"""The name of the volumes that all sets are compared with."""

KEYS = ("set", "sample")
"""What names a row of `cases.csv`."""


def write_unconditional_evaluation(
    directory: str | os.PathLike,
    scores: UnconditionalScores,
    sets: Mapping[str, np.ndarray],
    reference: np.ndarray,
    training: np.ndarray,
    *,
    title: str,
    facts: Mapping[str, str | float],
    spacing: tuple[float, float, float],
) -> None:
    """Writes the three files, each aside first, so that none is ever half there.

    `metrics.json` holds the facts, the notes, and `scores[set][metric]` of `mean`, `low`, `high` and `n` (volumes); a
    value that is not finite is null. `cases.csv` has one line per volume of every set. `report.html` loads nothing from
    anywhere.

    Args:
      directory: made if it does not exist; an evaluation that it holds is replaced.
      scores: of `unconditional.score_unconditional`, on these sets.
      sets: volumes `[N, D, H, W]` in [0, 1] by name; the first is the model's, whose neighbours are shown.
      reference: real volumes `[M, D, H, W]`.
      training: `[T, D, H, W]`.
      title: heads the page.
      facts: what the numbers rest on (data set, steps, hardware, checkpoint) by name, in this order.
      spacing: millimetres between voxels along `(z, y, x)`.

    Raises:
      UserError: the directory cannot be written.
    """
    metrics = {
        "title": title,
        "facts": dict(facts),
        "notes": scores.notes,
        "volumes": {name: len(volumes) for name, volumes in {**sets, REFERENCE: reference}.items()},
        "interval": {"method": "bootstrap over volumes, quantiles about the value, widened for few", "level": LEVEL},
        "scores": {name: {k: e._asdict() for k, e in row.items()} for name, row in scores.table.items()},
    }
    sections = (
        _pictures(scores, sets, reference, training, spacing),
        *(_table(scores, heading, columns) for heading, columns in scores.groups.items()),
        facts_table({**facts, REFERENCE: f"{len(reference)} volumes", "training": f"{len(training)} volumes"}),
        _reading(scores),
    )
    write_report(directory, metrics, scores.cases, KEYS, document(title, sections))


def _pictures(scores, sets, reference, training, spacing) -> str:
    region = brain_region(reference)
    view = view_of(region, spacing)
    parts = []
    for name, volumes in {**sets, REFERENCE: reference}.items():
        columns = [(str(i), volume) for i, volume in enumerate(volumes[:SHOWN])]
        caption = f"<b>{escape(name)}</b>, the first {len(columns)} of {len(volumes)}"
        parts.append(figure(draw_volumes(columns, view), f"{name}: volumes in three planes", caption))
    parts.append(_neighbours(scores, sets, training, view))
    profiles = draw_depth_profiles({**sets, REFERENCE: reference}, REFERENCE, region)
    caption = "<b>Along depth</b>, in the region that the real volumes of the reference fill"
    parts.append(figure(profiles, "means, spreads and steps of slices over depth", caption))
    note = (
        "Planes go through the middle of the reference's brains, the same for every volume, true to size, in "
        "radiological display: superior and anterior up, the patient's right (R) on the left; in the sagittal plane "
        "anterior (A) on the left."
    )
    return f'<h2>Pictures</h2>\n<p class="note">{note}</p>\n' + "\n".join(parts)


def _neighbours(scores, sets, training, view) -> str:
    """The samples of the first set that are nearest to a training volume, each beside it."""
    name, volumes = next(iter(sets.items()))
    distances = {row["sample"]: row["nearest_rmse"] for row in scores.cases if row["set"] == name}
    columns = []
    for sample in sorted(distances, key=distances.get)[:NEIGHBOURS_SHOWN]:
        neighbour = scores.nearest[name][sample]
        columns.append((f"sample {sample}", volumes[sample]))
        columns.append((f"training {neighbour}, {distances[sample]:.3f}", training[neighbour]))
    caption = (
        f"<b>{escape(name)}: the samples that are nearest to a training volume</b>, each beside it, and the root mean "
        "square difference between them"
    )
    return figure(draw_volumes(columns, view), f"{name}: samples beside training volumes", caption)


def _table(scores: UnconditionalScores, heading: str, columns: tuple[Column, ...]) -> str:
    lines = []
    for name, estimates in scores.table.items():
        count = max(estimate.n for estimate in estimates.values())
        shown = [
            cell(estimates[c.key], c, count, signed=c.key.endswith("_relative")) if c.key in estimates else "<td>–</td>"
            for c in columns
        ]
        lines.append(f'<tr><th scope="row">{escape(name)}</th><td>{count}</td>{"".join(shown)}</tr>')
    heads = ["set", "volumes", *(column.label for column in columns)]
    note = f"{LEVEL:.0%} intervals, volumes resampled; fewer than {FEWEST_VOLUMES} volumes have none (–)."
    return f'<h2>{escape(heading)}</h2>\n<p class="note">{note}</p>\n' + table(heads, lines, "wide", 1)


def _reading(scores: UnconditionalScores) -> str:
    points = [
        "A distance is between a set and the reference, over the slices of all their volumes, coronal and sagittal "
        "ones at the places that the reference fills. Real volumes do not score 0: few volumes raise a Fréchet "
        "distance, so compare sets of as many. A kernel distance is unbiased, and around 0 for volumes that cannot be "
        "told from real ones.",
        "Distances by different encoders have different units, and stand in columns of their own.",
        f"Mean |Δz| is over neighbouring voxels along z of which one or both exceed {AIR:g}: above real, slices do not "
        "fit; below, they are smeared along z.",
        "The spread is the standard deviation over volumes at a voxel, averaged over the brain: below real, the "
        "volumes are too much alike. MS-SSIM of pairs says the same: above real, too much alike.",
        "A sample that is as far from its nearest training volume as held-out real volumes are from theirs was not "
        "copied.",
        *(escape(note) for note in scores.notes),
    ]
    return reading_list(points)
