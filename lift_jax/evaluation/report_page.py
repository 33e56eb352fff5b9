"""The page of an evaluation: one self-contained HTML file, the headline first, then pictures, then all tables."""

import dataclasses
import math
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Protocol

from lift_jax.evaluation.aggregates import Column, Estimate, Row, Table, distinct
from lift_jax.evaluation.intervals import LEVEL
from lift_jax.evaluation.report_pieces import cell, document, facts_table, figure, reading_list, table
from lift_jax.evaluation.scores import BEST_SOURCE, MEAN_OF_SOURCES, MODEL


class Picture(Protocol):
    """A case to be shown: its names, a note on how to read such pictures, and the picture itself."""

    case: str
    contrast: str
    rank: str
    note: str

    def png(self) -> bytes:
        """The picture as PNG bytes."""


@dataclasses.dataclass(frozen=True)
class Report:
    """All that a page shows besides its pictures; see `report.write_evaluation`."""

    title: str
    facts: Mapping[str, str | float]
    columns: Sequence[Column]
    rows: Sequence[Row]
    aggregates: Table
    differences: Table


def page(report: Report, pictures: Iterable[Picture]) -> str:
    """The report as HTML; every name that came from outside is escaped."""
    sections = (
        _headline(report),
        _pictures(report, pictures),
        _all_metrics(report),
        _differences(report),
        _facts(report),
        _reading(report),
    )
    return document(report.title, sections)


def _headline(report: Report) -> str:
    """One line per contrast: the first method's headline metrics, and how far it is ahead of the best source."""
    method = _methods(report)[0]
    columns = [column for column in report.columns if column.headline]
    ahead = report.differences.get(BEST_SOURCE) if columns else None
    heads = ["contrast", "cases", *(column.label for column in columns)]
    heads += [f"{columns[0].label}, ahead of {BEST_SOURCE}"] if ahead else []
    lines = []
    for contrast in _contrasts(report):
        estimates = report.aggregates[method][contrast]
        count = _count(estimates)
        cells = [f"<td>{count}</td>", *(cell(estimates[column.key], column, count) for column in columns)]
        if ahead:
            estimate = ahead[contrast][columns[0].key]
            cells.append(cell(estimate, columns[0], count, signed=True, mark=_verdict(estimate, columns[0])))
        lines.append(f'<tr><th scope="row">{escape(contrast)}</th>{"".join(cells)}</tr>')
    note = f"Mean over cases of the {escape(method)}, {LEVEL:.0%} interval below it."
    return table(heads, lines, "headline", heads.index("cases")) + f'\n<p class="note">{note}</p>'


def _pictures(report: Report, pictures: Iterable[Picture]) -> str:
    parts, contrast, note = [], None, ""
    for picture in pictures:
        if picture.contrast != contrast:
            contrast = picture.contrast
            parts.append(f"<h3>{escape(contrast)}</h3>")
        note = picture.note
        caption = (
            f"<b>{escape(picture.rank)}</b> {escape(picture.case)}"
            f'<span class="note"> {_scores_of(report, picture)}</span>'
        )
        name = f"{picture.contrast}, {picture.rank} case {picture.case}: three planes"
        parts.append(figure(picture.png(), name, caption))
    if not parts:
        return ""
    return f'<h2>Pictures</h2>\n<p class="note">{note}</p>\n' + "\n".join(parts)


def _scores_of(report: Report, picture: Picture) -> str:
    wanted = (picture.case, picture.contrast, MODEL)
    row = next((row for row in report.rows if (row["case"], row["contrast"], row["method"]) == wanted), {})
    shown = (c for c in report.columns if c.headline and c.key in row)
    return " · ".join(f"{escape(c.label)} {row[c.key]:.{c.digits}f}" for c in shown)


def _all_metrics(report: Report) -> str:
    lines = []
    for contrast in _contrasts(report):
        for position, method in enumerate(_methods(report)):
            estimates = report.aggregates[method][contrast]
            count = _count(estimates)
            cells = [cell(estimates[c.key], c, count, mark=_best(report, contrast, method, c)) for c in report.columns]
            lines.append(_line(position, contrast, method, count, cells))
    note = f"Mean over cases and its {LEVEL:.0%} interval; the best mean of each contrast in bold."
    heads = ["contrast", "method", "cases", *(column.label for column in report.columns)]
    return f'<h2>All metrics</h2>\n<p class="note">{note}</p>\n' + table(heads, lines, "wide", heads.index("cases"))


