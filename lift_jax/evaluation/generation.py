"""Scores of LiFT-U: sets of volumes, of a run and its baselines, each against one set of real volumes."""

import dataclasses
import functools
import time
from collections.abc import Callable, Mapping

import numpy as np

from lift_jax import run_directory
from lift_jax.data.cache import cache_subjects
from lift_jax.data.datasets import DATASETS
from lift_jax.data.single_channel import channel_source, stack_volumes
from lift_jax.data.splits import SPLITS, check_members
from lift_jax.evaluation.columns import VOLUME_COLUMNS, distance_columns
from lift_jax.evaluation.cost import hardware, peak_memory
from lift_jax.evaluation.distribution import (
    FRECHET_RESAMPLES,
    brain_region,
    frechet_estimates,
    kernel_estimates,
    mean_abs_delta_z,
    nearest_neighbors,
    pair_similarity,
    relative_estimate,
    spread_estimate,
)
from lift_jax.evaluation.metrics import MS_SSIM_SIDE
from lift_jax.evaluation.plane_features import Encode, compared_positions, plane_features, slice_encoder
from lift_jax.evaluation.statistics import Column, Estimate, mean_interval
from lift_jax.inference.sample import sample_independent_slices, sample_volumes
from lift_jax.losses.triplanar import PLANES
from lift_jax.models.encoders.resnet import medicalnet_features, medicalnet_parameters
from lift_jax.paths import PathLike
from lift_jax.trained import TrainedGeneration

GENERATED, INDEPENDENT, HELD_OUT = "LiFT-U", "independent slices", "real (held out)"
"""What is compared: the run, the same generator without a mapper, and real volumes of the validation split."""

SAMPLE_SEED = 2
"""Of the samples that are scored."""

TOO_SMALL = f"MS-SSIM is left out: volumes too small for five scales (a side under {MS_SSIM_SIDE} voxels)"


@dataclasses.dataclass(frozen=True)
class GenerationScores:
    """What was measured of sets of volumes.

    Attributes:
      groups: the columns of each table, by its heading; the encoder stands in every column of a distance, and in its
        key.
      table: `table[set][column key]`; percentages and ×10³ are in the numbers; n counts volumes.
      volume_rows: a row per volume: `{"set", "sample", "step", "nearest_training", "nearest_rmse"}`.
      nearest: per set, the index of the training volume that is most like each of its volumes.
      notes: what a reader must know of these numbers.
    """

    groups: dict[str, tuple[Column, ...]]
    table: dict[str, dict[str, Estimate]]
    volume_rows: list[dict]
    nearest: dict[str, np.ndarray]
    notes: list[str]


