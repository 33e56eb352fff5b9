"""The tri-planar drifting loss: slice features along the three axes of a volume drift towards those of real volumes.

A trajectory is the sequence of a volume's slice features along one of the three axes. Features of generated and of real
volumes are taken at the same depth positions.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import jax
import jax.numpy as jnp

from lift_jax.losses.drifting import TEMPERATURES, Statistics, drifting_losses, mean_statistics
from lift_jax.losses.fields import Field

PLANES = ("axial", "coronal", "sagittal")
"""Planes of slices; their normals are axes 0, 1 and 2 of a volume `[D, H, W]`."""

PARTICLES = ("slice", "segment", "volume", "unordered", "unordered_segment")
"""Kinds of particles, see `make_particles`."""

STEP_PARTICLES = ("segment", "unordered_segment")
"""Kinds that need two depth positions, for the step between them."""

Tensors = dict[str, jax.Array]
"""Named feature tensors of slices, each `[..., L, C]`."""


def depth_positions(key: jax.Array, count: int, depth: int) -> jax.Array:
    """Ascending random positions, `[count]` int32: one in each of `count` equal parts of `depth` slices."""
    jitter = jax.random.uniform(key, (count,))
    positions = jnp.floor((jnp.arange(count) + jitter) * depth / count).astype(jnp.int32)
    return jnp.minimum(positions, depth - 1)


def plane_slices(volumes: jax.Array, plane: str, positions: jax.Array) -> jax.Array:
    """Slices of volumes `[B, D, H, W]` at `positions [T]` along the normal of a plane, `[B, T, rows, columns]`."""
    axis = 1 + PLANES.index(plane)
    return jnp.moveaxis(jnp.take(volumes, positions, axis=axis), axis, 1)


def encode_trajectories(
    volumes: jax.Array, positions: Mapping[str, jax.Array], encode: Callable[[jax.Array], Tensors]
) -> dict[str, Tensors]:
    """Features of volumes along planes, `{plane: {name: [B, T, L, C]}}`.

    Args:
      volumes: `[B, D, H, W]` in [-1, 1].
      positions: `[T]` along each plane.
      encode: images `[N, rows, columns, 1]` to named tensors `[N, L, C]`.
    """
    trajectories = {}
    for plane, indices in positions.items():
        slices = plane_slices(volumes, plane, indices)
        batch, count, rows, columns = slices.shape
        tensors = encode(slices.reshape(batch * count, rows, columns, 1))
        trajectories[plane] = {name: x.reshape(batch, count, *x.shape[1:]) for name, x in tensors.items()}
    return trajectories


def draw_real(
    bank: Mapping[str, Tensors], positions: Mapping[str, jax.Array], volumes: jax.Array
) -> dict[str, Tensors]:
    """Trajectories `{plane: {name: [P, T, L, C]}}` of `volumes [P]` at `positions` of a bank of real features.

    `bank` holds the features of all slices of all real volumes, `{plane: {name: [V, D, L, C]}}`.
    """
    return {
        plane: {name: x[volumes[:, None], indices] for name, x in bank[plane].items()}
        for plane, indices in positions.items()
    }


def make_particles(trajectories: jax.Array, kind: str) -> Tensors:
    """The particles of one feature tensor along one plane, `[B, T, L, C]` to `{name: [locations, particles, C']}`.

    Args:
      trajectories: `[B, T, L, C]`.
      kind: `slice`: a particle is a slice's features, each depth a location of its own. `segment`: also the step from
        each position to the next. `volume`: a particle is a whole trajectory. `unordered`: a particle is a slice's
        features, at any depth. `unordered_segment`: also steps, at any depth.

    Raises:
      ValueError: if the kind is none of these.
    """
    batch, count, locations, channels = trajectories.shape

    def by_depth(x):
        return x.transpose(1, 2, 0, 3).reshape(-1, batch, channels)

    def of_any_depth(x):
        return x.transpose(2, 0, 1, 3).reshape(locations, -1, channels)

    steps = trajectories[:, 1:] - trajectories[:, :-1]
    if kind == "slice":
        return {"slice": by_depth(trajectories)}
    if kind == "segment":
        return {"slice": by_depth(trajectories), "step": by_depth(steps)}
    if kind == "volume":
        return {"volume": trajectories.transpose(2, 0, 1, 3).reshape(locations, batch, count * channels)}
    if kind == "unordered":
        return {"slice": of_any_depth(trajectories)}
    if kind == "unordered_segment":
        return {"slice": of_any_depth(trajectories), "step": of_any_depth(steps)}
    raise ValueError(f"particles {kind!r} are none of {', '.join(PARTICLES)}")


def triplanar_drifting_loss(
    generated: Mapping[str, Tensors],
    real: Mapping[str, Tensors],
    *,
    planes: Sequence[str] = PLANES,
    particles: str = "segment",
    temperatures: Sequence[float] = TEMPERATURES,
    field: str | Field = "softmax",
    axis_name: str | None = None,
) -> tuple[jax.Array, Statistics]:
    """The sum over planes of the drifting losses of all feature tensors (LiFT, arXiv 2605.19060).

    Args:
      generated: `{plane: {name: [B, T, L, C]}}`; gradients flow into these.
      real: `{plane: {name: [P, T, L, C]}}`, at the same depth positions.
      planes: which are summed.
      particles: see `make_particles`.
      temperatures, field: see `drifting_loss`.
      axis_name: mapped axis whose devices share the global batch: each holds its own share of the volumes.

    Returns:
      The scalar loss, and statistics `<plane>_<statistic>` averaged over feature tensors.
    """
    pairs: dict[Any, tuple[jax.Array, jax.Array]] = {}
    for plane in planes:
        for name, x in generated[plane].items():
            generated_parts = make_particles(x, particles)
            real_parts = make_particles(real[plane][name].astype(jnp.float32), particles)
            pairs |= {(plane, f"{name}_{part}"): (x, real_parts[part]) for part, x in generated_parts.items()}
    losses, stats = drifting_losses(pairs, temperatures=temperatures, field=field, axis_name=axis_name)
    loss = sum(losses.values(), start=jnp.zeros(()))
    means = {}
    for plane in planes:
        for name, value in mean_statistics([stats[key] for key in pairs if key[0] == plane]).items():
            means[f"{plane}_{name}"] = value
    return loss, means
