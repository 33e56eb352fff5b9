"""Drifting fields: how strongly each target pulls or pushes each query.

A field is a pure function `(real, generated, temperature) -> (attraction, repulsion)`. A query is a generated particle
x; its targets are real particles y⁺ and generated ones y⁻, each kind described by a `Side` of distances `[L, N, P]` and
`[L, N, Q]`. The coefficients a and r that come back have these shapes and are not negative, and the force on a query is

    F(x) = Σ_j a_j (y⁺_j - x) - Σ_j r_j (y⁻_j - x).

Distances d are root mean square differences over features in units of the distance scale, so that a temperature τ means
the same whatever the features; gradients are taken in the inner product that goes with them, the mean over features.
"""

import functools

import jax
import jax.numpy as jnp
from jax.nn import logsumexp

from lift_jax.losses.kernels import GAUSSIAN, LAPLACE, SHARP_LAPLACE, Kernel, matern
from lift_jax.losses.sides import (
    Coefficients,
    Field,
    OverQueries,
    Side,
    TwoPassField,
    affinities,
    log_weights,
    total_weight,
)
from lift_jax.losses.transport import sinkhorn

SOFTMAX_FLOOR = 1e-6
"""Least product of the two softmaxes, before its root is taken (the authors' code of arXiv 2602.04770)."""

RATIO_LIMIT = 1e3
"""Most that `reverse_kl_chi2` takes q/p for: where no real sample is near, the estimate is beyond all bounds."""


def softmax(real: Side, generated: Side, temperature: float) -> Coefficients:
    """The published field: `A = √(softmax_j(-d/τ) softmax_i(-d/τ)) w` over targets j and queries i, product weights.

    `a_j = A⁺_j ΣA⁻`, `r_j = A⁻_j ΣA⁺`. Deng et al., "Generative Modeling via Drifting", arXiv 2602.04770. Known
    failure: the affinity floor makes all far targets pull alike. Particles far from every mode are drawn to the mean of
    all, and particles that have collapsed there feel only the difference of the means: they stay (2D toy, network,
    eight Gaussians). `affinity_floor=0` frees them. And no divergence is known whose descent this is.
    """
    rows = _row_logsumexp(real, generated, temperature)
    attraction, repulsion = (
        affinities(-side.distances / temperature - (rows + side.columns) / 2, side, SOFTMAX_FLOOR)
        for side in (real, generated)
    )
    return _products(attraction, repulsion)


def softmax_columns(over_queries: OverQueries, weights: jax.Array, temperature: float) -> jax.Array:
    """Logarithms of the denominators of the softmax over queries, `[L, 1, M]`."""
    return over_queries(lambda side: -side.distances / temperature)


def row_softmax(real: Side, generated: Side, temperature: float) -> Coefficients:
    """As `softmax`, but over targets only: `A = softmax_j(-d/τ) w` (arXiv 2602.04770, Table 11).

    Known failure: a real sample that no query is near attracts nobody, and modes are lost.
    """
    rows = _row_logsumexp(real, generated, temperature)
    attraction, repulsion = (
        affinities(-side.distances / temperature - rows, side, SOFTMAX_FLOOR) for side in (real, generated)
    )
    return _products(attraction, repulsion)


def unnormalised(real: Side, generated: Side, temperature: float) -> Coefficients:
    """As `softmax`, with Z = 1: `A = e^{-d/τ} w`, averaged over targets (arXiv 2602.04770, Table 11).

    Known failure: the force dies off exponentially with distance, so that far particles stand still.
    """
    attraction, repulsion = (
        affinities(-side.distances / temperature, side) / total_weight(side) for side in (real, generated)
    )
    return _products(attraction, repulsion)


def mean_shift(real: Side, generated: Side, temperature: float, *, kernel: Kernel = LAPLACE) -> Coefficients:
    """The difference of two kernel means: `V = Σk⁺y⁺/Σk⁺ - Σk⁻y⁻/Σk⁻` (arXiv 2603.12366).

    Known failure: at low temperatures each mean is the nearest neighbour, and the two forces cancel before the
    distributions agree; with the Laplace kernel it is no gradient.
    """
    return tuple(_shares(kernel.log_value(side.distances, temperature), side) for side in (real, generated))


def gaussian_score(real: Side, generated: Side, temperature: float) -> Coefficients:
    """Difference of smoothed scores, Gaussian kernel: `V = τ² (∇log p_τ - ∇log q_τ)` (arXiv 2603.07514, 2603.09936).

    It is `mean_shift` with the Gaussian kernel. Known failure: by the Gaussian's thin tails a far particle feels its
    nearest sample only; the papers anneal the bandwidth, `annealed_temperatures`.
    """
    return mean_shift(real, generated, temperature, kernel=GAUSSIAN)


