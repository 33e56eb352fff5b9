"""Distances between sets of volumes with intervals: volumes are resampled, never their slices.

The slices of a volume depend on each other, so a set of N volumes is a sample of N, however many slices it has.
"""

from collections.abc import Mapping

import numpy as np
from scipy.special import ndtri, stdtrit

from lift_jax.evaluation.aggregates import Estimate
from lift_jax.evaluation.intervals import LEVEL
from lift_jax.evaluation.metrics.distribution import KERNEL_DEGREE, frechet_distance

FRECHET_RESAMPLES = 100
"""Bootstrap resamples of the Fréchet distance, each of which takes matrix roots."""

PRINCIPAL = 128
"""Directions that those resamples are taken in: the widest of all features; the others hardly move the distance."""

RIDGE = 1e-10
"""What the covariance of a resample gets on its diagonal, as a part of the variance."""

RESAMPLES = 1000
"""Bootstrap resamples of what is cheap."""


FEWEST_VOLUMES = 4
"""Volumes below which there is no interval: resamples of fewer are the same few sets again and again."""


def centered_interval(value: float, resampled, n: int) -> Estimate:
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
      ValueError: as `distribution.frechet_distance`.
    """
    values = {name: frechet_distance(_rows(features), _rows(reference)) for name, features in sets.items()}
    reference_generator, generators = np.random.default_rng(seed), [np.random.default_rng([seed, 1]) for _ in sets]
    reference, *others = _in_principal_directions([reference, *sets.values()])
    # A resample of few volumes may lack a direction: the ridge keeps its root real, and is below what is reported.
    ridge = RIDGE * _moments(_rows(reference))[1].trace() * np.eye(reference.shape[-1])
    resampled = {name: [] for name in sets}
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

    As `distribution.kernel_distance`, but slices of one volume are never compared with each other: they are no
    independent draws, so that only then it is unbiased. Equal to it where every volume is one slice. Arguments as
    `frechet_estimates`.
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
