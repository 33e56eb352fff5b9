"""A sweep on disk: `sweep.csv`, a row per variant, seed and metric; `sweep.md`, tables; `sweep.html`, for people."""

import dataclasses
import math
import pathlib
from collections.abc import Iterator, Mapping, Sequence

import numpy as np
from ml_collections import ConfigDict

from lift_jax.config.common import flatten
from lift_jax.data.datasets import DATASETS
from lift_jax.data.splits import SPLITS
from lift_jax.evaluation.columns import GFLOP_COLUMN
from lift_jax.evaluation.distribution import AIR_INTENSITY, brain_region
from lift_jax.evaluation.report.page import Figure, csv_text, render, write_text
from lift_jax.evaluation.report.pictures import UNIT_WINDOW, Window
from lift_jax.evaluation.report.planes import draw_volumes, view_of
from lift_jax.evaluation.report.viewer import (
    HU_STEP,
    MAX_PANELS,
    Panel,
    Scene,
    encode_scenes,
    make_scene,
    page_budget,
    spacing_affine,
)
from lift_jax.evaluation.statistics import LEVEL, MODEL
from lift_jax.sweeps import Sweep
from lift_jax.sweeps.figures import draw_curves, draw_quality_and_cost
from lift_jax.sweeps.plan import Run, stage_digest
from lift_jax.sweeps.results import Result, read_examples, read_results
from lift_jax.sweeps.tables import (
    cost_table,
    differences_table,
    escaped,
    markdown_table,
    means_table,
    metric_columns,
    metric_values,
    seed_means,
)
from lift_jax.tasks import task_of
from lift_jax.tasks.base import Example

CSV_COLUMNS = ("variant", "seed", "status", "metric", "value", "message")

QUALITY = ("psnr", "delta_z_mae")
"""Metrics that are drawn against the cost of a translation."""

FEW_SEEDS = 3
"""Seeds below which the page warns."""


@dataclasses.dataclass(frozen=True)
class Figures:
    """Figures under a heading and a note."""

    heading: str
    note: str
    figures: Sequence[Figure]


def write_sweep(
    sweep: Sweep, runs: Sequence[Run], workdir: pathlib.Path, failures: Mapping[pathlib.Path, str], *, title: str
) -> None:
    """Writes the files of a sweep as far as it has come, in place of those that are there.

    Args:
      sweep: the sweep.
      runs: of `plan.plan_runs`.
      workdir: of the sweep.
      failures: work directories of runs that failed, and why.
      title: heads the page and the tables.

    Raises:
      UserError: the folder cannot be written.
    """
    results = read_results(runs, workdir, failures)
    write_text(workdir / "sweep.csv", results_csv(results))
    write_text(workdir / "sweep.md", sweep_markdown(sweep, results, title))
    write_text(workdir / "sweep.html", sweep_page(sweep, results, title))


def results_csv(results: Sequence[Result]) -> str:
    """A row for every metric of every scored run, costs among them, and one row for every run that has none.

    `seconds_per_step_<stage>` is the median of the log's intervals; `seconds_<stage>` the wall time of the stage's
    training, the same for all runs that share it. What is not known, as the time of an interrupted training, is empty.
    """
    rows = []
    for result in results:
        row = {"variant": result.run.variant, "seed": result.run.seed, "status": result.status}
        if not result.scores:
            rows.append(row | {"message": result.failure})
            continue
        metrics = dict(result.scores[MODEL])
        for stage, log in result.logs.items():
            metrics |= {f"seconds_per_step_{stage}": log.seconds_per_step, f"seconds_{stage}": log.seconds}
        for metric, value in metrics.items():
            known = value is not None and math.isfinite(value)
            rows.append(row | {"metric": metric, "value": repr(value) if known else ""})
    return csv_text(rows, CSV_COLUMNS)


