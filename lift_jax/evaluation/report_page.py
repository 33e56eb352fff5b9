"""The page of an evaluation: one self-contained HTML file, the headline first, then pictures, then all tables."""

import base64
import dataclasses
import math
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from typing import Protocol

from lift_jax.evaluation.aggregates import Column, Estimate, Row, Table, distinct
from lift_jax.evaluation.intervals import LEVEL, RESAMPLES
from lift_jax.evaluation.scores import BEST_SOURCE, MEAN_OF_SOURCES, MODEL

STYLE = """
:root { color-scheme: light; }
body { margin: 0 auto; padding: 2.5rem 1.5rem 4rem; max-width: 78rem; background: #fff; color: #1f2328;
       font: 15px/1.5 system-ui, -apple-system, "Segoe UI", "DejaVu Sans", sans-serif; }
h1 { margin: 0; font-size: 1.6rem; line-height: 1.25; overflow-wrap: anywhere; }
h2 { margin: 3rem 0 .75rem; padding-bottom: .3rem; border-bottom: 1px solid #d0d7de; font-size: 1.2rem; }
h3 { margin: 2rem 0 .25rem; font-size: 1rem; }
p, li { max-width: 52rem; }
.note { color: #57606a; font-size: .87rem; }
.scroll { overflow-x: auto; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { padding: .35rem .8rem; border-bottom: 1px solid #e6e9ed; text-align: right; vertical-align: top; }
th { font-weight: 600; }
thead th { border-bottom: 2px solid #8c959f; vertical-align: bottom; font-size: .85rem; }
th[scope=row], th.name { text-align: left; }
tbody tr.first th, tbody tr.first td { border-top: 1px solid #8c959f; }
th.method { font-weight: 400; }
.interval { display: block; color: #57606a; font-size: .78rem; white-space: nowrap; }
.headline { font-size: 1.1rem; margin-top: 1.5rem; }
.headline .interval { font-size: .82rem; }
.wide th, .wide td { padding: .35rem .45rem; font-size: .87rem; }
.wide .interval { white-space: normal; width: min-content; margin-left: auto; }
.wide .name { white-space: nowrap; }
.best { font-weight: 650; }
.better { color: #116329; font-weight: 650; }
.worse { color: #a40e26; font-weight: 650; }
figure { margin: 1.25rem 0 2rem; }
figure img { display: block; width: 100%; height: auto; }
figcaption { margin-bottom: .4rem; overflow-wrap: anywhere; }
.facts th, .facts td { text-align: left; overflow-wrap: anywhere; }
.facts th { font-weight: 400; color: #57606a; white-space: nowrap; }
"""


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
        f"<h1>{escape(report.title)}</h1>",
        _headline(report),
        _pictures(report, pictures),
        _all_metrics(report),
        _differences(report),
        _facts(report),
        _reading(report),
    )
    return (
        f'<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(report.title)}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n"
        + "\n".join(section for section in sections if section)
        + "\n</body>\n</html>\n"
    )


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
        cells = [f"<td>{count}</td>", *(_cell(estimates[column.key], column, count) for column in columns)]
        if ahead:
            estimate = ahead[contrast][columns[0].key]
            cells.append(_cell(estimate, columns[0], count, signed=True, mark=_verdict(estimate, columns[0])))
        lines.append(f'<tr><th scope="row">{escape(contrast)}</th>{"".join(cells)}</tr>')
    note = f"Mean over cases of the {escape(method)}, {LEVEL:.0%} interval below it."
    return _table(heads, lines, "headline") + f'\n<p class="note">{note}</p>'


