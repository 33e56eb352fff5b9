"""What a reader of a sweep must know: what the numbers rest on, and how to take them."""

from collections.abc import Sequence

from ml_collections import ConfigDict

from lift_jax.config.checks import flatten
from lift_jax.data.datasets.registry import DATASETS
from lift_jax.data.splits import SPLITS
from lift_jax.evaluation.intervals import LEVEL
from lift_jax.sweeps.definition import Sweep
from lift_jax.sweeps.dependence import stage_digest
from lift_jax.sweeps.results import Result
from lift_jax.tasks import task_of

FEW_SEEDS = 3


def sweep_facts(sweep: Sweep, results: Sequence[Result]) -> dict[str, str]:
    """Data, steps, seeds, variants and hardware by name."""
    base = next(r.run.config for r in results if r.run.variant == sweep.base_variant)
    scored = [result for result in results if result.scores]
    counts = sorted({str(result.count) for result in scored})
    support = task_of(base).sweep
    facts = {
        "task": support.description,
        "data set": _data_set(base),
        "scored": f"{', '.join(counts) or 'no'} {support.unit} a run, test split, the same for all runs",
        "seeds": ", ".join(map(str, sweep.seeds)) + " (networks, batches and noise; the data set is the same)",
        "training": ", ".join(f"{name} {base.stage[name].steps:,} steps" for name in base.stages),
        "base": sweep.base_variant,
    }
    for name, changes in sweep.variants.items():
        facts[f"variant {name}"] = ", ".join(f"{key} = {value!r}" for key, value in changes.items()) or "as the base"
    facts["hardware"] = "; ".join(sorted({result.hardware for result in scored})) or "–"
    facts["intervals"] = f"{LEVEL:.0%}, Student's t over seeds"
    return facts


def reading_points(sweep: Sweep, results: Sequence[Result]) -> list[str]:
    """How to read the page, one sentence or more each."""
    points = [
        "An interval is a t-interval over seeds: it says how far the mean would move if the same configuration were "
        "trained with other seeds on the same data, and takes results to be normal over seeds. It says nothing of "
        "other data, nor of longer training. One seed has no interval (–).",
        "Differences are paired: variants of a seed share data, what is drawn by the seed, and the stages that they "
        "agree in. Many comparisons stand side by side: of twenty that are worth nothing, one is colored by chance.",
    ]
    if len(sweep.seeds) < FEW_SEEDS:
        points.append(
            f"Only {len(sweep.seeds)} of the {FEW_SEEDS} seeds that are needed at least to tell variants apart."
        )
    points += task_of(sweep.base).sweep.notes
    return points + _differently_measured(sweep, results)


def _differently_measured(sweep: Sweep, results: Sequence[Result]) -> list[str]:
    """A warning of variants whose metrics cannot be compared with the base's."""
    part = task_of(sweep.base).sweep.measured_by
    configs = {result.run.variant: result.run.config for result in results if result.run.seed == sweep.seeds[0]}
    if not part:
        return []
    base = _identity_of(configs[sweep.base_variant], part)
    others = [name for name, config in configs.items() if _identity_of(config, part) != base]
    if not others:
        return []
    return [f"{', '.join(others)}: another {part}; its distances cannot be compared with the base's."]


def _identity_of(config: ConfigDict, part: str) -> object:
    """What the outcome of a stage, or else of a section of the model, depends on."""
    if part in config.stages:
        return stage_digest(config, part)
    return {key: value for key, value in flatten(config).items() if key.startswith(f"model.{part}.")}, config.seed


def _data_set(config: ConfigDict) -> str:
    data = config.data
    targets = ", ".join(data.targets) or "all channels"
    if DATASETS[data.dataset].scanned_as:
        counts = ", ".join(f"{data.subjects[split]} {split}" for split in SPLITS)
        return f"{data.dataset}, {targets}, {'×'.join(map(str, data.size))} at {data.spacing:g} mm; {counts}"
    return f"{data.dataset}, {targets}, {data.manifest or data.root}"
