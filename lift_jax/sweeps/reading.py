"""What a reader of a sweep must know: what the numbers rest on, and how to take them."""

from collections.abc import Sequence

from ml_collections import ConfigDict

from lift_jax.configuration.checks import flatten
from lift_jax.data.splits import SPLITS
from lift_jax.evaluation.intervals import LEVEL
from lift_jax.sweeps.definition import Sweep
from lift_jax.sweeps.dependence import stage_digest
from lift_jax.sweeps.results import Result

FEW_SEEDS = 3


def sweep_facts(sweep: Sweep, results: Sequence[Result]) -> dict[str, str]:
    """Data, steps, seeds, variants and hardware by name."""
    base = next(r.run.config for r in results if r.run.variant == sweep.base_variant)
    scored = [result for result in results if result.scores]
    counts = sorted({str(result.count) for result in scored})
    what = "volumes out of noise" if base.task == "unconditional" else "each contrast predicted from all others"
    unit = "volumes" if base.task == "unconditional" else "cases"
    facts = {
        "task": what,
        "data set": _data_set(base),
        "scored": f"{', '.join(counts) or 'no'} {unit} a run, test split, the same for all runs",
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
        "agree in. Many comparisons stand side by side: of twenty that are worth nothing, one is coloured by chance.",
    ]
    if len(sweep.seeds) < FEW_SEEDS:
        points.append(
            f"Only {len(sweep.seeds)} of the {FEW_SEEDS} seeds that are needed at least to tell variants apart."
        )
    if sweep.base.task == "unconditional":
        points.append(
            "Distances are between features of each run's own encoder: compare them within a seed, as the paired "
            "differences do. The line of held-out real volumes is the floor of each column."
        )
        points.append(
            "Fréchet distances are above 0 and scatter in proportion to their size: their means are geometric, and "
            "differences are ratios to the base, of which 1 is none."
        )
        points += _other_encoders(sweep, results)
        points.append(
            "Percentages are best at 0. Mean |Δz| above real: slices do not fit; below: they are smeared along z. A "
            "spread below real: volumes are too much alike."
        )
    return points


def _other_encoders(sweep: Sweep, results: Sequence[Result]) -> list[str]:
    """A warning of variants whose distances cannot be compared with the base's."""
    configs = {result.run.variant: result.run.config for result in results if result.run.seed == sweep.seeds[0]}
    base = _encoder_of(configs[sweep.base_variant])
    others = [name for name, config in configs.items() if _encoder_of(config) != base]
    if not others:
        return []
    return [f"{', '.join(others)}: another encoder; its distances cannot be compared with the base's."]


def _encoder_of(config: ConfigDict) -> object:
    if "encoder" in config.stages:
        return stage_digest(config, "encoder")
    return {key: value for key, value in flatten(config).items() if key.startswith("model.encoder.")}, config.seed


def _data_set(config: ConfigDict) -> str:
    data = config.data
    told = f"{data.layout}" + (f", {data.contrast}" if config.task == "unconditional" else "")
    if data.layout == "phantom":
        counts = ", ".join(f"{data.cases[split]} {split}" for split in SPLITS)
        return f"{told}, {'×'.join(map(str, data.shape))} at {data.spacing:g} mm; {counts}"
    return f"{told}, {data.root}"
