"""The page of a sweep: pictures, means over seeds, paired differences, learning curves, costs, metadata."""

import dataclasses
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from lift_jax.evaluation.aggregates import Column, Estimate
from lift_jax.evaluation.intervals import LEVEL
from lift_jax.evaluation.metrics.diversity import AIR, brain_region
from lift_jax.evaluation.report.generation_figures import draw_volumes, view_of
from lift_jax.evaluation.report.html import Figure, Table, TableRow, estimate_cell, render
from lift_jax.evaluation.report.pictures import UNIT_WINDOW, Window
from lift_jax.evaluation.report.volumes import HU_STEP, Panel, Scene, encode_scenes, page_budget, spacing_affine
from lift_jax.evaluation.sweep_columns import BEST_AT_ZERO, COMPARED_AS_RATIOS, TRADEOFF
from lift_jax.sweeps.curves import draw_curves
from lift_jax.sweeps.definition import Sweep
from lift_jax.sweeps.pareto_front import draw_tradeoff
from lift_jax.sweeps.reading import reading_points, sweep_facts
from lift_jax.sweeps.results import Result, metric_values, stage_seconds, step_seconds
from lift_jax.sweeps.scoring import read_shown
from lift_jax.sweeps.tables import Values, seed_differences, seed_means
from lift_jax.sweeps.verdicts import is_best, of_differences, verdict
from lift_jax.tasks import task_of
from lift_jax.tasks.base import Shown

MAX_PANELS = 6
"""Volumes side by side in the viewer; browsers limit the number of WebGL contexts on a page."""


@dataclasses.dataclass(frozen=True)
class Figures:
    """Figures under a heading and a note."""

    heading: str
    note: str
    figures: Sequence[Figure]


def sweep_page(sweep: Sweep, results: Sequence[Result], title: str) -> str:
    """The page as HTML, of all results so far."""
    pictures, scenes = _pictures(sweep, results)
    sections = [
        pictures,
        _means(sweep, results),
        _differences(sweep, results),
        _tradeoff(sweep, results),
        _curves(sweep, results),
        _costs(sweep, results),
    ]
    sections = [section for section in sections if section]
    size = sum(len(figure.png) for section in sections for figure in getattr(section, "figures", ()))
    counts = [f"{sum(r.status == status for r in results)} {status}" for status in ("scored", "failed", "waiting")]
    return render(
        "sweep.html",
        title=title,
        viewer=encode_scenes(scenes, page_budget(size)),
        state=f"{len(results)} runs: {', '.join(counts)}.",
        failures=[(f"{r.run.variant}, seed {r.run.seed}", r.failure) for r in results if r.status == "failed"],
        sections=sections,
        metadata=sweep_facts(sweep, results),
        points=reading_points(sweep, results),
    )


def _pictures(sweep: Sweep, results: Sequence[Result]) -> tuple[Figures | None, list[Scene]]:
    """The prediction of every variant for the same subject, or its sample from the same noise, for one seed."""
    scored = [result for result in results if result.scores]
    if not scored:
        return None, []
    seed = scored[0].run.seed
    shown = {r.run.variant: read_shown(r.run.directory) for r in scored if r.run.seed == seed}
    first, spacing = next(iter(shown.values()))
    figures, scenes = [], []
    for each in first:
        made = {v: own.made for v, (volumes, _) in shown.items() for own in volumes if own.name == each.name}
        volumes = [*each.references.items(), *made.items()]
        windows = [each.windows.get(label, (0.0, 1.0)) for label in (*each.references, *[""] * len(made))]
        gray = [(name, _gray(volume, window)) for (name, volume), window in zip(volumes, windows, strict=True)]
        view = view_of(brain_region(np.stack([volume for _, volume in gray[: len(each.references)]])), spacing)
        figures.append(Figure(draw_volumes(gray, view), f"{each.name}: every variant", each.name))
        scenes += _scenes(each, made, spacing)
    note = (
        f"Seed {seed}. " + task_of(sweep.base).sweep.shown + "Three planes, the same for all, in radiological display."
    )
    return Figures("Pictures", note, figures), scenes


def _gray(volume: np.ndarray, window: tuple[float, float]) -> np.ndarray:
    """A volume from black to white, in [0, 1]."""
    low, high = window
    return np.clip((volume - low) / (high - low), 0, 1)


def _panel(heading: str, volume: np.ndarray, window: tuple[float, float]) -> Panel:
    if window == UNIT_WINDOW[1:3]:
        return Panel(heading, volume, (UNIT_WINDOW,))
    return Panel(heading, volume, (Window("displayed", *window, "HU"),), HU_STEP)


def _scenes(shown: Shown, made: Mapping, spacing) -> Iterator[Scene]:
    """The references beside the variants, as many at a time as the viewer shows."""
    name, references = shown.name, shown.references
    room, variants = MAX_PANELS - len(references), list(made.items())
    for start in range(0, len(variants), room):
        volumes = [(heading, volume, heading) for heading, volume in references.items()]
        volumes += [(variant, volume, "") for variant, volume in variants[start : start + room]]
        panels = [_panel(heading, volume, shown.windows.get(label, (0.0, 1.0))) for heading, volume, label in volumes]
        gray = [_gray(volume, shown.windows.get(label, (0.0, 1.0))) for _, volume, label in volumes]
        foreground = np.any([volume > AIR for volume in gray], axis=0)
        title = name if len(variants) <= room else f"{name}: {', '.join(v for v, _ in variants[start : start + room])}"
        pair = (len(references), len(references) - 1)
        yield Scene(title, panels, spacing_affine(spacing), foreground, pair)


