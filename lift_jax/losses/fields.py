"""Drifting fields: how strongly each target pulls or pushes each query. One registry, `FIELDS`, names them all.

A field is a pure function `(real, generated, temperature) -> (attraction, repulsion)`. A query is a generated particle
x; its targets are real particles y⁺ and generated ones y⁻, each kind described by `Pairs` of distances `[L, N, P]` and
`[L, N, Q]`. The coefficients a and r that come back have these shapes and are not negative, and the field at a query is

    V(x) = Σ_j a_j (y⁺_j - x) - Σ_j r_j (y⁻_j - x).

Distances d are root mean square differences over features in units of the distance scale, so that a temperature τ means
the same whatever the features; gradients are taken in the inner product that goes with them, the mean over features.
"""

import dataclasses
import functools
import math
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.nn import logsumexp


class Kernel(NamedTuple):
    """A radial kernel of distance d and temperature τ, `k(0) = 1`, by logarithms: kernels underflow where τ is small.

    Attributes:
      log_value: log k.
      log_slope: log(-k'(d) / d): the gradient of `k(‖x - y‖)` by x is the slope times `y - x`.
    """

    log_value: Callable[[jax.Array, float], jax.Array]
    log_slope: Callable[[jax.Array, float], jax.Array]


LAPLACE = Kernel(lambda d, t: -d / t, lambda d, t: -d / t - jnp.log(d * t))
"""`k = e^{-d/τ}`, `-k'/d = e^{-d/τ} / (τ d)`: its gradient does not vanish at zero, where it has no direction."""

GAUSSIAN = Kernel(lambda d, t: -((d / t) ** 2) / 2, lambda d, t: -((d / t) ** 2) / 2 - 2 * jnp.log(t))
"""`k = e^{-d²/2τ²}`, `-k'/d = k / τ²`."""

SHARP_LAPLACE = Kernel(lambda d, t: jnp.log1p(d / t) - d / t, lambda d, t: -d / t - 2 * jnp.log(t))
"""`H = (1 + d/τ) e^{-d/τ}`, `-H'/d = e^{-d/τ} / τ²`: its gradient is Laplace-weighted (arXiv 2604.06333)."""

MATERN_5_2 = Kernel(
    lambda d, t: jnp.log1p((r := 5**0.5 * d / t) + r**2 / 3) - r,
    lambda d, t: jnp.log1p(r := 5**0.5 * d / t) - r - 2 * jnp.log(t) + math.log(5 / 3),
)
"""Matérn kernel of smoothness 5/2, `k = (1 + r + r²/3) e^{-r}` with `r = √5 d / τ` (arXiv 2604.24196)."""


SOFTMAX_FLOOR = 1e-6
"""Least product of the two softmaxes, before its root is taken (the authors' code of arXiv 2602.04770)."""

RATIO_LIMIT = 1e3
"""Largest q/p of `reverse_kl_chi2`: the estimate is unbounded where no real sample is near."""


class Pairs(NamedTuple):
    """A block of queries against the targets of one kind, real or generated.

    Attributes:
      distances: `[L, N, M]`, divided by the distance scale; 100 more where the target is the query itself.
      weights: `[L, 1, M]`, of the targets.
      is_self: `[1, N, M]`, true where the target is the query itself; always false among real targets.
      columns: `[L, 1, M]`, sums over all queries for a `TwoPassField`; None for other fields.
    """

    distances: jax.Array
    weights: jax.Array
    is_self: jax.Array
    columns: jax.Array | None = None


Coefficients = tuple[jax.Array, jax.Array]
"""Attraction `[L, N, P]` by each real target, and repulsion `[L, N, Q]` by each generated one."""

Field = Callable[[Pairs, Pairs, float], Coefficients]
"""`(real, generated, temperature) -> (attraction, repulsion)`."""

OverQueries = Callable[[Callable[[Pairs], jax.Array]], jax.Array]
"""`over_queries(logits)`: log Σ exp logits(pairs) over the queries of all blocks and devices, `[L, 1, M]`."""