def score_sets(
    sets: Mapping[str, np.ndarray],
    reference: np.ndarray,
    training: np.ndarray,
    *,
    slice_encoders: Mapping[str, Encode],
    volume_encoders: Mapping[str, Callable[[np.ndarray], np.ndarray]],
    seed: int = 0,
    frechet_resamples: int = FRECHET_RESAMPLES,
    pairs: int = 100,
) -> GenerationScores:
    """Scores of sets of volumes in [0, 1], by the set's name.

    Give real volumes that neither the reference nor the training holds as one of the sets, and independent slices of
    the same generator as another: what real volumes score is the floor, and what slices alone score has to be beaten.

    Args:
      sets: `[N, D, H, W]` by name, N of 2 or more; equal N compare best, since few volumes raise a Fréchet distance.
      reference: `[M, D, H, W]`, the real volumes that every set is compared with.
      training: `[T, D, H, W]`, what the model saw, to find memorized samples.
      slice_encoders: slices to features, by name (see `plane_features.slice_encoder`); "" stands in no key or label.
      volume_encoders: `[N, D, H, W]` to `[N, F]` by name (see `medicalnet.medicalnet_features`); may be empty.
      seed: of resamples and drawn pairs.
      frechet_resamples: bootstrap resamples of Fréchet distances.
      pairs: pairs of a set that MS-SSIM is taken of, at most.

    Raises:
      ValueError: sets of another grid than the reference's, of one volume, or with values that are not finite.
    """
    _require_comparable({**sets, "the reference": reference, "the training set": training}, reference.shape[1:])
    groups: dict[str, tuple[Column, ...]] = {}
    table: dict[str, dict[str, Estimate]] = {name: {} for name in sets}
    positions = compared_positions(reference)
    for encoder, encode in slice_encoders.items():
        of_sets = {name: plane_features(encode, volumes, positions) for name, volumes in sets.items()}
        of_reference = plane_features(encode, reference, positions)
        for plane in PLANES:
            features = {name: planes[plane] for name, planes in of_sets.items()}
            frechet = frechet_estimates(features, of_reference[plane], seed=seed, resamples=frechet_resamples)
            kernel = kernel_estimates(features, of_reference[plane], seed=seed)
            suffix = f"{plane}_{encoder}" if encoder else plane
            for name in sets:
                table[name] |= {f"frechet_{suffix}": frechet[name], f"kernel_{suffix}": kernel[name]}
        groups[f"Distances between slices, features of {encoder}"] = distance_columns(encoder)
    for encoder, encode_volumes in volume_encoders.items():
        features = {name: encode_volumes(volumes)[:, None] for name, volumes in sets.items()}
        estimates = frechet_estimates(
            features, encode_volumes(reference)[:, None], seed=seed, resamples=frechet_resamples
        )
        key = f"frechet_3d_{encoder}_x1000"
        for name, estimate in estimates.items():
            table[name][key] = _scaled(estimate, 1000)
        groups[f"Distances between volumes, features of {encoder}"] = (
            Column(key, f"Fréchet ×10³, 3D ({encoder})", 3, False),
        )
    volume_rows, nearest = _score_volumes(table, sets, reference, training, seed)
    notes = _score_pairs(table, sets, pairs, seed)
    present = {key for scores in table.values() for key in scores}
    groups["Volumes as they are"] = tuple(column for column in VOLUME_COLUMNS if column.key in present)
    return GenerationScores(groups, table, volume_rows, nearest, notes)


def real_volumes(trained: TrainedGeneration, workdir: PathLike) -> dict[str, np.ndarray]:
    """The volumes `[V, D, H, W]` float32 in [0, 1] of each split.

    Raises:
      UserError: a split file leaves one of them empty.
    """
    config, volumes = trained.config, {}
    for split in SPLITS:
        source = channel_source(config.data, split)
        check_members(source.names, split, config.data.split_file)
        subjects = cache_subjects(source, run_directory.cache_directory(workdir, config), config.data.threads)
        volumes[split] = stack_volumes(subjects, config.data.targets[0]).astype(np.float32)
    return volumes


def sampled_sets(trained: TrainedGeneration, real: np.ndarray, count: int) -> tuple[dict[str, np.ndarray], float]:
    """Volumes of the model and of the two baselines, `count` each, and the model's seconds per volume."""
    inference = trained.config.inference
    sampled, independent = (
        functools.partial(
            sample,
            trained.networks,
            trained.params,
            SAMPLE_SEED,
            depth=trained.shape[0],
            chunk=inference.chunk,
            temperature=inference.temperature,
        )
        for sample in (sample_volumes, sample_independent_slices)
    )
    sampled(1)  # compiles
    began = time.perf_counter()
    generated = sampled(count)
    seconds = (time.perf_counter() - began) / count
    return {GENERATED: generated, INDEPENDENT: independent(count), HELD_OUT: real[:count]}, seconds


def score_generation(
    trained: TrainedGeneration, sets: dict[str, np.ndarray], real: dict[str, np.ndarray], medicalnet: str | None
) -> GenerationScores:
    """Scores of the sets against the test split, by the run's own encoder and, if its weights are given, MedicalNet.

    Raises:
      UserError: if MedicalNet's weights cannot be used.
    """
    volume_encoders = {}
    if medicalnet:
        weights = medicalnet_parameters(medicalnet)
        volume_encoders["MedicalNet ResNet-50"] = lambda volumes: medicalnet_features(weights, volumes)
    encoder = slice_encoder(trained.networks.encoder, trained.params["encoder"])
    return score_sets(
        sets,
        real["test"],
        real["train"],
        slice_encoders={encoder_name(trained): encoder},
        volume_encoders=volume_encoders,
    )


