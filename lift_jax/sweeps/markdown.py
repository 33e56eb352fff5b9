"""A sweep's tables as Markdown, to be put into a README or a paper's repository as they are."""

import math
from collections.abc import Mapping, Sequence

from lift_jax.evaluation.aggregates import Column, Estimate
from lift_jax.evaluation.sweep_columns import BEST_AT_ZERO, COMPARED_AS_RATIOS
from lift_jax.sweeps.definition import Sweep
from lift_jax.sweeps.reading import sweep_facts
from lift_jax.sweeps.results import Result, metric_values
from lift_jax.sweeps.tables import seed_differences, seed_means
from lift_jax.sweeps.verdicts import is_best, of_differences, verdict
from lift_jax.tasks import task_of


def sweep_markdown(sweep: Sweep, results: Sequence[Result], title: str) -> str:
    """What the numbers rest on, means over seeds, and differences from the base, of all results that there are.

    The best mean of a column is bold; so are the differences whose interval leaves out zero (ratios: one).
    """
    columns = sweep.metrics
    means = {c.key: seed_means(metric_values(results, c.key), c.key) for c in columns}
    rows = [_row(name, columns, means, name, bold=is_best) for name in sweep.variants]
    base = [result for result in results if result.run.variant == sweep.base_variant]
    for method in task_of(sweep.base).sweep.baselines(sweep.base):
        beside = {c.key: seed_means(metric_values(base, c.key, method), c.key) for c in columns}
        rows.append(_row(f"*{method}*", columns, beside, sweep.base_variant))
    facts = "\n".join(f"- {_escaped(name)}: {_escaped(text)}" for name, text in sweep_facts(sweep, results).items())
    parts = [f"# {_escaped(title)}", facts, _table("variant", columns, rows)]
    others = [name for name in sweep.variants if name != sweep.base_variant]
    if others:
        columns = [of_differences(column) for column in columns]
        values = {c.key: metric_values(results, c.key) for c in columns}
        differences = {key: seed_differences(own, sweep.base_variant, key) for key, own in values.items()}
        rows = [_row(name, columns, differences, name, signed=True, bold=_leaves_out_zero) for name in others]
        parts.append(_table(f"minus {sweep.base_variant}", columns, rows))
    return "\n\n".join(parts) + "\n"


def _table(head: str, columns: Sequence[Column], rows: Sequence[str]) -> str:
    heads = [_escaped(head), "seeds", *(_escaped(column.label) for column in columns)]
    return "\n".join([f"| {' | '.join(heads)} |", "|---" * len(heads) + "|", *rows])


def _row(head: str, columns: Sequence[Column], estimates: Mapping, variant: str, *, signed=False, bold=None) -> str:
    own = {c.key: estimates[c.key].get(variant, Estimate(*[math.nan] * 3, 0)) for c in columns}
    cells = []
    for c in columns:
        text = _cell(own[c.key], c, c.key in BEST_AT_ZERO or (signed and c.key not in COMPARED_AS_RATIOS))
        marked = bold is not None and bold(variant, estimates[c.key], c)
        cells.append(f"**{text}**" if marked else text)
    return f"| {_escaped(head)} | {max(e.n for e in own.values())} | {' | '.join(cells)} |"


def _cell(estimate: Estimate, column: Column, signed: bool) -> str:
    if estimate.n == 0:
        return "–"
    mean, low, high = (f"{value:{'+' if signed else ''}.{column.digits}f}" for value in estimate[:3])
    return mean if math.isnan(estimate.low) else f"{mean} [{low}, {high}]"


def _leaves_out_zero(variant: str, differences: Mapping[str, Estimate], column: Column) -> bool:
    return variant in differences and bool(verdict(differences[variant], column))


def _escaped(text: str) -> str:
    """Free of what would end a cell or a line."""
    return str(text).replace("|", "\\|").replace("\n", " ")