@dataclasses.dataclass(frozen=True)
class TwoPassField:
    """A field that needs a sum over all queries for each target first.

    Attributes:
      coefficients: the field; `Pairs.columns` are filled in.
      columns: `(over_queries, weights, temperature) -> [L, 1, M]`, for each kind of targets alone.
    """

    coefficients: Field
    columns: Callable[[OverQueries, jax.Array, float], jax.Array]

    def __call__(self, real: Pairs, generated: Pairs, temperature: float) -> Coefficients:
        """The coefficients."""
        return self.coefficients(real, generated, temperature)


def softmax(real: Pairs, generated: Pairs, temperature: float, *, floor: float = SOFTMAX_FLOOR) -> Coefficients:
    """The published field: `A = √(softmax_j(-d/τ) softmax_i(-d/τ)) w` over targets j and queries i, product weights.

    `a_j = A⁺_j ΣA⁻`, `r_j = A⁻_j ΣA⁺`. Deng et al., "Generative Modeling via Drifting", arXiv 2602.04770. Known
    failure: the affinity floor makes all far targets pull alike. Particles far from every mode are drawn to the mean of
    all, and particles that have collapsed there feel only the difference of the means: they stay (2D toy, network,
    eight Gaussians). `softmax_no_floor`, with `floor=0`, frees them. No divergence is known whose descent this is.
    """
    rows = _row_logsumexp(real, generated, temperature)
    attraction, repulsion = (
        _affinities(-pairs.distances / temperature - (rows + pairs.columns) / 2, pairs, floor)
        for pairs in (real, generated)
    )
    return _products(attraction, repulsion)


def softmax_columns(over_queries: OverQueries, weights: jax.Array, temperature: float) -> jax.Array:
    """Logarithms of the denominators of the softmax over queries, `[L, 1, M]`."""
    return over_queries(lambda pairs: -pairs.distances / temperature)


def row_softmax(real: Pairs, generated: Pairs, temperature: float) -> Coefficients:
    """As `softmax`, but over targets only: `A = softmax_j(-d/τ) w` (arXiv 2602.04770, Table 11).

    Known failure: a real sample that no query is near attracts nobody, and modes are lost.
    """
    rows = _row_logsumexp(real, generated, temperature)
    attraction, repulsion = (
        _affinities(-pairs.distances / temperature - rows, pairs, SOFTMAX_FLOOR) for pairs in (real, generated)
    )
    return _products(attraction, repulsion)


def unnormalized(real: Pairs, generated: Pairs, temperature: float) -> Coefficients:
    """As `softmax`, with Z = 1: `A = e^{-d/τ} w`, averaged over targets (arXiv 2602.04770, Table 11).

    Known failure: the field dies off exponentially with distance, so that far particles stand still.
    """
    attraction, repulsion = (
        _affinities(-pairs.distances / temperature, pairs) / _total_weight(pairs) for pairs in (real, generated)
    )
    return _products(attraction, repulsion)


def mean_shift(real: Pairs, generated: Pairs, temperature: float, *, kernel: Kernel = LAPLACE) -> Coefficients:
    """The difference of two kernel means: `V = Σk⁺y⁺/Σk⁺ - Σk⁻y⁻/Σk⁻` (arXiv 2603.12366).

    Known failure: at low temperatures each mean is the nearest neighbor, and the two terms cancel before the
    distributions agree; with the Laplace kernel it is no gradient.
    """
    return tuple(_shares(kernel.log_value(pairs.distances, temperature), pairs) for pairs in (real, generated))


def gaussian_score(real: Pairs, generated: Pairs, temperature: float) -> Coefficients:
    """Difference of smoothed scores, Gaussian kernel: `V = τ² (∇log p_τ - ∇log q_τ)` (arXiv 2603.07514, 2603.09936).

    It is `mean_shift` with the Gaussian kernel. Known failure: by the Gaussian's thin tails a far particle feels its
    nearest sample only; the papers anneal the bandwidth, which a run of this library does not.
    """
    return mean_shift(real, generated, temperature, kernel=GAUSSIAN)


