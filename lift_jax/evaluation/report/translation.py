"""An evaluation of translations on disk: `metrics.json` for programs, `cases.csv` for statistics, `report.html`."""

import dataclasses
import os
from collections.abc import Callable, Iterable, Mapping, Sequence

from lift_jax.errors import UserError
from lift_jax.evaluation.report.page import Figure, Table, estimates_row, render, write_report
from lift_jax.evaluation.report.pictures import Picture, draw_picture
from lift_jax.evaluation.report.planes import ORIENTATION_NOTE
from lift_jax.evaluation.report.viewer import encode_scenes, page_budget, picture_scene
from lift_jax.evaluation.scores import BEST_SOURCE, MEAN_OF_SOURCES
from lift_jax.evaluation.statistics import (
    LEVEL,
    MODEL,
    Aggregates,
    Column,
    Estimate,
    Row,
    aggregate,
    best_mark,
    difference_mark,
    distinct,
    model_differences,
)

SUBJECT_KEYS = ("subject", "channel", "method")
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
      directory: created if it does not exist; an evaluation in it is replaced.
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
    columns = [column for column in columns if any(column.key in row for row in rows)]
    aggregates, differences = aggregate(rows, columns), model_differences(rows, columns)
    metrics = {
        "title": title,
        "metadata": dict(metadata),
        "subjects": len(distinct(rows, "subject")),
        "interval": {"method": "Student's t over subjects", "level": LEVEL},
        "aggregates": _as_dicts(aggregates),
        "model_minus": _as_dicts(differences),
    }
    figures: dict[str, list[Figure]] = {}
    scenes, ranks, size = [], [], 0
    for picture in pictures:
        figure = _figure(picture, rows, columns)
        figures.setdefault(picture.channel, []).append(figure)
        scenes.append(picture_scene(picture))
        ranks.append(picture.rank)
        size += len(figure.png)
    first = ranks.index("median") if "median" in ranks else 0
    ranked = "Subjects are ranked by the model's PSNR. " if "best" in ranks else ""
    page = render(
        "evaluation.html",
        title=title,
        viewer=encode_scenes(scenes, page_budget(size), first),
        headline=_headline_table(columns, aggregates, differences),
        figures=figures,
        figure_note=f"{ranked}{ORIENTATION_NOTE} The color scale of differences is the same in every report.",
        tables=[_metrics_table(columns, aggregates), *_difference_table(columns, differences)],
        metadata={**metadata, "intervals": f"{LEVEL:.0%}, Student's t over subjects"},
        points=_reading_points(columns, list(aggregates)),
    )
    write_report(directory, metrics, rows, SUBJECT_KEYS, page)


def _figure(picture: Picture, rows: Sequence[Row], columns: Sequence[Column]) -> Figure:
    key = (picture.subject, picture.channel, MODEL)
    row = next((row for row in rows if (row["subject"], row["channel"], row["method"]) == key), {})
    shown = (column for column in columns if column.headline and column.key in row)
    scores = [f"{column.label} {row[column.key]:.{column.digits}f}" for column in shown]
    alt = f"{picture.channel}, {picture.rank} subject {picture.subject}: three planes"
    return Figure(draw_picture(picture), alt, picture.rank, " · ".join([picture.subject, *scores]))


def _headline_table(columns: Sequence[Column], aggregates: Aggregates, differences: Aggregates) -> Table:
    """A row per channel: the first method's headline metrics, and its difference from the best source."""
    method = _methods(aggregates)[0]
    columns = [column for column in columns if column.headline]
    ahead = differences.get(BEST_SOURCE) if columns else None
    rows = []
    for channel, estimates in aggregates[method].items():
        row = estimates_row([channel], estimates, columns)
        if ahead:
            beside = estimates_row([], ahead[channel], columns[:1], mark=_marks(ahead[channel]), signed=True)
            row = dataclasses.replace(row, cells=[*row.cells, *beside.cells])
        rows.append(row)
    heads = ["channel", "subjects", *(column.label for column in columns)]
    heads += [f"{columns[0].label}, minus {BEST_SOURCE}"] if ahead else []
    return Table("Result", heads, rows, f"Mean over subjects of the {method}; below it the interval.")


def _metrics_table(columns: Sequence[Column], aggregates: Aggregates) -> Table:
    """All metrics of all methods, by channel; the best mean of a channel is marked."""
    rows = []
    for channel in next(iter(aggregates.values())):
        for position, method in enumerate(_methods(aggregates)):

            def mark(column: Column, channel=channel, method=method) -> str:
                return best_mark(method, {m: aggregates[m][channel][column.key] for m in aggregates}, column)

            names = ["" if position else channel, method]
            rows.append(estimates_row(names, aggregates[method][channel], columns, mark=mark, first=not position))
    heads = ["channel", "method", "subjects", *(column.label for column in columns)]
    return Table("All metrics", heads, rows, "Mean over subjects and its interval. The best mean is bold.")


def _difference_table(columns: Sequence[Column], differences: Aggregates) -> list[Table]:
    """The model minus every other method, paired by subject; nothing without another method."""
    rows = []
    for channel in next(iter(differences.values()), ()):
        for position, (method, channels) in enumerate(differences.items()):
            own, names = channels[channel], ["" if position else channel, method]
            rows.append(estimates_row(names, own, columns, mark=_marks(own), signed=True, first=not position))
    heads = ["channel", f"{MODEL} minus", "subjects", *(column.label for column in columns)]
    note = "Differences are computed per subject, then averaged. Colored where the interval excludes zero:"
    return [Table("Paired differences", heads, rows, note, legend=True)] if rows else []


def _marks(differences: Mapping[str, Estimate]) -> Callable[[Column], str]:
    return lambda column: difference_mark(differences[column.key], column)


def _methods(aggregates: Aggregates) -> list[str]:
    """The model first, then the others in their order."""
    return sorted(aggregates, key=lambda method: method != MODEL)


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


def _as_dicts(table: Aggregates) -> dict:
    return {
        method: {
            channel: {metric: estimate._asdict() for metric, estimate in estimates.items()}
            for channel, estimates in channels.items()
        }
        for method, channels in table.items()
    }
