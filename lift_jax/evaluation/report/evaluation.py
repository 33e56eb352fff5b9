"""An evaluation of translations on disk: `metrics.json` for programs, `cases.csv` for statistics, `report.html`."""

import os
from collections.abc import Iterable, Mapping, Sequence

from lift_jax.errors import UserError
from lift_jax.evaluation.aggregates import (
    Column,
    Row,
    aggregate,
    distinct,
    model_differences,
    present_columns,
)
from lift_jax.evaluation.aggregates import Table as Aggregates
from lift_jax.evaluation.intervals import LEVEL
from lift_jax.evaluation.report.figures import draw_picture
from lift_jax.evaluation.report.files import write_report
from lift_jax.evaluation.report.html import Figure, render
from lift_jax.evaluation.report.pictures import Picture
from lift_jax.evaluation.report.planes import ORIENTATION_NOTE
from lift_jax.evaluation.report.tables import difference_table, headline_table, metrics_table
from lift_jax.evaluation.report.volumes import SceneCollector, page_budget, picture_scene
from lift_jax.evaluation.scores import BEST_SOURCE, MEAN_OF_SOURCES, MODEL

KEYS = ("subject", "channel", "method")
"""What names a row; all other entries are scores."""


def write_evaluation(
    directory: str | os.PathLike,
    rows: Sequence[Row],
    pictures: Iterable[Picture],
    *,
    title: str,
    metadata: Mapping[str, str | float],
    columns: Sequence[Column],
) -> None:
    """Writes an evaluation's three files, each atomically.

    `metrics.json` holds the metadata, the interval's definition, `aggregates[method][channel][metric]` and
    `model_minus[method][channel][metric]`, each of `mean`, `low`, `high` and `n`; a value that is not finite is null.
    `cases.csv` has one line per row. `report.html` shows both, figures and a volume viewer; it loads nothing.

    Args:
      directory: made if it does not exist; an evaluation in it is replaced.
      rows: `{"subject", "channel", "method", metric: float, ...}`, one per subject, channel and method.
      pictures: drawn one after the other, so that an iterator keeps one subject in memory.
      title: of the page.
      metadata: what the numbers are based on (data set, protocol, steps, hardware, checkpoint, cost), in this order.
      columns: the metrics of the tables, in their order; one that no row has is left out.

    Raises:
      UserError: there is nothing to report, or the directory cannot be written.
    """
    if not rows:
        raise UserError(f"{directory}: no subject was scored, so there is nothing to report; give at least one")
    columns = present_columns(rows, columns)
    aggregates, differences = aggregate(rows, columns), model_differences(rows, columns)
    metrics = {
        "title": title,
        "metadata": dict(metadata),
        "subjects": len(distinct(rows, "subject")),
        "interval": {"method": "Student's t over subjects", "level": LEVEL},
        "aggregates": _plain(aggregates),
        "model_minus": _plain(differences),
    }
    figures, viewer, ranked = _draw(pictures, rows, columns)
    tables = [metrics_table(columns, aggregates), difference_table(columns, differences)]
    intervals = f"{LEVEL:.0%}, Student's t over subjects"
    page = render(
        "evaluation.html",
        title=title,
        viewer=viewer,
        headline=headline_table(columns, aggregates, differences),
        figures=figures,
        figure_note=f"{ranked}{ORIENTATION_NOTE} The color scale of differences is the same in every report.",
        tables=[table for table in tables if table],
        metadata={**metadata, "intervals": intervals},
        points=_reading_points(columns, list(aggregates)),
    )
    write_report(directory, metrics, rows, KEYS, page)


def _draw(pictures: Iterable[Picture], rows: Sequence[Row], columns: Sequence[Column]):
    """Figures by channel, the viewer's data, and how the shown subjects were ranked."""
    figures: dict[str, list[Figure]] = {}
    scenes, ranks = SceneCollector(), []
    for picture in pictures:
        scores = _scores_of(picture, rows, columns)
        alt = f"{picture.channel}, {picture.rank} subject {picture.subject}: three planes"
        figure = Figure(draw_picture(picture), alt, picture.rank, f"{picture.subject} · {scores}".removesuffix(" · "))
        figures.setdefault(picture.channel, []).append(figure)
        scenes.add(picture_scene(picture))
        ranks.append(picture.rank)
    size = sum(len(figure.png) for each in figures.values() for figure in each)
    viewer = scenes.encode(page_budget(size), ranks.index("median") if "median" in ranks else 0)
    return figures, viewer, "Subjects are ranked by the model's PSNR. " if "best" in ranks else ""


def _scores_of(picture: Picture, rows: Sequence[Row], columns: Sequence[Column]) -> str:
    key = (picture.subject, picture.channel, MODEL)
    row = next((row for row in rows if (row["subject"], row["channel"], row["method"]) == key), {})
    shown = (column for column in columns if column.headline and column.key in row)
    return " · ".join(f"{column.label} {row[column.key]:.{column.digits}f}" for column in shown)


def _reading_points(columns: Sequence[Column], methods: Sequence[str]) -> list[str]:
    keys = {column.key for column in columns}
    points = [
        "An interval shows how far the mean would move with other subjects of the same kind. It does not cover other "
        "scanners or training with another seed. It takes subjects to be nearly normal, which matters when they are "
        "few. One subject has no interval (–)."
    ]
    if BEST_SOURCE in methods:
        points.append(
            f"“{BEST_SOURCE}” copies the source with the highest PSNR against this target. It is chosen with knowledge "
            f"of the target. “{MEAN_OF_SOURCES}” is the voxelwise mean. A useful model beats both."
        )
    if "dice_bone" in keys:
        points.append(
            "CT numbers are in Hounsfield units (HU). All metrics are computed within the body mask. MAE, PSNR, SSIM "
            "and NCC follow SynthRAD2023, the masked MS-SSIM follows SynthRAD2025. Bone is above 250 HU, air below "
            "−400 HU."
        )
    elif "psnr" in keys:
        points.append(
            "PSNR and SSIM are computed on volumes in [0, 1] with data range 1; SSIM uses 3D windows of 7 voxels. "
            "Metrics of the whole grid include the background, which raises them. Metrics of the brain do not."
        )
    if "psnr_crop" in keys:
        points.append("“crop” is the 224×224 in-plane center of a 240×240 grid, as other papers report.")
    if "delta_z_mae" in keys:
        points.append(
            "Δz is the difference between neighboring axial slices. Its error shows jumps between slices, which PSNR "
            "hardly does."
        )
    return points


def _plain(table: Aggregates) -> dict:
    return {
        method: {
            channel: {metric: estimate._asdict() for metric, estimate in estimates.items()}
            for channel, estimates in channels.items()
        }
        for method, channels in table.items()
    }
