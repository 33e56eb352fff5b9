"""Fréchet distance between generated features and the moments of real ones, as a loss."""

import jax
import jax.numpy as jnp

from lift_jax.losses.targets import gather

SMALLEST_EIGENVALUE = 1e-6
"""Least eigenvalue that counts, relative to the largest: the root of nought has no slope."""


def frechet_loss(
    generated: jax.Array, mean: jax.Array, covariance: jax.Array, *, axis_name: str | None = None
) -> jax.Array:
    """`‖μ - m‖² + Tr(Σ + S - 2 (ΣS)^½)`, one number a location, differentiated directly (arXiv 2604.28190).

    μ and Σ are the mean and the sample covariance of all particles, m and S those of the real features' bank. Known
    failure: it sees two moments only, and with fewer particles than features Σ is singular: most of its directions get
    no gradient, and the distance to the bank stays large however good the samples.

    Args:
      generated: `[L, N, C]`, at least two particles in all; float32 or bfloat16.
      mean: `[L, C]`, of the bank.
      covariance: `[L, C, C]`, of the bank.
      axis_name: the mapped axis whose devices share the global batch: each holds its own share of the particles and the
        same moments. The mean over devices of losses, and of gradients, is that of one device that holds everything.

    Returns:
      float32 `[L]`, the same on all devices.

    Raises:
      ValueError: if there is one particle in all.
    """
    x = generated.astype(jnp.float32)
    if axis_name is None:
        return _frechet(x, mean, covariance)
    # All devices compute the whole; each differentiates it by its own particles alone, times the number of devices,
    # which the mean over them takes off again.
    queries, first = x.shape[1], jax.lax.axis_index(axis_name) * x.shape[1]
    everything = jax.lax.dynamic_update_slice_in_dim(gather(x, axis_name), x, first, axis=1)
    loss = _frechet(everything, mean, covariance)
    value = jax.lax.stop_gradient(loss)
    return value + (everything.shape[1] // queries) * (loss - value)


def _frechet(x, mean, covariance):
    count = x.shape[1]
    if count < 2:
        raise ValueError("frechet_loss needs at least 2 generated particles in all: one has no covariance")
    mu = x.mean(axis=1)
    deviations = (x - mu[:, None]) / (count - 1) ** 0.5
    root = _root(covariance)
    # The eigenvalues of ΣS are those of S^½ Σ S^½, which is symmetric.
    product = jnp.einsum("lnc,lcd->lnd", deviations, root, precision="highest")
    eigenvalues = jnp.linalg.eigvalsh(jnp.einsum("lnc,lnd->lcd", product, product, precision="highest"))
    counts = eigenvalues > SMALLEST_EIGENVALUE * eigenvalues[:, -1:]
    overlap = jnp.where(counts, jnp.sqrt(jnp.where(counts, eigenvalues, 1)), 0).sum(-1)
    traces = (deviations**2).sum((1, 2)) + jnp.trace(covariance, axis1=1, axis2=2)
    return ((mu - mean) ** 2).sum(-1) + traces - 2 * overlap


def _root(covariance):
    """The symmetric root of a covariance."""
    eigenvalues, vectors = jnp.linalg.eigh(jax.lax.stop_gradient(covariance.astype(jnp.float32)))
    roots = jnp.sqrt(jnp.maximum(eigenvalues, 0))[:, None, :]
    return jnp.einsum("lck,ldk->lcd", vectors * roots, vectors, precision="highest")
