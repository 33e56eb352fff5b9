"""How volumes change from slice to slice and from one to the next, and whether they were seen in training."""

import itertools

import numpy as np

from lift_jax.evaluation.aggregates import Estimate
from lift_jax.evaluation.metrics.distribution import ms_ssim
from lift_jax.evaluation.metrics.set_distances import RESAMPLES, centered_interval, resampled_counts

AIR = 0.05
"""Intensity up to which a voxel in [0, 1] counts as air: a generator's air is dark, but seldom exactly 0."""

VOXELS = 50_000
"""Voxels on which the spread over volumes is taken, drawn from the brain where it has more."""

SPREAD_RESAMPLES = 200
"""Bootstrap resamples of the spread, each of which goes through all those voxels."""

NEIGHBOR_BLOCK = 32
"""Training volumes that are compared at a time."""


def mean_abs_delta_z(volume) -> float:
    """Mean |Δz| of a volume `[D, H, W]` in [0, 1]: over neighboring voxels along z of which either is not air.

    The rim of the brain is in, where slices that do not fit show most. nan where all is air.
    """
    volume = np.asarray(volume, np.float64)
    shown = volume > AIR
    pairs = shown[1:] | shown[:-1]
    return float(np.abs(np.diff(volume, axis=0))[pairs].mean()) if pairs.any() else float("nan")


def brain_region(volumes) -> np.ndarray:
    """Where any of the volumes `[N, D, H, W]` is not air, `[D, H, W]` bool; all of it if there is no such place."""
    region = np.asarray(volumes).max(0) > AIR
    return region if region.any() else np.ones_like(region)


def relative_estimate(values, reference, *, seed: int) -> Estimate:
    """`mean(values) / mean(reference) - 1` for one value a volume, `[N]` and `[M]`; volumes of both are resampled."""
    values, reference = np.asarray(values, np.float64), np.asarray(reference, np.float64)
    generator = np.random.default_rng(seed)
    means = [resampled_counts(len(v), RESAMPLES, generator) @ v / len(v) for v in (values, reference)]
    return centered_interval(_ratio(values.mean(), reference.mean()) - 1, _ratio(*means) - 1, len(values))


def spread_estimate(volumes, reference, *, seed: int) -> Estimate:
    """The spread over volumes against the reference's: a ratio less 1, `[N, D, H, W]` against `[M, D, H, W]`.

    The spread is the standard deviation over volumes at every voxel, averaged over the brain (of the reference, at most
    50,000 voxels of it). Below 0: less varied than real volumes. Volumes of both are resampled.
    """
    generator = np.random.default_rng(seed)
    places = np.flatnonzero(brain_region(reference))
    if len(places) > VOXELS:
        places = generator.choice(places, VOXELS, replace=False)
    made, real = (_at(v, places) for v in (volumes, reference))
    value = _ratio(made.std(0, ddof=1).mean(), real.std(0, ddof=1).mean()) - 1
    drawn = [[_redrawn_spread(voxels, generator) for voxels in (made, real)] for _ in range(SPREAD_RESAMPLES)]
    return centered_interval(value, _ratio(*np.transpose(drawn)) - 1, len(volumes))


def _redrawn_spread(voxels: np.ndarray, generator: np.random.Generator) -> float:
    """The spread of a resample of `[N, voxels]`, without gathering it."""
    weights = resampled_counts(len(voxels), 1, generator)[0] / len(voxels)
    return float(np.sqrt((weights @ voxels**2 - (weights @ voxels) ** 2).clip(0)).mean())


def pair_similarity(volumes, *, pairs: int, seed: int) -> tuple[Estimate, int]:
    """Mean MS-SSIM over pairs of volumes `[N, D, H, W]` in [0, 1], and over how many: all pairs, or `pairs` drawn.

    Near the figure of real pairs, volumes are as varied as real ones; near 1, they are all the same. Volumes are
    resampled, pairs with them.

    Raises:
      ValueError: sides under 112 voxels (see `distribution.ms_ssim`).
    """
    generator = np.random.default_rng(seed)
    chosen = np.array(list(itertools.combinations(range(len(volumes)), 2)))
    if len(chosen) > pairs:
        chosen = chosen[np.sort(generator.choice(len(chosen), pairs, replace=False))]
    values = np.array([ms_ssim(volumes[i], volumes[j]) for i, j in chosen])
    counts = resampled_counts(len(volumes), RESAMPLES, generator)
    weights = counts[:, chosen[:, 0]] * counts[:, chosen[:, 1]]
    return centered_interval(values.mean(), _ratio(weights @ values, weights.sum(1)), len(volumes)), len(chosen)


def nearest_neighbors(volumes, training, region: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The training volume most like each volume: its index `[N]` and the root mean square difference `[N]`.

    Args:
      volumes: `[N, D, H, W]`.
      training: `[T, D, H, W]`.
      region: `[D, H, W]` bool, where they are compared (see `brain_region`).
    """
    places = np.flatnonzero(region)
    made = _at(volumes, places)
    squares = []
    for start in range(0, len(training), NEIGHBOR_BLOCK):
        seen = _at(training[start : start + NEIGHBOR_BLOCK], places)
        squares.append((made**2).sum(1)[:, None] + (seen**2).sum(1) - 2 * made @ seen.T)
    squares = np.concatenate(squares, axis=1).clip(0) / len(places)
    return squares.argmin(1), np.sqrt(squares.min(1))


def _ratio(a, b) -> np.ndarray:
    """`a / b`, nan where b is 0."""
    a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
    return np.divide(a, b, out=np.full(a.shape, np.nan), where=b > 0)


def _at(volumes, places: np.ndarray) -> np.ndarray:
    """Values `[N, places]` float64 of volumes at flat places."""
    volumes = np.asarray(volumes)
    return volumes.reshape(len(volumes), -1)[:, places].astype(np.float64)
