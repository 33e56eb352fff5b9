"""The values of a drifting field at its particles, for the tests."""

import jax
import jax.numpy as jnp
import numpy as np

from lift_jax.losses import drifting_loss
from tests.quick_compile import quick_jit

NEAR = 0.7  # a temperature at which every particle is felt, some more than others
N, P, Q, C = 6, 5, 4, 3


def particles(*counts, locations=2, features=C, seed=0):
    """Normal float32 arrays `[L, count, C]`."""
    rng = np.random.default_rng(seed)
    return [rng.normal(size=(locations, n, features)).astype(np.float32) for n in counts]


def evaluate(x, positives, negatives, weights, *, field, temperature):
    """Force `[L, N, C]` before normalization, in scaled coordinates, and the distance scale."""

    def total(x):
        loss, stats = drifting_loss(
            x,
            positives,
            negatives,
            negative_weights=weights,
            temperatures=(temperature,),
            field=field,
        )
        return loss.sum(), stats

    gradient, stats = jax.grad(total, has_aux=True)(x.astype(jnp.float32))
    unit = jnp.maximum(stats["distance_scale"] / x.shape[2] ** 0.5, 1e-3)
    # The gradient holds the normalized field, the statistics its mean square before.
    magnitude = jnp.sqrt(jnp.maximum(stats[f"field_square_{temperature:g}"], 1e-8))
    return -gradient * x.shape[1] * x.shape[2] * unit * magnitude / 2, stats["distance_scale"]


# Compiled once for each field at one set of shapes, which most tests share.
evaluate = quick_jit(evaluate, static_argnames=("field", "temperature"))


def field_of(field, x, positives, negatives, weights=None, temperature=NEAR):
    weights = np.ones(negatives.shape[:2], np.float32) if weights is None else weights
    return np.asarray(evaluate(x, positives, negatives, weights, field=field, temperature=temperature)[0])


def assert_close(actual, expected, rtol=1e-5):
    """Equal up to `rtol` of the largest."""
    np.testing.assert_allclose(actual, expected, rtol=rtol, atol=rtol * np.abs(expected).max())