def kernel_gradient(real: Pairs, generated: Pairs, temperature: float, *, kernel: Kernel = LAPLACE) -> Coefficients:
    """Difference of the log-gradients of kernel densities: `V = ∇log(k∗p) - ∇log(k∗q)` (arXiv 2605.10727).

    `a_j = s(d_j) / Σk`, `s = -k'/d`. Known failure: with the Laplace kernel the pull of a target does not fall to
    zero at the target itself, and particles jitter about it.
    """
    return tuple(_log_gradient(pairs, temperature, kernel) for pairs in (real, generated))


def sharp_laplace(real: Pairs, generated: Pairs, temperature: float) -> Coefficients:
    """Conservative Laplace field: Laplace weights normalized by `H(d) = (1 + d/τ) e^{-d/τ}` (arXiv 2604.06333).

    `V = ∇log(H∗p) - ∇log(H∗q)`, as `∇ₓH = e^{-d/τ} (y - x) / τ²`. Known failure: a far target pulls no harder than one
    at a few τ, by `d / (τ (τ + d))`, so that outliers come back slowly.
    """
    return kernel_gradient(real, generated, temperature, kernel=SHARP_LAPLACE)


def mmd(real: Pairs, generated: Pairs, temperature: float, *, kernel: Kernel = LAPLACE) -> Coefficients:
    """Descent of the maximum mean discrepancy: `V = ∇(k∗p) - ∇(k∗q)`, minus the witness's gradient (arXiv 2605.05118).

    Known failure: nothing divides by the density, so that the field at a far particle is as small as the kernel there;
    reported not to train image models. A negative control.
    """
    return tuple(
        _affinities(kernel.log_slope(pairs.distances, temperature), pairs) * ~pairs.is_self / _total_weight(pairs)
        for pairs in (real, generated)
    )


def reverse_kl_chi2(
    real: Pairs, generated: Pairs, temperature: float, *, kernel: Kernel = GAUSSIAN, kl: float = 0.5, chi2: float = 0.5
) -> Coefficients:
    """Weighted sum of the flows of KL(q‖p) and χ²(q‖p), of kernel densities (arXiv 2603.10592).

    `V = (kl + 2 chi2 q/p) (∇log p - ∇log q)`: the velocity of χ² is `-∇(2q/p)`. Known failure: q/p of few samples is
    noise over many orders of magnitude; it is capped at `RATIO_LIMIT`, and the few particles at the cap hold most of
    the normalized field.
    """
    log_p, log_q = (_log_density(pairs, temperature, kernel) for pairs in (real, generated))
    strength = kl + 2 * chi2 * jnp.exp(jnp.minimum(log_q - log_p, jnp.log(RATIO_LIMIT)))
    attraction, repulsion = kernel_gradient(real, generated, temperature, kernel=kernel)
    return strength * attraction, strength * repulsion


def sinkhorn(iterations: int) -> TwoPassField:
    """`V = T_{q→p}(x) - T_{q→q}(x)`, `T = Πy / row mass`, Π the entropic plan (arXiv 2603.12366, 2605.11755).

    The cost is d²/2 and its entropic regularisation τ, under which V is N times the descent of the Sinkhorn divergence
    by the particles. Queries weigh alike, targets by their weights. Two-sided scaling in the log domain, `iterations`
    times, the rows last. A particle may be carried to itself: were it masked, a stray one would not be drawn back, and
    whoever had to go to it would be flung the other way. Known failure: temperatures are variances here, not lengths;
    at low ones a few iterations leave the columns' masses far from their due, and q, which is carried to itself for
    nothing, shrinks by the cost of carrying it to other samples of p.
    """

    def columns(over_queries: OverQueries, weights: jax.Array, temperature: float) -> jax.Array:
        """Dual potentials of the targets, over the temperature: `[L, 1, M]`."""
        log_mass = jnp.log(jnp.maximum(weights, jnp.finfo(jnp.float32).tiny))

        def row_scaled(potentials):
            def logits(pairs):
                gibbs = _log_gibbs(pairs, temperature)
                return gibbs - logsumexp(gibbs + potentials, axis=-1, keepdims=True)

            return log_mass - over_queries(logits)

        # The first turn outside the loop: its result varies over devices, which what it starts from may not.
        potentials = row_scaled(log_mass)
        return jax.lax.fori_loop(1, iterations, lambda _, potentials: row_scaled(potentials), potentials)

    return TwoPassField(_barycenters, columns)


