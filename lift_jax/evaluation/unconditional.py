"""The scores of sets of unconditional volumes: each against one set of real volumes."""

import dataclasses
from collections.abc import Callable, Mapping

import numpy as np

from lift_jax.evaluation.aggregates import Column, Estimate
from lift_jax.evaluation.intervals import mean_interval
from lift_jax.evaluation.metrics.distribution import MS_SSIM_SIDE
from lift_jax.evaluation.metrics.diversity import (
    brain_region,
    mean_abs_delta_z,
    nearest_neighbors,
    pair_similarity,
    relative_estimate,
    spread_estimate,
)
from lift_jax.evaluation.metrics.plane_features import PLANES, Encode, compared_positions, plane_features
from lift_jax.evaluation.metrics.set_distances import FRECHET_RESAMPLES, frechet_estimates, kernel_estimates

TOO_SMALL = f"MS-SSIM is left out: volumes too small for five scales (a side under {MS_SSIM_SIDE} voxels)"

MADE_COLUMNS = (
    Column("step", "mean |Δz|", 4, False),
    Column("step_relative", "mean |Δz|, against real (%)", 1, False),
    Column("spread_relative", "spread over volumes, against real (%)", 1, False),
    Column("ms_ssim", "MS-SSIM of pairs", 3, False),
    Column("nearest_rmse", "RMSE to the nearest training volume", 4, True),
)


@dataclasses.dataclass(frozen=True)
class UnconditionalScores:
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


def score_unconditional(
    sets: Mapping[str, np.ndarray],
    reference: np.ndarray,
    training: np.ndarray,
    *,
    slice_encoders: Mapping[str, Encode],
    volume_encoders: Mapping[str, Callable[[np.ndarray], np.ndarray]],
    seed: int = 0,
    frechet_resamples: int = FRECHET_RESAMPLES,
    pairs: int = 100,
) -> UnconditionalScores:
    """Scores of sets of volumes in [0, 1], by the set's name.

    Give real volumes that neither the reference nor the training holds as one of the sets, and independent slices of
    the same generator as another: what real volumes score is the floor, and what slices alone score has to be beaten.

    Args:
      sets: `[N, D, H, W]` by name, N of 2 or more; equal N compare best, since few volumes raise a Fréchet distance.
      reference: `[M, D, H, W]`, the real volumes that every set is compared with.
      training: `[T, D, H, W]`, what the model saw, to tell memorized samples.
      slice_encoders: slices to features, by name (see `plane_features.slice_encoder`).
      volume_encoders: `[N, D, H, W]` to `[N, F]` by name (see `models.medicalnet.medicalnet_features`); may be empty.
      seed: of resamples and drawn pairs.
      frechet_resamples: bootstrap resamples of Fréchet distances.
      pairs: pairs of a set that MS-SSIM is taken of, at most.

    Raises:
      ValueError: sets of another grid than the reference's, of one volume, or with values that are not finite.
    """
    _require_comparable({**sets, "the reference": reference, "the training set": training}, reference.shape[1:])
    groups, table = {}, {name: {} for name in sets}
    positions = compared_positions(reference)
    for encoder, encode in slice_encoders.items():
        seen = {name: plane_features(encode, volumes, positions) for name, volumes in sets.items()}
        real = plane_features(encode, reference, positions)
        for plane in PLANES:
            features = {name: planes[plane] for name, planes in seen.items()}
            frechet = frechet_estimates(features, real[plane], seed=seed, resamples=frechet_resamples)
            _fill(table, f"frechet_{plane}_{encoder}", frechet)
            _fill(table, f"kernel_{plane}_{encoder}", kernel_estimates(features, real[plane], seed=seed))
        groups[f"Distances between slices, features of {encoder}"] = _slice_columns(encoder)
    for encoder, encode in volume_encoders.items():
        features = {name: encode(volumes)[:, None] for name, volumes in sets.items()}
        estimates = frechet_estimates(features, encode(reference)[:, None], seed=seed, resamples=frechet_resamples)
        key = f"frechet_3d_{encoder}_x1000"
        _fill(table, key, {name: _scaled(estimate, 1000) for name, estimate in estimates.items()})
        groups[f"Distances between volumes, features of {encoder}"] = (
            Column(key, f"Fréchet ×10³, 3D ({encoder})", 3, False),
        )
    volume_rows, nearest = _score_volumes(table, sets, reference, training, seed)
    notes = _score_pairs(table, sets, pairs, seed)
    present = {key for scores in table.values() for key in scores}
    groups["Volumes as they are"] = tuple(column for column in MADE_COLUMNS if column.key in present)
    return UnconditionalScores(groups, table, volume_rows, nearest, notes)


def _require_comparable(sets: Mapping[str, np.ndarray], grid: tuple[int, ...]) -> None:
    for name, volumes in sets.items():
        if volumes.ndim != 4 or volumes.shape[1:] != grid or len(volumes) < 2:
            raise ValueError(f"{name}: wanted are two or more volumes of {grid}, got {volumes.shape}")
        if not np.isfinite(volumes).all():
            raise ValueError(f"{name}: holds values that are not finite")


def _slice_columns(encoder: str) -> tuple[Column, ...]:
    kinds = {"frechet": "Fréchet", "kernel": "kernel"}
    return tuple(
        Column(f"{kind}_{plane}_{encoder}", f"{label}, {plane} ({encoder})", 4, False)
        for kind, label in kinds.items()
        for plane in PLANES
    )


def _score_volumes(table, sets, reference, training, seed) -> tuple[list[dict], dict[str, np.ndarray]]:
    """Adds steps, spread and nearest neighbors to the table; returns the row and the neighbor of every volume."""
    region = brain_region(training)
    real_steps = _finite(np.array([mean_abs_delta_z(volume) for volume in reference]))
    volume_rows, nearest = [], {}
    for name, volumes in sets.items():
        steps = np.array([mean_abs_delta_z(volume) for volume in volumes])
        nearest[name], distances = nearest_neighbors(volumes, training, region)
        known = _finite(steps)
        if len(known) and len(real_steps):
            table[name]["step"] = Estimate(*mean_interval(known), len(known))
            table[name]["step_relative"] = _scaled(relative_estimate(known, real_steps, seed=seed), 100)
        table[name]["spread_relative"] = _scaled(spread_estimate(volumes, reference, seed=seed), 100)
        table[name]["nearest_rmse"] = Estimate(*mean_interval(distances), len(volumes))
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
    told = ", ".join(f"{count} of {name}" for name, count in counts.items())
    return [f"MS-SSIM is of pairs within a set: {told}; where a set has more, they were drawn by seed"]


def _fill(table: dict, key: str, estimates: Mapping[str, Estimate]) -> None:
    for name, estimate in estimates.items():
        table[name][key] = estimate


def _scaled(estimate: Estimate, factor: float) -> Estimate:
    return Estimate(*(factor * number for number in estimate[:3]), estimate.n)


def _finite(values: np.ndarray) -> np.ndarray:
    return values[np.isfinite(values)]
