"""Evaluation, synthesis and sweeps of runs that generate (LiFT-U)."""

from collections.abc import Iterator

import numpy as np

from lift_jax import hosts
from lift_jax.data.single_channel import volume_spacing
from lift_jax.errors import UserError
from lift_jax.evaluation.columns import SWEEP_GENERATION_COLUMNS
from lift_jax.evaluation.generation import (
    GENERATED,
    HELD_OUT,
    INDEPENDENT,
    generation_metadata,
    real_volumes,
    sampled_sets,
    score_generation,
    score_sets,
)
from lift_jax.evaluation.plane_features import slice_encoder
from lift_jax.evaluation.report.generation import write_generation_report
from lift_jax.evaluation.statistics import MODEL
from lift_jax.inference.output import check_writable
from lift_jax.paths import PathLike, is_in_bucket
from lift_jax.tasks.base import EvaluateOptions, Example, RunScores, SweepSupport, SynthesizeOptions
from lift_jax.tasks.generation_synthesis import synthesize_samples
from lift_jax.trained import load_generation

EXAMPLES = 3
"""Samples of a run on the page of a sweep."""


def evaluate_generation(workdir: PathLike, options: EvaluateOptions) -> PathLike | None:
    """Scores samples of a run against its test split and writes a report.

    Returns:
      The path of the report; None in processes other than the first.

    Raises:
      UserError: the run or its data cannot be used, or the report cannot be written.
    """
    trained = load_generation(workdir)
    if not hosts.is_first():
        return None
    output = options.output or workdir / "evaluation"
    if not is_in_bucket(output):
        check_writable(output)
    real = real_volumes(trained, workdir)
    count = min(len(real["validation"]), len(real["test"]))
    sets, seconds = sampled_sets(trained, real["validation"], count)
    write_generation_report(
        output,
        score_generation(trained, sets, real, options.medicalnet),
        sets,
        real["test"],
        real["train"],
        title=f"{workdir.name}: volumes from noise",
        metadata=generation_metadata(trained, seconds),
        spacing=(volume_spacing(trained.config.data),) * 3,
    )
    return output / "report.html"


def synthesize_generation(workdir: PathLike, options: SynthesizeOptions) -> Iterator[str]:
    """Samples volumes and yields their paths.

    Raises:
      UserError: the run or a number cannot be used, or results cannot be written.
    """
    if options.count is None:
        raise UserError(f"--count: not given; {workdir} is a run that generates, say how many volumes to sample")
    trained = load_generation(workdir)
    check_writable(options.output)
    numbers = {"depth": options.depth, "temperature": options.temperature}
    if options.spacing is not None:
        numbers["spacing"] = options.spacing
    for path in synthesize_samples(trained, options.count, options.seed, options.output, **numbers):
        yield str(path)


def score_samples(workdir: PathLike) -> RunScores:
    """Scores samples of a run of a sweep against its test split."""
    trained = load_generation(workdir)
    real = real_volumes(trained, workdir)
    count = min(len(real["validation"]), len(real["test"]))
    sets, _ = sampled_sets(trained, real["validation"], count)
    encoder = slice_encoder(trained.networks.encoder, trained.params["encoder"])
    # Intervals over the volumes of one run are not shown, so none are drawn.
    scored = score_sets(
        sets, real["test"], real["train"], slice_encoders={"": encoder}, volume_encoders={}, frechet_resamples=0
    )
    keys = {column.key for column in SWEEP_GENERATION_COLUMNS}
    scores = {
        MODEL if name == GENERATED else name: {
            key: _number(estimate.mean) for key, estimate in row.items() if key in keys
        }
        for name, row in scored.table.items()
    }
    pairs = list(zip(real["test"], sets[GENERATED], strict=False))[:EXAMPLES]
    examples = [Example(f"sample {i}", {"real": test}, sample) for i, (test, sample) in enumerate(pairs)]
    return RunScores(scores, count, examples, (trained.config.data.spacing,) * 3)


def _number(value: float) -> float | None:
    """A number as JSON knows it."""
    return float(value) if np.isfinite(value) else None


SWEEP = SweepSupport(
    columns=lambda config: SWEEP_GENERATION_COLUMNS,
    baselines=lambda config: (INDEPENDENT, HELD_OUT),
    score=score_samples,
    independent={
        "encoder": (
            *("model.generator", "model.mapper", "model.prior", "features", "loss"),
            *("stage.generator", "stage.mapper"),
        ),
        "generator": (
            *(f"model.mapper.{key}" for key in ("hidden", "layers")),
            *("loss.particles", "loss.planes", "stage.mapper"),
        ),
        "mapper": (),
    },
    description="volumes from noise",
    unit="volumes",
    shown="Every variant makes a sample from the same noise; the real volume beside it is from the test split. ",
    notes=(
        "Distances are between features of each run's own encoder: compare them within a seed, as the paired "
        "differences do. The line of held-out real volumes is the floor of each column.",
        "Fréchet distances are above 0 and scatter in proportion to their size: their means are geometric, and "
        "differences are ratios to the base, of which 1 is none.",
        "Percentages are best at 0. Mean |Δz| above real: slices do not fit; below: they are smeared along z. A "
        "spread below real: volumes are too much alike.",
    ),
    measured_by="encoder",
)