def _differences(report: Report) -> str:
    lines = []
    for contrast in _contrasts(report):
        for position, (method, contrasts) in enumerate(report.differences.items()):
            estimates = contrasts[contrast]
            count = _count(estimates)
            marked = [(estimates[column.key], column) for column in report.columns]
            cells = [cell(e, c, count, signed=True, mark=_verdict(e, c)) for e, c in marked]
            lines.append(_line(position, contrast, method, count, cells))
    if not lines:
        return ""
    note = (
        "Differences are formed case by case, then averaged. Coloured where the interval leaves out zero: "
        '<span class="better">the model is better</span>, <span class="worse">the model is worse</span>.'
    )
    heads = ["contrast", f"{MODEL} minus", "cases", *(column.label for column in report.columns)]
    differences = table(heads, lines, "wide", heads.index("cases"))
    return f'<h2>Paired differences</h2>\n<p class="note">{note}</p>\n{differences}'


def _facts(report: Report) -> str:
    intervals = f"{LEVEL:.0%}, Student's t over cases"
    return facts_table({**report.facts, "intervals": intervals})


def _reading(report: Report) -> str:
    keys, methods = {column.key for column in report.columns}, _methods(report)
    points = [
        "An interval says how far the mean would move with other cases of the same kind. It says nothing of other "
        "scanners, nor of the model trained anew with another seed. It takes cases to be "
        "nearly normal, which matters when they are few. One case has no interval (–)."
    ]
    if BEST_SOURCE in methods:
        points.append(
            f"“{BEST_SOURCE}” hands over the source that is most like this target by PSNR, a choice that knows the "
            f"target; “{MEAN_OF_SOURCES}” is the voxelwise mean. A model that does not beat them has learned nothing."
        )
    if "dice_bone" in keys:
        points.append(
            "CT numbers are in Hounsfield units (HU); all figures are of the body's mask. MAE, PSNR, SSIM and NCC are "
            "as SynthRAD2023 defines them, the masked MS-SSIM as SynthRAD2025. Bone is above 250 HU, air below −400 HU."
        )
    elif "psnr" in keys:
        points.append(
            "PSNR and SSIM are of volumes in [0, 1], data range 1, SSIM in 3D windows of 7 voxels. Background "
            "counts in figures of the whole grid and raises them; figures of the brain leave it out."
        )
    if "psnr_crop" in keys:
        points.append("“crop” is the 224×224 in-plane centre of a 240×240 grid, as other papers report.")
    if "delta_z_mae" in keys:
        points.append(
            "Δz is the difference of neighbouring axial slices: its error shows jumps from slice to slice that PSNR "
            "hardly sees" + (", and the z-profiles show them as teeth." if "dice_bone" not in keys else ".")
        )
    return reading_list(points)


def _methods(report: Report) -> list[str]:
    """The model first, then the others as they come."""
    return sorted(report.aggregates, key=lambda method: method != MODEL)


def _contrasts(report: Report) -> list[str]:
    return distinct(report.rows, "contrast")


def _best(report: Report, contrast: str, method: str, column: Column) -> str:
    means = {m: report.aggregates[m][contrast][column.key].mean for m in report.aggregates}
    means = {m: mean if column.higher_is_better else -mean for m, mean in means.items() if not math.isnan(mean)}
    return "best" if len(means) > 1 and means.get(method) == max(means.values()) else ""


def _verdict(difference: Estimate, column: Column) -> str:
    """Which side of zero the whole interval is on, as the model's admirer would see it; "" where it holds zero."""
    if not (difference.low > 0 or difference.high < 0):
        return ""
    return "better" if (difference.low > 0) == column.higher_is_better else "worse"


def _count(estimates: Mapping[str, Estimate]) -> int:
    return max((estimate.n for estimate in estimates.values()), default=0)


def _line(position: int, contrast: str, method: str, count: int, cells: list[str]) -> str:
    start = ' class="first"' if position == 0 else ""
    name = escape(contrast) if position == 0 else ""
    return (
        f'<tr{start}><th scope="row">{name}</th><th class="name method">{escape(method)}</th>'
        f"<td>{count}</td>{''.join(cells)}</tr>"
    )