def sweep_markdown(sweep: Sweep, results: Sequence[Result], title: str) -> str:
    """Metadata, means over seeds, and differences from the base, of all results so far."""
    metadata = "\n".join(f"- {escaped(key)}: {escaped(text)}" for key, text in sweep_metadata(sweep, results).items())
    tables = [table for table in (means_table(sweep, results), differences_table(sweep, results)) if table]
    return "\n\n".join([f"# {escaped(title)}", metadata, *map(markdown_table, tables)]) + "\n"


def sweep_page(sweep: Sweep, results: Sequence[Result], title: str) -> str:
    """The page as HTML, of all results so far."""
    images, scenes = _images(sweep, results)
    sections = [
        images,
        means_table(sweep, results),
        differences_table(sweep, results),
        quality_and_cost(sweep, results),
        _curves(sweep, results),
        cost_table(sweep, results),
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
        metadata=sweep_metadata(sweep, results),
        points=_reading_points(sweep, results),
    )


def sweep_metadata(sweep: Sweep, results: Sequence[Result]) -> dict[str, str]:
    """Data, steps, seeds, variants and hardware by name."""
    base = next(r.run.config for r in results if r.run.variant == sweep.base_variant)
    scored = [result for result in results if result.scores]
    counts = sorted({str(result.count) for result in scored})
    support = task_of(base).sweep
    variants = {
        f"variant {name}": ", ".join(f"{key} = {value!r}" for key, value in changes.items()) or "as the base"
        for name, changes in sweep.variants.items()
    }
    return {
        "task": support.description,
        "data set": _data_set(base),
        "scored": f"{', '.join(counts) or 'no'} {support.unit} a run, test split, the same for all runs",
        "seeds": ", ".join(map(str, sweep.seeds)) + " (networks, batches and noise; the data set is the same)",
        "training": ", ".join(f"{name} {base.stage[name].steps:,} steps" for name in base.stages),
        "base": sweep.base_variant,
        **variants,
        "hardware": "; ".join(sorted({result.hardware for result in scored})) or "–",
        "intervals": f"{LEVEL:.0%}, Student's t over seeds",
    }


def quality_and_cost(sweep: Sweep, results: Sequence[Result]) -> Figures | None:
    """Metrics against the cost of a translation; None where variants do not differ in cost."""
    columns = [column for column in metric_columns(sweep) if column.key in QUALITY]
    means = {c.key: seed_means(metric_values(results, c.key)) for c in (*columns, GFLOP_COLUMN)}
    costs = {name: e.mean for name, e in means[GFLOP_COLUMN.key].items() if e.n}
    if not columns or len(set(costs.values())) < 2:
        return None
    figure = draw_quality_and_cost(GFLOP_COLUMN, costs, columns, means)
    note = (
        "Means over seeds and their intervals against the cost of one translation. The line is the Pareto front: "
        "nothing cheaper is as good."
    )
    return Figures("Quality and cost", note, [Figure(figure, "metrics against operations", "Quality and cost")])


def _images(sweep: Sweep, results: Sequence[Result]) -> tuple[Figures | None, list[Scene]]:
    """The prediction of every variant for the same subject, or its sample from the same noise, for one seed."""
    scored = [result for result in results if result.scores]
    if not scored:
        return None, []
    seed = scored[0].run.seed
    of_variants = {r.run.variant: read_examples(r.run.directory) for r in scored if r.run.seed == seed}
    first, spacing = next(iter(of_variants.values()))
    figures: list[Figure] = []
    scenes: list[Scene] = []
    for each in first:
        outputs = {v: own.volume for v, (own_all, _) in of_variants.items() for own in own_all if own.name == each.name}
        gray = [(label, _gray(each, label, volume)) for label, volume in each.references.items()]
        view = view_of(brain_region(np.stack([volume for _, volume in gray])), spacing)
        gray += [(variant, _gray(each, "", volume)) for variant, volume in outputs.items()]
        figures.append(Figure(draw_volumes(gray, view), f"{each.name}: every variant", each.name))
        scenes += _scenes(each, outputs, spacing)
    note = f"Seed {seed}. {task_of(sweep.base).sweep.shown}Three planes, the same for all, in radiological display."
    return Figures("Images", note, figures), scenes


