"""The page of a sweep: pictures side by side, means over seeds, paired differences, learning curves, costs, facts."""

from collections.abc import Sequence
from html import escape

import numpy as np

from lift_jax.evaluation.aggregates import Column, Estimate
from lift_jax.evaluation.intervals import LEVEL
from lift_jax.evaluation.report_pieces import cell, document, facts_table, figure, reading_list, table
from lift_jax.evaluation.unconditional_figures import draw_volumes, view_of
from lift_jax.evaluation.variety import brain_region
from lift_jax.sweeps.columns import BEST_AT_ZERO, COMPARED_AS_RATIOS, TRADEOFF
from lift_jax.sweeps.curves import draw_curves
from lift_jax.sweeps.definition import Sweep
from lift_jax.sweeps.reading import reading_points, sweep_facts
from lift_jax.sweeps.results import Result, metric_values, stage_seconds, step_seconds
from lift_jax.sweeps.scoring import BASELINES, read_shown
from lift_jax.sweeps.tables import Values, seed_differences, seed_means
from lift_jax.sweeps.tradeoff import draw_tradeoff
from lift_jax.sweeps.verdicts import is_best, of_differences, verdict


def sweep_page(sweep: Sweep, results: Sequence[Result], title: str) -> str:
    """The page as HTML, of all results that there are; every name that came from outside is escaped."""
    sections = (
        _state(results),
        _pictures(sweep, results),
        _means(sweep, results),
        _differences(sweep, results),
        _tradeoff(sweep, results),
        _curves(sweep, results),
        _costs(sweep, results),
        facts_table(sweep_facts(sweep, results)),
        reading_list(reading_points(sweep, results)),
    )
    return document(title, sections)


def _state(results: Sequence[Result]) -> str:
    """How many runs are done, and what failed."""
    counts = [f"{sum(r.status == status for r in results)} {status}" for status in ("scored", "failed", "waiting")]
    failed = [
        f"<li><b>{escape(r.run.variant)}, seed {r.run.seed}</b> failed: {escape(r.failure)}</li>"
        for r in results
        if r.status == "failed"
    ]
    return f"<p>{len(results)} runs: {', '.join(counts)}.</p>" + (f"<ul>{''.join(failed)}</ul>" if failed else "")


def _pictures(sweep: Sweep, results: Sequence[Result]) -> str:
    """What all variants made of the same case, or out of the same noise, with the first seed that has any."""
    scored = [result for result in results if result.scores]
    if not scored:
        return ""
    seed = scored[0].run.seed
    shown = {r.run.variant: read_shown(r.run.directory) for r in scored if r.run.seed == seed}
    first, spacing = next(iter(shown.values()))
    parts = []
    for each in first:
        made = {v: own.made for v, (volumes, _) in shown.items() for own in volumes if own.name == each.name}
        view = view_of(brain_region(np.stack(list(each.references.values()))), spacing)
        columns = [*each.references.items(), *made.items()]
        parts.append(figure(draw_volumes(columns, view), f"{each.name}: every variant", f"<b>{escape(each.name)}</b>"))
    note = (
        f"Seed {seed}. "
        + (
            "A sample is made of the same noise by every variant; the real volume beside it is one of the test split. "
            if sweep.base.task == "unconditional"
            else "The case in the middle of the test split by how like the target its best source is. "
        )
        + "Three planes, the same for all, in radiological display."
    )
    return f'<h2>Pictures</h2>\n<p class="note">{note}</p>\n' + "\n".join(parts)


def _means(sweep: Sweep, results: Sequence[Result]) -> str:
    estimates = {c.key: seed_means(metric_values(results, c.key), c.key) for c in sweep.metrics}
    lines = [_line(name, sweep.metrics, estimates, name, best=True) for name in sweep.variants]
    base = [result for result in results if result.run.variant == sweep.base_variant]
    for position, name in enumerate(BASELINES[sweep.base.task]):
        beside = {c.key: seed_means(metric_values(base, c.key, name), c.key) for c in sweep.metrics}
        lines.append(_line(name, sweep.metrics, beside, sweep.base_variant, start=position == 0))
    note = (
        f"Mean over seeds and its {LEVEL:.0%} t-interval; the best mean in bold. Below the line, what is compared "
        f"with, as scored with the runs of {escape(sweep.base_variant)}."
    )
    heads = ["variant", "seeds", *(column.label for column in sweep.metrics)]
    return f'<h2>Means over seeds</h2>\n<p class="note">{note}</p>\n' + table(heads, lines, "wide", 1)


