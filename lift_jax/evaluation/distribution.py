"""Sets of generated volumes against sets of real ones: distances of features, change along z, diversity, copies.

All have bootstrap intervals. Volumes are resampled, never their slices: the slices of a volume depend on each other, so
a set of N volumes is a sample of N, however many slices it has.
"""

import itertools
from collections.abc import Mapping

import numpy as np
from scipy.special import ndtri, stdtrit

from lift_jax.evaluation.metrics import frechet_distance, ms_ssim
from lift_jax.evaluation.statistics import LEVEL, Estimate

FRECHET_RESAMPLES = 100
"""Bootstrap resamples of the Fréchet distance, each of which takes matrix roots."""

PRINCIPAL = 128
"""Directions that those resamples are taken in: the widest of all features; the others hardly move the distance."""

COVARIANCE_RIDGE = 1e-10
"""What the covariance of a resample gets on its diagonal, as a part of the variance."""

RESAMPLES = 1000
"""Bootstrap resamples of what is cheap."""

FEWEST_VOLUMES = 4
"""Volumes below which there is no interval: resamples of fewer are the same few sets again and again."""

KERNEL_DEGREE = 3
"""Degree of the polynomial kernel of the kernel distance (Binkowski et al., 2018)."""

AIR_INTENSITY = 0.05
"""Intensity up to which a voxel in [0, 1] counts as air: a generator's air is dark, but seldom exactly 0."""

VOXELS = 50_000
"""Voxels on which the spread over volumes is taken, drawn from the brain where it has more."""

SPREAD_RESAMPLES = 200
"""Bootstrap resamples of the spread, each of which goes through all those voxels."""

NEIGHBOR_BLOCK = 32
"""Training volumes that are compared at a time."""


def frechet_estimates(
    sets: Mapping[str, np.ndarray], reference: np.ndarray, *, seed: int, resamples: int = FRECHET_RESAMPLES
) -> dict[str, Estimate]:
    """Fréchet distance of every set to the reference, over all slices of all volumes, by name.

    The value is of all features. For its interval, volumes of both sides are resampled, and the distance is followed in
    the 128 widest directions of the features; all sets meet the same resamples of the reference. Intervals begin at 0.

    Args:
      sets: features `[N, slices, F]` by name; N may differ.
      reference: `[M, slices, F]`.
      seed: of the resamples.
      resamples: how many.

    Raises:
      ValueError: as `metrics.frechet_distance`.
    """
    values = {name: frechet_distance(_rows(features), _rows(reference)) for name, features in sets.items()}
    reference_generator, generators = np.random.default_rng(seed), [np.random.default_rng([seed, 1]) for _ in sets]
    reference, *others = _in_principal_directions([reference, *sets.values()])
    # A resample of few volumes may lack a direction: the ridge keeps its root real, and is below what is reported.
    ridge = COVARIANCE_RIDGE * _moments(_rows(reference))[1].trace() * np.eye(reference.shape[-1])
    resampled: dict[str, list[float]] = {name: [] for name in sets}
    for _ in range(resamples):
        reference_mean, reference_covariance = _moments(_redrawn(reference, reference_generator))
        root = np.linalg.cholesky(reference_covariance + ridge)
        for name, features, generator in zip(sets, others, generators, strict=True):
            mean, covariance = _moments(_redrawn(features, generator))
            # With Σ₂ = L Lᵀ, Σ₁Σ₂ has the eigenvalues of Lᵀ Σ₁ L, which is symmetric.
            cross = np.sqrt(np.linalg.eigvalsh(root.T @ covariance @ root).clip(0)).sum()
            shift = mean - reference_mean
            traces = np.trace(covariance) + np.trace(reference_covariance)
            resampled[name].append(shift @ shift + traces - 2 * cross)
    estimates = {name: centered_interval(values[name], resampled[name], len(sets[name])) for name in sets}
    return {name: estimate._replace(low=max(estimate.low, 0.0)) for name, estimate in estimates.items()}


