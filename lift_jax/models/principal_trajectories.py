"""Principal components of how slice codes run through real volumes: LiFT-U's prior, from which drifting begins.

The prior is linear, `{"kernel": [Z, F, K], "bias": [F, K]}` float32: of a volume's code, standard normal numbers, it
makes a slice code at each of F depths, the knots, and is straight between them. Slices of independent volumes are what
the generator is trained on; the depth mapper adds a correction to the codes of all slices of one volume.
"""

import jax
import jax.numpy as jnp
import numpy as np

from lift_jax.data.intensities import to_network
from lift_jax.models.depth_encoding import depth_coordinates
from lift_jax.models.slice_components import Components, component_codes


def trajectory_codes(prior: dict, z: jax.Array, depth: jax.Array) -> jax.Array:
    """Codes of the slices of volumes, `z [B, Z]` and `depth [D]` in [-1, 1] to `[B, D, K]`."""
    at_knots = jnp.einsum("bz,zfk->bfk", z, prior["kernel"], precision="highest") + prior["bias"][None]
    return jnp.einsum("df,bfk->bdk", knot_weights(depth, len(prior["bias"])), at_knots, precision="highest")


def independent_codes(prior: dict, z: jax.Array, depth: jax.Array) -> jax.Array:
    """Codes of one slice of each volume, `z [N, Z]` and `depth [N]` in [-1, 1] to `[N, K]`."""
    return jax.vmap(lambda z, depth: trajectory_codes(prior, z[None], depth[None])[0, 0])(z, depth)


def mixed_codes(prior: dict, codes: jax.Array, z: jax.Array, share: jax.Array, depth: jax.Array) -> jax.Array:
    """Codes of slices, moved towards those of other volumes at the same depth.

    Deviations from the prior's mean are mixed, √(1 - share²) of the one and `share` of the other, so that codes with
    the mean and covariance of the prior's keep them.

    Args:
      prior: of which the others are.
      codes: `[N, K]`.
      z: `[N, Z]` standard normal, the other volumes.
      share: `[N]` in [0, 1].
      depth: `[N]` in [-1, 1].

    Returns:
      `[N, K]`.
    """
    mean = jnp.matmul(knot_weights(depth, len(prior["bias"])), prior["bias"], precision="highest")
    share = share[:, None]
    return mean + jnp.sqrt(1 - share**2) * (codes - mean) + share * (independent_codes(prior, z, depth) - mean)


def knot_weights(depth: jax.Array, knots: int) -> jax.Array:
    """What each of `knots` evenly spread over [-1, 1] counts at depths `[D]`, by linear interpolation: `[D, knots]`."""
    place = (depth + 1) / 2 * (knots - 1)
    return jnp.maximum(1 - jnp.abs(place[:, None] - jnp.arange(knots)[None]), 0)


def no_trajectories(count: int, knots: int, code: int) -> dict:
    """A prior of noughts, until real volumes are known."""
    return {"kernel": jnp.zeros((count, knots, code)), "bias": jnp.zeros((knots, code))}


def principal_trajectories(volumes: np.ndarray, components: Components, count: int, knots: int) -> dict:
    """The prior with the mean of real trajectories and, as far as `count` directions go, their covariance.

    Directions are those of the greatest variance of slices before the generator's last nonlinearity. Rows beyond the
    number of volumes are nought.

    Args:
      volumes: `[V, D, H, W]` in [0, 1].
      components: of their slices.
      count: numbers in a volume's code, Z.
      knots: depths at which the prior is given, F.
    """
    lengths = np.sqrt((np.asarray(components.basis, np.float64) ** 2).sum(axis=1))
    weights = np.asarray(_resampling(volumes.shape[1], knots), np.float64)
    encode = jax.jit(component_codes)
    codes = (encode(components, to_network(np.asarray(volume, np.float32))) for volume in volumes)
    at_knots = np.stack([weights @ np.asarray(x, np.float64) for x in codes])
    mean = at_knots.mean(axis=0)
    deviations = ((at_knots - mean) * lengths).reshape(len(volumes), -1)
    _, vectors = np.linalg.eigh(deviations @ deviations.T)
    found = min(count, len(volumes))
    # v'X / sqrt(V) of the eigenvectors v of XX' are the principal directions, as long as the deviation along them.
    rows = np.zeros((count, knots * len(lengths)))
    rows[:found] = vectors[:, ::-1][:, :found].T @ deviations / np.sqrt(len(volumes))
    kernel = rows.reshape(count, knots, -1) / np.maximum(lengths, 1e-6)
    return {"kernel": jnp.asarray(kernel, jnp.float32), "bias": jnp.asarray(mean, jnp.float32)}


def _resampling(depth: int, knots: int) -> jax.Array:
    """Weights `[knots, depth]` by which what is known at every slice is known at the knots."""
    return knot_weights(jnp.asarray(depth_coordinates(knots)), depth)
