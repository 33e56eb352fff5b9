"""Principal components of how slice codes run through real volumes: LiFT-U's prior, from which drifting begins.

The prior is linear, `{"kernel": [Z, F, K], "bias": [F, K]}` float32: of a volume's code, standard normal numbers, it
makes the codes of F slices, which divide the depth [-1, 1], and is linear between their centers. Slices of independent
volumes are what the generator is trained on; the depth mapper adds a correction to the codes of all slices of one
volume.
"""

import jax
import jax.numpy as jnp
import numpy as np

from lift_jax.data.intensity import unit_to_network
from lift_jax.models.generation.slice_components import Components, component_codes


def trajectory_codes(prior: dict, z: jax.Array, depth: jax.Array) -> jax.Array:
    """Codes of the slices of volumes, `z [B, Z]` and `depth [D]` in [-1, 1] to `[B, D, K]`."""
    of_slices = jnp.einsum("bz,zfk->bfk", z, prior["kernel"], precision="highest") + prior["bias"][None]
    return jnp.einsum("df,bfk->bdk", interpolation_weights(depth, len(prior["bias"])), of_slices, precision="highest")


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
    mean = jnp.matmul(interpolation_weights(depth, len(prior["bias"])), prior["bias"], precision="highest")
    share = share[:, None]
    return mean + jnp.sqrt(1 - share**2) * (codes - mean) + share * (independent_codes(prior, z, depth) - mean)


def interpolation_weights(depth: jax.Array, slices: int) -> jax.Array:
    """Weights of linear interpolation at depths `[D]` between `slice_centers`: `[D, slices]`.

    Beyond the first and the last center, in the outer halves of those slices, they are these slices' own.
    """
    position = jnp.clip(((depth + 1) * slices - 1) / 2, 0, slices - 1)
    return jnp.maximum(1 - jnp.abs(position[:, None] - jnp.arange(slices)[None]), 0)


def no_trajectories(count: int, slices: int, code: int) -> dict:
    """A prior of noughts, until real volumes are known."""
    return {"kernel": jnp.zeros((count, slices, code)), "bias": jnp.zeros((slices, code))}


def pca_trajectories(volumes: np.ndarray, components: Components, count: int) -> dict:
    """The prior with the mean of real trajectories and, as far as `count` directions go, their covariance.

    Directions are those of the greatest variance of slices before the generator's last nonlinearity. Rows beyond the
    number of volumes are zero.

    Args:
      volumes: `[V, D, H, W]` in [0, 1].
      components: of their slices.
      count: numbers in a volume's code, Z.
    """
    lengths = np.sqrt((np.asarray(components.basis, np.float64) ** 2).sum(axis=1))
    encode = jax.jit(component_codes)
    codes = (encode(components, unit_to_network(np.asarray(volume, np.float32))) for volume in volumes)
    codes = np.stack([np.asarray(x, np.float64) for x in codes])
    mean = codes.mean(axis=0)
    deviations = ((codes - mean) * lengths).reshape(len(volumes), -1)
    _, vectors = np.linalg.eigh(deviations @ deviations.T)
    found = min(count, len(volumes))
    # v'X / sqrt(V) of the eigenvectors v of XX' are the principal directions, as long as the deviation along them.
    rows = np.zeros((count, mean.size))
    rows[:found] = vectors[:, ::-1][:, :found].T @ deviations / np.sqrt(len(volumes))
    kernel = rows.reshape(count, *mean.shape) / np.maximum(lengths, 1e-6)
    return {"kernel": jnp.asarray(kernel, jnp.float32), "bias": jnp.asarray(mean, jnp.float32)}
