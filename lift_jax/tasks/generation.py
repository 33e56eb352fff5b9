"""Evaluation, synthesis and sweeps of runs that generate (LiFT-U)."""

import json
import math
import pathlib
import time
from collections.abc import Iterator

import jax
import matplotlib.image
import nibabel as nib
import numpy as np

from lift_jax import hosts
from lift_jax.data.geometry import Grid
from lift_jax.data.single_channel import volume_spacing
from lift_jax.data.volumes import write_volume
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
from lift_jax.evaluation.report.planes import planes_montage
from lift_jax.evaluation.report.viewer import write_viewer
from lift_jax.evaluation.statistics import MODEL
from lift_jax.inference.output import check_writable
from lift_jax.inference.sample import sample_volumes
from lift_jax.paths import PathLike, atomic_write, is_in_bucket
from lift_jax.tasks.base import EvaluateOptions, Example, RunScores, SweepSupport, SynthesizeOptions
from lift_jax.trained import TrainedGeneration, load_generation

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
    paths = synthesize_samples(
        trained,
        options.count,
        options.seed,
        options.output,
        depth=options.depth,
        spacing=options.spacing,
        temperature=options.temperature,
    )
    yield from map(str, paths)


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


SHEET_VOLUMES = 16
"""Volumes on the contact sheet and in the viewer, at most."""


def synthesize_samples(
    trained: TrainedGeneration,
    count: int,
    seed: int,
    output: pathlib.Path,
    *,
    depth: int = 0,
    spacing: float | None = None,
    temperature: float | None = None,
) -> list[pathlib.Path]:
    """Samples volumes and writes `sample-<seed>-<number>.nii.gz`, `contact_sheet.png`, `viewer.html`, `synthesis.json`.

    Voxels are float32 in [0, 1]; the grid is RAS+ with its center at the origin. With another depth than that of
    training, slices lie closer together or further apart, and the head keeps its height.

    Args:
      trained: the run.
      count: how many volumes; seed: of their latents. Volume `i` of a seed is the same whatever else is asked for.
      output: folder for the results; made if it is not there.
      depth: slices of each volume; 0 for as many as in training.
      spacing: millimeters of a training voxel; None: those of the training volumes.
      temperature: standard deviation of the latents of volumes; None: `inference.temperature` of the run.

    Raises:
      UserError: if a number is out of its range, or results cannot be written.
    """
    spacing = volume_spacing(trained.config.data) if spacing is None else spacing
    if not 0 < spacing < math.inf:
        raise UserError(f"--spacing: {spacing} is no voxel size in mm")
    began = time.perf_counter()
    grid = sample_grid(trained, depth, spacing)
    volumes = sampled(trained, count, seed, depth, temperature)
    try:
        output.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"{output}: cannot be made ({error.strerror}); name another --output") from None
    paths, shown = [], []
    for index, volume in enumerate(volumes):
        paths.append(output / f"sample-{seed}-{index:04d}.nii.gz")
        write_volume(paths[-1], volume, grid)
        shown += [volume] if index < SHEET_VOLUMES else []
    sheet = output / "contact_sheet.png"
    matplotlib.image.imsave(sheet, planes_montage(np.stack(shown)))
    metadata = {
        "seed": seed,
        "volumes": [path.name for path in paths],
        "depth": grid.shape[0],
        "temperature": _temperature(trained, temperature),
        "spacing_mm": list(grid.spacing),
        "stage": trained.stage,
        "step": trained.step,
        "seconds": round(time.perf_counter() - began, 3),
        "device": jax.devices()[0].device_kind,
        "config": trained.config.to_dict(),
    }
    atomic_write(output / "synthesis.json", json.dumps(metadata, indent=2) + "\n")
    title = f"{count} sampled volume{'s' * (count > 1)}, seed {seed}"
    viewer = write_viewer(paths[:SHEET_VOLUMES], output / "viewer.html", title=title)
    return [*paths, sheet, viewer]


def sampled(
    trained: TrainedGeneration, count: int, seed: int, depth: int = 0, temperature: float | None = None
) -> Iterator[np.ndarray]:
    """Samples volumes one after the other, each `[D, H, W]` float32 in [0, 1]; see `synthesize_samples`.

    Raises:
      UserError: at once, if a number is out of its range.
    """
    for flag, value, least in (("count", count, 1), ("seed", seed, 0), ("depth", depth, 0)):
        if value < least:
            raise UserError(f"--{flag}: {value} is below {least}")
    options = {"chunk": trained.config.inference.chunk, "temperature": _temperature(trained, temperature)}
    depth = depth or trained.shape[0]
    return (
        sample_volumes(trained.networks, trained.params, seed, 1, first=index, depth=depth, **options)[0]
        for index in range(count)
    )


def _temperature(trained: TrainedGeneration, temperature: float | None) -> float:
    if temperature is None:
        return trained.config.inference.temperature
    if not 0 <= temperature < math.inf:
        raise UserError(
            f"--temperature: {temperature} is no standard deviation; 1 is that of training, 0 the mean volume"
        )
    return temperature


def sample_grid(trained: TrainedGeneration, depth: int = 0, spacing: float | None = None) -> Grid:
    """The grid of sampled volumes: RAS+, centered on the origin; the head keeps its height at any depth."""
    spacing = volume_spacing(trained.config.data) if spacing is None else spacing
    trained_depth, height, width = trained.shape
    depth = depth or trained_depth
    return _grid((depth, height, width), (spacing * trained_depth / depth, spacing, spacing))


def _grid(shape: tuple[int, int, int], spacing: tuple[float, float, float]) -> Grid:
    """A RAS+ grid `(D, H, W)` with voxels of `spacing` mm along D, H and W, centered on the origin."""
    affine = np.diag([*reversed(spacing), 1.0])
    affine[:3, 3] = [-(size - 1) / 2 * side for size, side in zip(reversed(shape), reversed(spacing), strict=True)]
    header = nib.Nifti1Image(np.zeros(tuple(reversed(shape)), np.float32), affine).header
    header.set_xyzt_units("mm")
    header.set_qform(affine, code=1)
    header.set_sform(affine, code=1)
    return Grid(shape, affine, header)
