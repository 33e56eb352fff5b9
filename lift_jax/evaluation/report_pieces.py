"""What pages of evaluations are made of: the frame, tables with intervals, pictures, facts."""

import base64
import math
from collections.abc import Mapping, Sequence
from html import escape

from lift_jax.evaluation.aggregates import Column, Estimate

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


def document(title: str, sections: Sequence[str]) -> str:
    """A self-contained HTML page of sections, empty ones left out, under its title (escaped here)."""
    return (
        f'<!DOCTYPE html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        f'<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n<h1>{escape(title)}</h1>\n"
        + "\n".join(section for section in sections if section)
        + "\n</body>\n</html>\n"
    )


def figure(png: bytes, name: str, caption: str) -> str:
    """A picture within the page; `name` is plain text for those who cannot see it, `caption` HTML."""
    image = base64.b64encode(png).decode("ascii")
    return (
        f"<figure><figcaption>{caption}</figcaption>"
        f'<img alt="{escape(name)}" src="data:image/png;base64,{image}"></figure>'
    )


def facts_table(facts: Mapping[str, str | float]) -> str:
    """What the numbers rest on, by name."""
    lines = [f'<tr><th scope="row">{escape(k)}</th><td>{escape(str(v))}</td></tr>' for k, v in facts.items()]
    return f'<h2>What the numbers rest on</h2>\n<table class="facts"><tbody>\n{"".join(lines)}\n</tbody></table>'


def reading_list(points: Sequence[str]) -> str:
    """How to read the page: points of HTML."""
    return "<h2>How to read this</h2>\n<ul>\n" + "\n".join(f"<li>{point}</li>" for point in points) + "\n</ul>"


def cell(estimate: Estimate, column: Column, count: int, signed: bool = False, mark: str = "") -> str:
    """A mean over its interval, and how many of the line's cases it is of where that is not all of them."""
    if estimate.n == 0:
        return "<td>–</td>"
    sign = "+" if signed else ""
    mean, low, high = (f"{value:{sign}.{column.digits}f}".replace("-", "−") for value in estimate[:3])
    interval = "–" if math.isnan(estimate.low) else f"{low} to&nbsp;{high}"
    interval += f", n&nbsp;=&nbsp;{estimate.n}" if estimate.n < count else ""
    return f'<td><span class="{mark}">{mean}</span><span class="interval">{interval}</span></td>'


def table(heads: Sequence[str], lines: Sequence[str], kind: str, names: int) -> str:
    """A table that scrolls where it is too wide; the first `names` headings are of names, the others of numbers."""
    head = "".join(
        f"<th{' class=name' if place < names else ''}>{escape(text)}</th>" for place, text in enumerate(heads)
    )
    body = "\n".join(lines)
    whole = f'<table class="{kind}"><thead><tr>{head}</tr></thead>\n<tbody>\n{body}\n</tbody></table>'
    return f'<div class="scroll">{whole}</div>'
