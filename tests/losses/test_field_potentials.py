"""Drifting fields that are gradients: of what, by automatic differentiation."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from jax.nn import logsumexp

from lift_jax.losses.fields import sinkhorn
from tests.field_values import NEAR, C, N, P, Q, assert_close, evaluate, particles
from tests.quick_compile import quick_jit


def squares_between(a, b):
    return ((a[:, :, None] - b[:, None]) ** 2).mean(-1)


def laplace(squares, t):
    return -jnp.sqrt(squares) / t


def gaussian(squares, t):
    return -squares / (2 * t**2)


def sharp(squares, t):
    d = jnp.sqrt(squares) / t
    return jnp.log(1 + d) - d


def matern_52(squares, t):
    r = 5**0.5 * jnp.sqrt(squares) / t
    return jnp.log(1 + r + r**2 / 3) - r


def log_ratio(log_p, log_q):
    return log_p - log_q


@pytest.mark.parametrize(
    ("name", "log_kernel", "potential"),
    [
        ("gaussian_score", gaussian, lambda log_p, log_q: NEAR**2 * (log_p - log_q)),
        ("kernel_gradient", laplace, log_ratio),
        ("sharp_laplace", sharp, log_ratio),
        ("matern", matern_52, log_ratio),
        ("mmd", laplace, lambda log_p, log_q: jnp.exp(log_p) - jnp.exp(log_q)),
        (
            "reverse_kl_chi2",
            gaussian,
            lambda log_p, log_q: 0.5 * (log_p - log_q) - jnp.exp(log_q - log_p),
        ),
    ],
)
def test_a_conservative_field_is_the_gradient_of_its_potential(name, log_kernel, potential):
    arrays = particles(N, P, Q)
    value, scale = evaluate(*arrays, np.ones((2, Q), np.float32), field=name, temperature=NEAR)
    x, positives, negatives = (a / (scale / C**0.5) for a in arrays)
    generated = jnp.concatenate([x, negatives], axis=1)
    itself = jnp.eye(N, N + Q, dtype=bool)[None]

    def total(x):
        log_p = logsumexp(log_kernel(squares_between(x, positives), NEAR), axis=-1) - np.log(P)
        squares = jnp.where(itself, 1.0, squares_between(x, generated))
        log_q = logsumexp(jnp.where(itself, -jnp.inf, log_kernel(squares, NEAR)), axis=-1) - np.log(N + Q - 1)
        return potential(log_p, log_q).sum()

    assert_close(value, C * np.asarray(quick_jit(jax.grad(total))(x)), 1e-4)


def transport_cost(x, y, epsilon, iterations):
    """Entropic transport cost of uniform particles for d²/2, by its dual, which is as smooth as the cost: `[]`."""
    cost = squares_between(x, y)[0] / 2
    g = jnp.zeros(len(cost[0]))

    def rows(g):
        return -epsilon * logsumexp((g[None] - cost) / epsilon - np.log(cost.shape[1]), axis=1)

    def scaled(g, _):
        return -epsilon * logsumexp((rows(g)[:, None] - cost) / epsilon - np.log(cost.shape[0]), axis=0), None

    g, _ = jax.lax.scan(scaled, g, None, length=iterations)
    return rows(g).mean() + g.mean()


def test_the_sinkhorn_field_descends_the_sinkhorn_divergence():
    x, positives = particles(N, P, locations=1)
    arguments = (x, positives, x[:, :1], np.zeros((1, 1), np.float32))
    value, scale = evaluate(*arguments, field=sinkhorn(iterations=100), temperature=NEAR)

    def divergence(x):
        to_real, to_itself = (transport_cost(x, y, NEAR, 60) for y in (positives / unit, x))
        return to_real - to_itself / 2

    unit = np.asarray(scale) / C**0.5
    gradient = np.asarray(quick_jit(jax.grad(divergence))(x / unit))
    assert_close(value, -N * C * gradient, 1e-3)