def _row_logsumexp(real, generated, temperature):
    """log Σ exp(-d/τ) over all targets of a query, `[L, N, 1]`."""
    sums = (logsumexp(-pairs.distances / temperature, axis=-1, keepdims=True) for pairs in (real, generated))
    return jnp.logaddexp(*sums)


def _products(attraction, repulsion):
    """Affinities of each pairs times the sum of the other: no field where either is zero."""
    return attraction * repulsion.sum(-1, keepdims=True), repulsion * attraction.sum(-1, keepdims=True)


def _shares(log_kernel, pairs):
    """Weights of a mean over targets: `[L, N, M]`, summing to one."""
    share = _affinities(log_kernel - logsumexp(log_kernel + _log_weights(pairs), axis=-1, keepdims=True), pairs)
    return share / jnp.maximum(share.sum(-1, keepdims=True), jnp.finfo(jnp.float32).tiny)


def _log_kernel_sum(pairs, temperature, kernel):
    """log Σ k w, `[L, N, 1]`."""
    return logsumexp(kernel.log_value(pairs.distances, temperature) + _log_weights(pairs), axis=-1, keepdims=True)


def _log_density(pairs, temperature, kernel):
    """log Σ k w / Σ w, `[L, N, 1]`."""
    return _log_kernel_sum(pairs, temperature, kernel) - jnp.log(_total_weight(pairs))


def _log_gradient(pairs, temperature, kernel):
    """Coefficients of ∇log Σ k w."""
    slope = kernel.log_slope(pairs.distances, temperature)
    return _affinities(slope - _log_kernel_sum(pairs, temperature, kernel), pairs)


def _barycenters(real: Pairs, generated: Pairs, temperature: float) -> Coefficients:
    """Rows of the plans, each divided by its mass."""

    def shares(pairs):
        logits = pairs.columns + _log_gibbs(pairs, temperature)
        share = jnp.exp(logits - logsumexp(logits, axis=-1, keepdims=True))
        return share / share.sum(-1, keepdims=True)

    return shares(real), shares(generated)


def _log_gibbs(pairs, temperature):
    """Minus the cost over the temperature, `[L, N, M]`; a particle's distance from itself is zero."""
    distances = jnp.where(pairs.is_self, 0, pairs.distances)
    return -(distances**2) / (2 * temperature)


def _affinities(log_affinity, pairs, floor=0.0):
    """`max(affinity, √floor) w`, `[L, N, M]`."""
    if floor > 0:
        log_affinity = jnp.maximum(log_affinity, jnp.log(floor) / 2)
    return jnp.exp(log_affinity) * pairs.weights


def _log_weights(pairs):
    """Logarithms of the targets' weights, `[L, 1, M]`; of zero, that of the least number."""
    return jnp.log(jnp.maximum(pairs.weights, jnp.finfo(jnp.float32).tiny))


def _total_weight(pairs):
    """Sum of the targets' weights, the query itself left out, `[L, N, 1]`."""
    total = (pairs.weights * ~pairs.is_self).sum(-1, keepdims=True)
    return jnp.maximum(total, jnp.finfo(jnp.float32).tiny)


FIELDS: dict[str, Field] = {
    "softmax": TwoPassField(softmax, softmax_columns),
    "softmax_no_floor": TwoPassField(functools.partial(softmax, floor=0.0), softmax_columns),
    "row_softmax": row_softmax,
    "unnormalized": unnormalized,
    "mean_shift": mean_shift,
    "gaussian_score": gaussian_score,
    "kernel_gradient": kernel_gradient,
    "sharp_laplace": sharp_laplace,
    "matern": functools.partial(kernel_gradient, kernel=MATERN_5_2),
    "mmd": mmd,
    "sinkhorn": sinkhorn(iterations=20),
    "reverse_kl_chi2": reverse_kl_chi2,
}
"""Fields by name. A new field is one function and one line here."""