def _gray(example: Example, label: str, volume: np.ndarray) -> np.ndarray:
    """A volume in [0, 1], black to white in its window."""
    low, high = example.windows.get(label, (0.0, 1.0))
    return np.clip((volume - low) / (high - low), 0, 1)


def _scenes(example: Example, outputs: Mapping[str, np.ndarray], spacing) -> Iterator[Scene]:
    """The references beside the variants, as many at a time as the viewer shows."""
    room, variants = MAX_PANELS - len(example.references), list(outputs.items())
    for start in range(0, len(variants), room):
        shown = variants[start : start + room]
        volumes = [(label, volume, label) for label, volume in example.references.items()]
        volumes += [(variant, volume, "") for variant, volume in shown]
        panels = []
        for heading, volume, label in volumes:
            low, high = example.windows.get(label, (0.0, 1.0))
            if (low, high) == (0, 1):
                panels.append(Panel(heading, volume, (UNIT_WINDOW,)))
            else:
                panels.append(Panel(heading, volume, (Window("displayed", low, high, "HU"),), HU_STEP))
        foreground = np.any([_gray(example, label, volume) > AIR_INTENSITY for _, volume, label in volumes], axis=0)
        names = "" if len(variants) <= room else f": {', '.join(variant for variant, _ in shown)}"
        pair = (len(example.references), len(example.references) - 1)
        yield make_scene(f"{example.name}{names}", panels, spacing_affine(spacing), foreground, pair)


def _curves(sweep: Sweep, results: Sequence[Result]) -> Figures | None:
    """A figure for every stage; variants that share a stage are one line in it, named after the first of them."""
    figures = []
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
            figures.append(Figure(draw_curves(curves, names), f"learning curves of stage {stage}", stage))
    note = (
        "The mean over seeds by step; thin lines are single seeds. A stage that variants share is drawn once, under "
        "the first of them. Losses with different fields, particles or weights have different units, and a normalized "
        "drifting loss hardly changes: use the validation metrics."
    )
    return Figures("Learning curves", note, figures) if figures else None


def _reading_points(sweep: Sweep, results: Sequence[Result]) -> list[str]:
    """How to read the page."""
    points = [
        "An interval is a t-interval over seeds. It shows how far the mean would move with other seeds on the same "
        "data, and takes results to be normal over seeds. It says nothing of other data or of longer training. One "
        "seed has no interval (–).",
        "Differences are paired: variants of a seed share data, random draws and common stages. With twenty "
        "comparisons of equal variants, one is colored by chance.",
    ]
    if len(sweep.seeds) < FEW_SEEDS:
        points.append(f"This sweep has {len(sweep.seeds)} of the {FEW_SEEDS} seeds needed to compare variants.")
    points += task_of(sweep.base).sweep.notes
    return points + _incomparable_variants(sweep, results)


def _incomparable_variants(sweep: Sweep, results: Sequence[Result]) -> list[str]:
    """A warning of variants whose metrics cannot be compared with the base's: they are measured by another encoder."""
    part = task_of(sweep.base).sweep.measured_by
    if not part:
        return []

    def identity(config: ConfigDict) -> object:
        if part in config.stages:
            return stage_digest(config, part)
        return {key: value for key, value in flatten(config).items() if key.startswith(f"model.{part}.")}, config.seed

    configs = {result.run.variant: result.run.config for result in results if result.run.seed == sweep.seeds[0]}
    base = identity(configs[sweep.base_variant])
    others = [name for name, config in configs.items() if identity(config) != base]
    return [f"{', '.join(others)}: another {part}; distances cannot be compared with the base's."] if others else []


def _data_set(config: ConfigDict) -> str:
    data = config.data
    targets = ", ".join(data.targets) or "all channels"
    if DATASETS[data.dataset].scanned_as:
        counts = ", ".join(f"{data.subjects[split]} {split}" for split in SPLITS)
        return f"{data.dataset}, {targets}, {'×'.join(map(str, data.size))} at {data.spacing:g} mm; {counts}"
    return f"{data.dataset}, {targets}, {data.manifest or data.root}"
