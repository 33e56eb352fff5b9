"""The Sinkhorn field: particles follow the plan that carries all of them to all real samples."""

import jax
import jax.numpy as jnp
from jax.nn import logsumexp

from lift_jax.losses.sides import Coefficients, OverQueries, Side, TwoPassField, affinities


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
            def logits(side):
                gibbs = _log_gibbs(side, temperature)
                return gibbs - logsumexp(gibbs + potentials, axis=-1, keepdims=True)

            return log_mass - over_queries(logits)

        # The first turn outside the loop: its result varies over devices, which what it starts from may not.
        potentials = row_scaled(log_mass)
        return jax.lax.fori_loop(1, iterations, lambda _, potentials: row_scaled(potentials), potentials)

    return TwoPassField(_barycentres, columns)


def _barycentres(real: Side, generated: Side, temperature: float) -> Coefficients:
    """Rows of the plans, each divided by its mass."""

    def shares(side):
        logits = side.columns + _log_gibbs(side, temperature)
        share = affinities(logits - logsumexp(logits, axis=-1, keepdims=True), side._replace(weights=1.0))
        return share / share.sum(-1, keepdims=True)

    return shares(real), shares(generated)


def _log_gibbs(side, temperature):
    """Minus the cost over the temperature, `[L, N, M]`; a particle's distance from itself is nought."""
    distances = jnp.where(side.itself, 0, side.distances)
    return -(distances**2) / (2 * temperature)