def encoder_name(trained: TrainedGeneration) -> str:
    """What the run's encoder is called in tables."""
    kind = trained.config.model.encoder.kind
    return "this run's MAE" if kind == "mae" else kind


def generation_metadata(trained: TrainedGeneration, seconds: float) -> dict[str, str]:
    """The metadata of a report."""
    config = trained.config
    stages = ", ".join(f"{name} {config.stage[name].steps:,} steps" for name in config.stages)
    size = "×".join(map(str, trained.shape))
    data = config.data
    kind = " phantoms" if DATASETS[data.dataset].scanned_as else ""
    voxel = (
        f"{data.spacing:g} mm{kind}" if data.spacing > 0 else "as configured" if any(data.size) else "WDM's protocol"
    )
    return {
        "data set": f"{data.dataset}, {data.targets[0]}, {size}, {voxel}",
        "task": "volumes from noise",
        "particles": config.loss.particles,
        "loss": f"drifting, field {config.loss.field}",
        "encoder": encoder_name(trained),
        "training": stages,
        "checkpoint": f"stage {trained.stage}, step {trained.step:,}, averaged parameters",
        "hardware": hardware(),
        "seconds per volume": f"{seconds:.3g} (mean, after compilation)",
        "peak memory": f"{peak_memory():.2f} GiB, of the whole evaluation",
    }


def _require_comparable(sets: Mapping[str, np.ndarray], grid: tuple[int, ...]) -> None:
    for name, volumes in sets.items():
        if volumes.ndim != 4 or volumes.shape[1:] != grid or len(volumes) < 2:
            raise ValueError(f"{name}: needs two or more volumes of {grid}, got {volumes.shape}")
        if not np.isfinite(volumes).all():
            raise ValueError(f"{name}: holds values that are not finite")


def _score_volumes(table, sets, reference, training, seed) -> tuple[list[dict], dict[str, np.ndarray]]:
    """Adds steps, spread and nearest neighbors to the table; returns the row and the neighbor of every volume."""
    region = brain_region(training)
    real_steps = _finite(np.array([mean_abs_delta_z(volume) for volume in reference]))
    volume_rows, nearest = [], {}
    for name, volumes in sets.items():
        steps = np.array([mean_abs_delta_z(volume) for volume in volumes])
        nearest[name], distances = nearest_neighbors(volumes, training, region)
        finite = _finite(steps)
        if len(finite) and len(real_steps):
            table[name]["step"] = mean_interval(finite)
            table[name]["step_relative"] = _scaled(relative_estimate(finite, real_steps, seed=seed), 100)
        table[name]["spread_relative"] = _scaled(spread_estimate(volumes, reference, seed=seed), 100)
        table[name]["nearest_rmse"] = mean_interval(distances)
        rows = zip(steps.tolist(), nearest[name].tolist(), distances.tolist(), strict=True)
        volume_rows += [
            {"set": name, "sample": i, "step": step, "nearest_training": neighbor, "nearest_rmse": distance}
            for i, (step, neighbor, distance) in enumerate(rows)
        ]
    return volume_rows, nearest


def _score_pairs(table, sets, pairs: int, seed: int) -> list[str]:
    """Adds MS-SSIM to the table where volumes are large enough for it; returns what to say of it."""
    if min(side for volumes in sets.values() for side in volumes.shape[1:]) < MS_SSIM_SIDE:
        return [TOO_SMALL]
    counts = {}
    for name, volumes in sets.items():
        table[name]["ms_ssim"], counts[name] = pair_similarity(volumes, pairs=pairs, seed=seed)
    listed = ", ".join(f"{count} of {name}" for name, count in counts.items())
    return [f"MS-SSIM is over pairs within a set: {listed}; of more pairs, these were drawn at random"]


def _scaled(estimate: Estimate, factor: float) -> Estimate:
    return Estimate(factor * estimate.mean, factor * estimate.low, factor * estimate.high, estimate.n)


def _finite(values: np.ndarray) -> np.ndarray:
    return values[np.isfinite(values)]