def _pictures(report: Report, pictures: Iterable[Picture]) -> str:
    parts, contrast, note = [], None, ""
    for picture in pictures:
        if picture.contrast != contrast:
            contrast = picture.contrast
            parts.append(f"<h3>{escape(contrast)}</h3>")
        note = picture.note
        image = base64.b64encode(picture.png()).decode("ascii")
        name = f"{picture.contrast}, {picture.rank} case {picture.case}"
        parts.append(
            f"<figure><figcaption><b>{escape(picture.rank)}</b> {escape(picture.case)}"
            f'<span class="note"> {_scores_of(report, picture)}</span></figcaption>'
            f'<img alt="{escape(name)}: three planes" src="data:image/png;base64,{image}"></figure>'
        )
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
            cells = [_cell(estimates[c.key], c, count, mark=_best(report, contrast, method, c)) for c in report.columns]
            lines.append(_line(position, contrast, method, count, cells))
    note = f"Mean over cases and its {LEVEL:.0%} interval; the best mean of each contrast in bold."
    heads = ["contrast", "method", "cases", *(column.label for column in report.columns)]
    return f'<h2>All metrics</h2>\n<p class="note">{note}</p>\n' + _table(heads, lines, "wide")


def _differences(report: Report) -> str:
    lines = []
    for contrast in _contrasts(report):
        for position, (method, contrasts) in enumerate(report.differences.items()):
            estimates = contrasts[contrast]
            count = _count(estimates)
            marked = [(estimates[column.key], column) for column in report.columns]
            cells = [_cell(e, c, count, signed=True, mark=_verdict(e, c)) for e, c in marked]
            lines.append(_line(position, contrast, method, count, cells))
    if not lines:
        return ""
    note = (
        "Differences are formed case by case, then averaged. Coloured where the interval leaves out zero: "
        '<span class="better">the model is better</span>, <span class="worse">the model is worse</span>.'
    )
    heads = ["contrast", f"{MODEL} minus", "cases", *(column.label for column in report.columns)]
    return f'<h2>Paired differences</h2>\n<p class="note">{note}</p>\n' + _table(heads, lines, "wide")


def _facts(report: Report) -> str:
    facts = {**report.facts, "intervals": f"{LEVEL:.0%}, percentile bootstrap over cases, {RESAMPLES:,} resamples"}
    lines = [f'<tr><th scope="row">{escape(k)}</th><td>{escape(str(v))}</td></tr>' for k, v in facts.items()]
    return f'<h2>What the numbers rest on</h2>\n<table class="facts"><tbody>\n{"".join(lines)}\n</tbody></table>'


def _reading(report: Report) -> str:
    keys, methods = {column.key for column in report.columns}, _methods(report)
    points = [
        "An interval says how far the mean would move with other cases of the same kind. It says nothing of other "
        "scanners, nor of the model trained anew with another seed. One case has no interval (–)."
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
            "hardly sees, and the z-profiles show them as teeth."
        )
    return "<h2>How to read this</h2>\n<ul>\n" + "\n".join(f"<li>{point}</li>" for point in points) + "\n</ul>"


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


def _cell(estimate: Estimate, column: Column, count: int, signed: bool = False, mark: str = "") -> str:
    """A mean over its interval, and how many of the line's cases it is of where that is not all of them."""
    if estimate.n == 0:
        return "<td>–</td>"
    sign = "+" if signed else ""
    mean, low, high = (f"{value:{sign}.{column.digits}f}".replace("-", "−") for value in estimate[:3])
    interval = "–" if math.isnan(estimate.low) else f"{low} to&nbsp;{high}"
    interval += f", n&nbsp;=&nbsp;{estimate.n}" if estimate.n < count else ""
    return f'<td><span class="{mark}">{mean}</span><span class="interval">{interval}</span></td>'


def _line(position: int, contrast: str, method: str, count: int, cells: list[str]) -> str:
    start = ' class="first"' if position == 0 else ""
    name = escape(contrast) if position == 0 else ""
    return (
        f'<tr{start}><th scope="row">{name}</th><th class="name method">{escape(method)}</th>'
        f"<td>{count}</td>{''.join(cells)}</tr>"
    )


def _table(heads: Sequence[str], lines: Sequence[str], kind: str) -> str:
    names = heads[: heads.index("cases")]
    head = "".join(f"<th{' class=name' if text in names else ''}>{escape(text)}</th>" for text in heads)
    body = "\n".join(lines)
    table = f'<table class="{kind}"><thead><tr>{head}</tr></thead>\n<tbody>\n{body}\n</tbody></table>'
    return f'<div class="scroll">{table}</div>'