def kernel_estimates(
    sets: Mapping[str, np.ndarray], reference: np.ndarray, *, seed: int, resamples: int = RESAMPLES
) -> dict[str, Estimate]:
    """Kernel distance of every set to the reference, over all slices of all volumes, by name.

    The unbiased squared maximum mean discrepancy with the kernel `(x · y / features + 1)³`: the kernel inception
    distance of Binkowski et al., "Demystifying MMD GANs", 2018. Slices of one volume, which are no independent draws,
    are not compared with each other. It can be slightly negative for sets of one distribution.
    Arguments as `frechet_estimates`.
    """
    reference = np.asarray(reference, np.float64)
    within_reference = _kernel(reference, reference)
    reference_counts = resampled_counts(len(reference), resamples, np.random.default_rng(seed))
    estimates = {}
    for name, features in sets.items():
        features = np.asarray(features, np.float64)
        within, between = _kernel(features, features), _kernel(features, reference)

        def distance(counts, others, within=within, between=between):
            cross = np.einsum("rn,nm,rm->r", counts, between, others, optimize=True)
            cross = cross / (counts.sum(1) * others.sum(1))
            return _between_different(within, counts) + _between_different(within_reference, others) - 2 * cross

        value = distance(np.ones((1, len(features))), np.ones((1, len(reference))))[0]
        counts = resampled_counts(len(features), resamples, np.random.default_rng([seed, 1]))
        resampled = distance(counts, reference_counts)
        estimates[name] = centered_interval(value, resampled, len(features))
    return estimates


def mean_abs_delta_z(volume) -> float:
    """Mean |Δz| of a volume `[D, H, W]` in [0, 1]: over neighboring voxels along z of which either is not air.

    The rim of the brain is in, where slices that do not fit show most. nan where all is air.
    """
    volume = np.asarray(volume, np.float64)
    shown = volume > AIR_INTENSITY
    pairs = shown[1:] | shown[:-1]
    return float(np.abs(np.diff(volume, axis=0))[pairs].mean()) if pairs.any() else float("nan")


def brain_region(volumes) -> np.ndarray:
    """Where any of the volumes `[N, D, H, W]` is not air, `[D, H, W]` bool; all of it if there is no such place."""
    region = np.asarray(volumes).max(0) > AIR_INTENSITY
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
    positions = np.flatnonzero(brain_region(reference))
    if len(positions) > VOXELS:
        positions = generator.choice(positions, VOXELS, replace=False)
    generated, real = (_at(v, positions) for v in (volumes, reference))
    value = _ratio(generated.std(0, ddof=1).mean(), real.std(0, ddof=1).mean()) - 1
    drawn = [[_redrawn_spread(voxels, generator) for voxels in (generated, real)] for _ in range(SPREAD_RESAMPLES)]
    return centered_interval(value, _ratio(*np.transpose(drawn)) - 1, len(volumes))