def _differences(sweep: Sweep, results: Sequence[Result]) -> str:
    others = [name for name in sweep.variants if name != sweep.base_variant]
    if not others:
        return ""
    columns = [of_differences(column) for column in sweep.metrics]
    values = {c.key: metric_values(results, c.key) for c in columns}
    estimates = {key: seed_differences(own, sweep.base_variant, key) for key, own in values.items()}
    lines = [_line(name, columns, estimates, name, signed=True) for name in others]
    note = (
        f"Variant minus {escape(sweep.base_variant)}, formed seed by seed, then averaged; {LEVEL:.0%} t-intervals. "
        "Distances that are above 0 are compared by ratios. "
        'Coloured where the interval leaves out no difference: <span class="better">better</span>, '
        '<span class="worse">worse</span>.'
    )
    heads = [f"minus {sweep.base_variant}", "seeds", *(column.label for column in columns)]
    return f'<h2>Paired differences</h2>\n<p class="note">{note}</p>\n' + table(heads, lines, "wide", 1)


def _tradeoff(sweep: Sweep, results: Sequence[Result]) -> str:
    """What variants are worth against what they cost, where they do not all cost the same."""
    key, metrics = TRADEOFF
    columns = {column.key: column for column in sweep.metrics}
    drawn = [columns[name] for name in metrics if name in columns]
    costs = {name: e.mean for name, e in seed_means(metric_values(results, key)).items() if e.n}
    if key not in columns or not drawn or len(set(costs.values())) < 2:
        return ""
    estimates = {c.key: seed_means(metric_values(results, c.key)) for c in drawn}
    picture = draw_tradeoff(columns[key], costs, drawn, estimates)
    note = (
        "Means over seeds and their intervals over what one translation costs; the line joins those that nothing "
        "cheaper comes up to."
    )
    shown = figure(picture, "metrics against operations", "<b>worth and cost</b>")
    return f'<h2>Worth and cost</h2>\n<p class="note">{note}</p>\n{shown}'


def _line(head, columns, estimates, variant, *, signed=False, best=False, start=False) -> str:
    """A row of a table: the estimates of one variant under all columns."""
    own = {c.key: estimates[c.key].get(variant, Estimate(*[float("nan")] * 3, 0)) for c in columns}
    count = max(estimate.n for estimate in own.values())
    cells = []
    for c in columns:
        mark = verdict(own[c.key], c) if signed else "best" if best and is_best(variant, estimates[c.key], c) else ""
        plus = c.key in BEST_AT_ZERO or (signed and c.key not in COMPARED_AS_RATIOS)
        cells.append(cell(own[c.key], c, count, signed=plus, mark=mark))
    row = ' class="first"' if start else ""
    return f'<tr{row}><th scope="row">{escape(head)}</th><td>{count}</td>{"".join(cells)}</tr>'


def _curves(sweep: Sweep, results: Sequence[Result]) -> str:
    """A picture for every stage; variants that share a stage are one line there, under the first one's name."""
    parts = []
    names = [sweep.base_variant, *(name for name in sweep.variants if name != sweep.base_variant)]
    for stage in dict.fromkeys(stage for result in results for stage in result.logs):
        curves: dict[str, dict[str, list]] = {}
        seen: dict[object, str] = {}
        for result in sorted(results, key=lambda r: names.index(r.run.variant)):
            log = result.logs.get(stage)
            if log is None or seen.setdefault(log.directory, result.run.variant) != result.run.variant:
                continue
            for number, curve in log.curves.items():
                curves.setdefault(number, {}).setdefault(result.run.variant, []).append(curve)
        if curves:
            caption = f"<b>{escape(stage)}</b>"
            parts.append(figure(draw_curves(curves, names), f"learning curves of stage {stage}", caption))
    note = (
        "Over steps: the mean over seeds, seeds thin behind it. A stage that variants share is drawn once, under the "
        "first of them. Losses of different fields, particles or weights are in different units, and a drifting loss "
        "whose forces are normalised hardly moves: look at validation."
    )
    return f'<h2>Learning curves</h2>\n<p class="note">{note}</p>\n' + "\n".join(parts) if parts else ""


def _costs(sweep: Sweep, results: Sequence[Result]) -> str:
    columns, estimates = [], {}
    for stage in dict.fromkeys(stage for result in results for stage in result.logs):
        for key, label, values, factor, digits in (
            (f"step_{stage}", f"{stage}: ms a step", step_seconds(results, stage), 1000, 1),
            (f"wall_{stage}", f"{stage}: s in all", stage_seconds(results, stage), 1, 1),
        ):
            columns.append(Column(key, label, digits, False))
            estimates[key] = seed_means(_scaled(values, factor))
    if not columns:
        return ""
    lines = [_line(name, columns, estimates, name) for name in sweep.variants]
    note = (
        f"Means over seeds with {LEVEL:.0%} t-intervals. Of a step, the median of the log's intervals, compilation "
        "apart; in all, the wall time of the training with its compilation and validation, of those that were not "
        "interrupted. Runs that ran beside each other slowed each other. A shared stage was paid for once, and stands "
        "in the line of every variant that takes it."
    )
    return f'<h2>Cost</h2>\n<p class="note">{note}</p>\n' + table(
        ["variant", "seeds", *(c.label for c in columns)], lines, "wide", 1
    )


def _scaled(values: Values, factor: float) -> Values:
    return {v: {seed: factor * value for seed, value in of_seeds.items()} for v, of_seeds in values.items()}