def _means(sweep: Sweep, results: Sequence[Result]) -> Table:
    estimates = {c.key: seed_means(metric_values(results, c.key), c.key) for c in sweep.metrics}
    lines = [_line(name, sweep.metrics, estimates, name, best=True) for name in sweep.variants]
    base = [result for result in results if result.run.variant == sweep.base_variant]
    for position, name in enumerate(task_of(sweep.base).sweep.baselines(sweep.base)):
        beside = {c.key: seed_means(metric_values(base, c.key, name), c.key) for c in sweep.metrics}
        lines.append(_line(name, sweep.metrics, beside, sweep.base_variant, start=position == 0))
    note = (
        f"Mean over seeds and its {LEVEL:.0%} t-interval. The best mean is bold. Below the line: baselines, as scored "
        f"with the runs of {sweep.base_variant}."
    )
    heads = ["variant", "seeds", *(column.label for column in sweep.metrics)]
    return Table("Means over seeds", heads, lines, note)


def _differences(sweep: Sweep, results: Sequence[Result]) -> Table | None:
    others = [name for name in sweep.variants if name != sweep.base_variant]
    if not others:
        return None
    columns = [of_differences(column) for column in sweep.metrics]
    values = {c.key: metric_values(results, c.key) for c in columns}
    estimates = {key: seed_differences(own, sweep.base_variant, key) for key, own in values.items()}
    lines = [_line(name, columns, estimates, name, signed=True) for name in others]
    note = (
        f"Variant minus {sweep.base_variant}, computed per seed, then averaged; {LEVEL:.0%} t-intervals. Distances "
        "above 0 are compared by ratios. Colored where the interval excludes no difference:"
    )
    heads = [f"minus {sweep.base_variant}", "seeds", *(column.label for column in columns)]
    return Table("Paired differences", heads, lines, note, legend=True)


def _tradeoff(sweep: Sweep, results: Sequence[Result]) -> Figures | None:
    """Quality against cost, if the variants differ in cost."""
    key, metrics = TRADEOFF
    columns = {column.key: column for column in sweep.metrics}
    drawn = [columns[name] for name in metrics if name in columns]
    costs = {name: e.mean for name, e in seed_means(metric_values(results, key)).items() if e.n}
    if key not in columns or not drawn or len(set(costs.values())) < 2:
        return None
    estimates = {c.key: seed_means(metric_values(results, c.key)) for c in drawn}
    picture = draw_tradeoff(columns[key], costs, drawn, estimates)
    note = (
        "Means over seeds and their intervals against the cost of one translation. The line is the Pareto front: "
        "nothing cheaper is as good."
    )
    return Figures("Quality and cost", note, [Figure(picture, "metrics against operations", "Quality and cost")])


def _line(head, columns, estimates, variant, *, signed=False, best=False, start=False) -> TableRow:
    """A row of a table: the estimates of one variant under all columns."""
    own = {c.key: estimates[c.key].get(variant, Estimate(*[float("nan")] * 3, 0)) for c in columns}
    count = max(estimate.n for estimate in own.values())
    cells = []
    for c in columns:
        mark = verdict(own[c.key], c) if signed else "best" if best and is_best(variant, estimates[c.key], c) else ""
        plus = c.key in BEST_AT_ZERO or (signed and c.key not in COMPARED_AS_RATIOS)
        cells.append(estimate_cell(own[c.key], c, count, signed=plus, mark=mark))
    return TableRow([head], count, cells, first=start)


def _curves(sweep: Sweep, results: Sequence[Result]) -> Figures | None:
    """A figure for every stage; variants that share a stage are one line in it, named after the first of them."""
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
            parts.append(Figure(draw_curves(curves, names), f"learning curves of stage {stage}", stage))
    note = (
        "The mean over seeds by step; thin lines are single seeds. A stage that variants share is drawn once, under "
        "the first of them. Losses with different fields, particles or weights have different units, and a normalized "
        "drifting loss hardly changes: use the validation metrics."
    )
    return Figures("Learning curves", note, parts) if parts else None


def _costs(sweep: Sweep, results: Sequence[Result]) -> Table | None:
    columns, estimates = [], {}
    for stage in dict.fromkeys(stage for result in results for stage in result.logs):
        for key, label, values, factor, digits in (
            (f"step_{stage}", f"{stage}: ms per step", step_seconds(results, stage), 1000, 1),
            (f"wall_{stage}", f"{stage}: total s", stage_seconds(results, stage), 1, 1),
        ):
            columns.append(Column(key, label, digits, False))
            estimates[key] = seed_means(_scaled(values, factor))
    if not columns:
        return None
    lines = [_line(name, columns, estimates, name) for name in sweep.variants]
    note = (
        f"Means over seeds with {LEVEL:.0%} t-intervals. Time per step: median of the log's intervals without "
        "compilation. Total: wall time of the training with compilation and validation, for runs that were not "
        "interrupted. Runs in parallel slow each other. A shared stage is trained once and listed for every variant "
        "that uses it."
    )
    return Table("Cost", ["variant", "seeds", *(c.label for c in columns)], lines, note)


def _scaled(values: Values, factor: float) -> Values:
    return {v: {seed: factor * value for seed, value in of_seeds.items()} for v, of_seeds in values.items()}