def kernel_gradient(real: Side, generated: Side, temperature: float, *, kernel: Kernel = LAPLACE) -> Coefficients:
    """Difference of the log-gradients of kernel densities: `V = ∇log(k∗p) - ∇log(k∗q)` (arXiv 2605.10727).

    `a_j = s(d_j) / Σk`, `s = -k'/d`. Known failure: with the Laplace kernel the pull of a target does not fall to
    nought at the target itself, and particles jitter about it.
    """
    return tuple(_log_gradient(side, temperature, kernel) for side in (real, generated))


def sharp_laplace(real: Side, generated: Side, temperature: float) -> Coefficients:
    """Conservative Laplace field: Laplace weights normalised by `H(d) = (1 + d/τ) e^{-d/τ}` (arXiv 2604.06333).

    `V = ∇log(H∗p) - ∇log(H∗q)`, as `∇ₓH = e^{-d/τ} (y - x) / τ²`. Known failure: a far target pulls no harder than one
    at a few τ, by `d / (τ (τ + d))`, so that outliers come back slowly.
    """
    return kernel_gradient(real, generated, temperature, kernel=SHARP_LAPLACE)


def mmd(real: Side, generated: Side, temperature: float, *, kernel: Kernel = LAPLACE) -> Coefficients:
    """Descent of the maximum mean discrepancy: `V = ∇(k∗p) - ∇(k∗q)`, minus the witness's gradient (arXiv 2605.05118).

    Known failure: nothing divides by the density, so that the force on a far particle is as small as the kernel there;
    reported not to train image models. A negative control.
    """
    return tuple(
        affinities(kernel.log_slope(side.distances, temperature), side) * ~side.itself / total_weight(side)
        for side in (real, generated)
    )


def reverse_kl_chi2(
    real: Side, generated: Side, temperature: float, *, kernel: Kernel = GAUSSIAN, kl: float = 0.5, chi2: float = 0.5
) -> Coefficients:
    """Weighted sum of the flows of KL(q‖p) and χ²(q‖p), of kernel densities (arXiv 2603.10592).

    `V = (kl + 2 chi2 q/p) (∇log p - ∇log q)`: the velocity of χ² is `-∇(2q/p)`. Known failure: q/p of few samples is
    noise over many orders of magnitude; it is capped at `RATIO_LIMIT`, and the few particles at the cap hold most of a
    normalised force.
    """
    log_p, log_q = (_log_density(side, temperature, kernel) for side in (real, generated))
    strength = kl + 2 * chi2 * jnp.exp(jnp.minimum(log_q - log_p, jnp.log(RATIO_LIMIT)))
    attraction, repulsion = kernel_gradient(real, generated, temperature, kernel=kernel)
    return strength * attraction, strength * repulsion


def _row_logsumexp(real, generated, temperature):
    """log Σ exp(-d/τ) over all targets of a query, `[L, N, 1]`."""
    sums = (logsumexp(-side.distances / temperature, axis=-1, keepdims=True) for side in (real, generated))
    return jnp.logaddexp(*sums)


def _products(attraction, repulsion):
    """Affinities of each side times the sum of the other: no force where either is nought."""
    return attraction * repulsion.sum(-1, keepdims=True), repulsion * attraction.sum(-1, keepdims=True)


def _shares(log_kernel, side):
    """Weights of a mean over targets: `[L, N, M]`, summing to one."""
    share = affinities(log_kernel - logsumexp(log_kernel + log_weights(side), axis=-1, keepdims=True), side)
    return share / jnp.maximum(share.sum(-1, keepdims=True), jnp.finfo(jnp.float32).tiny)


def _log_kernel_sum(side, temperature, kernel):
    """log Σ k w, `[L, N, 1]`."""
    return logsumexp(kernel.log_value(side.distances, temperature) + log_weights(side), axis=-1, keepdims=True)


def _log_density(side, temperature, kernel):
    """log Σ k w / Σ w, `[L, N, 1]`."""
    return _log_kernel_sum(side, temperature, kernel) - jnp.log(total_weight(side))


def _log_gradient(side, temperature, kernel):
    """Coefficients of ∇log Σ k w."""
    slope = kernel.log_slope(side.distances, temperature)
    return affinities(slope - _log_kernel_sum(side, temperature, kernel), side)


FIELDS: dict[str, Field] = {
    "softmax": TwoPassField(softmax, softmax_columns),
    "row_softmax": row_softmax,
    "unnormalised": unnormalised,
    "mean_shift": mean_shift,
    "gaussian_score": gaussian_score,
    "kernel_gradient": kernel_gradient,
    "sharp_laplace": sharp_laplace,
    "matern": functools.partial(kernel_gradient, kernel=matern(2.5)),
    "mmd": mmd,
    "sinkhorn": sinkhorn(iterations=20),
    "reverse_kl_chi2": reverse_kl_chi2,
}
"""Fields by name: the line to add when a field is added."""