def pair_similarity(volumes, *, pairs: int, seed: int) -> tuple[Estimate, int]:
    """Mean MS-SSIM over pairs of volumes `[N, D, H, W]` in [0, 1], and over how many: all pairs, or `pairs` drawn.

    Near the figure of real pairs, volumes are as varied as real ones; near 1, they are all the same. Volumes are
    resampled, pairs with them.

    Raises:
      ValueError: sides under 112 voxels (see `metrics.ms_ssim`).
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
    positions = np.flatnonzero(region)
    generated = _at(volumes, positions)
    blocks = []
    for start in range(0, len(training), NEIGHBOR_BLOCK):
        seen = _at(training[start : start + NEIGHBOR_BLOCK], positions)
        blocks.append((generated**2).sum(1)[:, None] + (seen**2).sum(1) - 2 * generated @ seen.T)
    squares = np.concatenate(blocks, axis=1).clip(0) / len(positions)
    return squares.argmin(1), np.sqrt(squares.min(1))


def centered_interval(value, resampled, n: int) -> Estimate:
    """A value with the bootstrap's quantiles about it, moved by as much as the resamples lie off on the whole.

    Resampling adds noise of its own, which lifts every distance: plain quantiles may then lie wholly above the value.
    The quantiles' distance from the mean is widened by `t √(n / (n - 1)) / z`, for resamples of n spread as if by the
    standard deviation that divides by n, and normal quantiles leave out that this deviation is an estimate
    (Hesterberg, arXiv 1411.5279, section 3.2). Resamples that are not finite are left out.

    Args:
      value: of the volumes themselves.
      resampled: `[R]`, of resamples.
      n: volumes; with fewer than `FEWEST_VOLUMES`, the ends are nan.
    """
    resampled = np.asarray(resampled, np.float64)
    resampled = resampled[np.isfinite(resampled)]
    if resampled.size < 2 or n < FEWEST_VOLUMES:
        return Estimate(float(value), float("nan"), float("nan"), n)
    upper = (1 + LEVEL) / 2
    wider = stdtrit(n - 1, upper) * np.sqrt(n / (n - 1)) / ndtri(upper)
    low, high = value + wider * (np.quantile(resampled, [1 - upper, upper]) - resampled.mean())
    return Estimate(float(value), float(low), float(high), n)


def resampled_counts(n: int, resamples: int, generator: np.random.Generator) -> np.ndarray:
    """How often each of n volumes is drawn in resamples of n, with replacement: `[resamples, n]` float64."""
    return generator.multinomial(n, np.full(n, 1 / n), size=resamples).astype(np.float64)


def _kernel(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Mean kernel between the slices of every two volumes: `[N, S, F], [M, S, F] -> [N, M]`."""
    flat = _rows(b).T / a.shape[-1]
    return np.stack([((x @ flat + 1) ** KERNEL_DEGREE).reshape(len(x), *b.shape[:2]).mean((0, 2)) for x in a])


def _between_different(kernel: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Means of `[n, n]` values over pairs of different volumes, weighted by how often each is drawn: `[resamples]`."""
    total = np.einsum("ri,ij,rj->r", counts, kernel, counts, optimize=True) - counts**2 @ np.diag(kernel)
    pairs = counts.sum(1) ** 2 - (counts**2).sum(1)
    return np.divide(total, pairs, out=np.full(len(counts), np.nan), where=pairs > 0)


def _rows(features: np.ndarray) -> np.ndarray:
    return np.asarray(features, np.float64).reshape(-1, features.shape[-1])


def _redrawn(features: np.ndarray, generator: np.random.Generator) -> np.ndarray:
    return _rows(features[generator.integers(len(features), size=len(features))])


def _moments(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    mean = rows.mean(0)
    centered = rows - mean
    return mean, centered.T @ centered / (len(rows) - 1)


def _in_principal_directions(sets: list[np.ndarray]) -> list[np.ndarray]:
    """The same sets along the principal directions of all their rows together, at most `PRINCIPAL`."""
    sets = [np.asarray(features, np.float64) for features in sets]
    _, covariance = _moments(np.concatenate([_rows(features) for features in sets]))
    _, directions = np.linalg.eigh(covariance)  # narrowest first
    return [features @ directions[:, -PRINCIPAL:] for features in sets]


def _redrawn_spread(voxels: np.ndarray, generator: np.random.Generator) -> float:
    """The spread of a resample of `[N, voxels]`, without gathering it."""
    weights = resampled_counts(len(voxels), 1, generator)[0] / len(voxels)
    return float(np.sqrt((weights @ voxels**2 - (weights @ voxels) ** 2).clip(0)).mean())


def _ratio(a, b) -> np.ndarray:
    """`a / b`, nan where b is 0."""
    a, b = np.asarray(a, np.float64), np.asarray(b, np.float64)
    return np.divide(a, b, out=np.full(a.shape, np.nan), where=b > 0)


def _at(volumes, positions: np.ndarray) -> np.ndarray:
    """Values `[N, positions]` float64 of volumes at flat positions."""
    volumes = np.asarray(volumes)
    return volumes.reshape(len(volumes), -1)[:, positions].astype(np.float64)
