"""The tri-planar drifting loss: trajectories of slice features through a volume, drifted towards real ones.

A trajectory is the sequence of a volume's slice features along one of the three axes. Features of generated and of real
volumes are taken at the same depth positions; what is one particle of the drifting loss is a choice (`particles`).
"""

from collections.abc import Callable, Hashable, Mapping, Sequence

import jax
import jax.numpy as jnp

from lift_jax.losses.drifting import drifting_loss

PLANES = ("axial", "coronal", "sagittal")
"""Planes of slices; their normals are axes 0, 1 and 2 of a volume `[D, H, W]`."""

PARTICLES = ("slice", "segment", "volume", "unordered")
"""Kinds of particles, see `make_particles`."""

Tensors = dict[str, jax.Array]
"""Named feature tensors of slices, each `[..., L, C]`."""


def depth_positions(key: jax.Array, count: int, depth: int) -> jax.Array:
    """Random depth positions in order, `[count]` int32: one out of each of `count` equal parts of `depth` slices."""
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
    for plane, places in positions.items():
        slices = plane_slices(volumes, plane, places)
        batch, count, rows, columns = slices.shape
        tensors = encode(slices.reshape(batch * count, rows, columns, 1))
        trajectories[plane] = {name: x.reshape(batch, count, *x.shape[1:]) for name, x in tensors.items()}
    return trajectories


def draw_real(bank: Mapping[str, Tensors], positions: Mapping[str, jax.Array], volumes: jax.Array):
    """Real trajectories out of a bank: its `volumes [P]` at `positions`, `{plane: {name: [P, T, L, C]}}`.

    `bank` holds the features of all slices of all real volumes, `{plane: {name: [V, D, L, C]}}`.
    """
    return {
        plane: {name: x[volumes[:, None], places] for name, x in bank[plane].items()}
        for plane, places in positions.items()
    }


def make_particles(trajectories: jax.Array, kind: str) -> Tensors:
    """The particles of one feature tensor along one plane, `[B, T, L, C]` to `{name: [locations, particles, C']}`.

    Args:
      trajectories: `[B, T, L, C]`.
      kind: `slice`: a particle is a slice's features, and each depth a location of its own: marginals matched by depth.
        `segment`: that, and the step from each position to the next: where the anatomy is, and how it changes.
        `volume`: a particle is a whole trajectory.
        `unordered`: a particle is a slice's features, whatever its depth.

    Raises:
      ValueError: if the kind is none of these.
    """
    batch, count, places, channels = trajectories.shape

    def by_depth(x):
        return x.transpose(1, 2, 0, 3).reshape(-1, batch, channels)

    if kind == "slice":
        return {"slice": by_depth(trajectories)}
    if kind == "segment":
        return {"slice": by_depth(trajectories), "step": by_depth(trajectories[:, 1:] - trajectories[:, :-1])}
    if kind == "volume":
        return {"volume": trajectories.transpose(2, 0, 1, 3).reshape(places, batch, count * channels)}
    if kind == "unordered":
        return {"unordered": trajectories.transpose(2, 0, 1, 3).reshape(places, batch * count, channels)}
    raise ValueError(f"particles {kind!r} are none of {', '.join(PARTICLES)}")


def triplanar_drifting_loss(
    generated: Mapping[str, Tensors],
    real: Mapping[str, Tensors],
    *,
    plane_weights: Mapping[str, float],
    particles: str = "segment",
    temperatures: tuple[float, ...] = (0.02, 0.05, 0.2),
    field: str = "softmax",
    axis_name: str | None = None,
) -> tuple[jax.Array, dict[str, jax.Array]]:
    """The weighted sum over planes of the drifting losses of all feature tensors (LiFT, arXiv 2605.19060).

    Args:
      generated: `{plane: {name: [B, T, L, C]}}`; gradients flow into these.
      real: `{plane: {name: [P, T, L, C]}}`, at the same depth positions.
      plane_weights: weight of each plane; one of weight 0 is not computed.
      particles: see `make_particles`.
      temperatures, field: see `drifting_loss`.
      axis_name: mapped axis whose devices share the global batch of generated volumes; `real` is the same on each.

    Returns:
      The scalar loss, and statistics `<plane>_<statistic>` averaged over feature tensors.
    """
    pairs = {
        (plane, name): pair
        for plane, weight in plane_weights.items()
        if weight > 0
        for name, pair in _paired_particles(generated[plane], real[plane], particles).items()
    }
    losses, stats = drift_all(pairs, temperatures=temperatures, field=field, axis_name=axis_name)
    loss = sum(plane_weights[plane] * value for (plane, _), value in losses.items())
    means = {}
    for plane in dict.fromkeys(plane for plane, _ in pairs):
        for name, value in mean_statistics([stats[pair] for pair in pairs if pair[0] == plane]).items():
            means[f"{plane}_{name}"] = value
    return loss, means


def drift_all(
    pairs: Mapping[Hashable, tuple[jax.Array, jax.Array]], *, temperatures, field: str, axis_name: str | None
) -> tuple[dict[Hashable, jax.Array], dict[Hashable, dict[str, jax.Array]]]:
    """The drifting loss of each of many pairs of generated and real particles, `[L, N, C]` and `[L, P, C]`.

    Pairs of equal shapes are computed side by side: a hundred small problems compile as a dozen.

    Returns:
      By the names of the pairs, each one's mean loss over locations, and its statistics.
    """
    groups: dict[tuple, list[Hashable]] = {}
    for name, (generated, real) in pairs.items():
        groups.setdefault((generated.shape, real.shape), []).append(name)
    losses, stats = {}, {}
    for names in groups.values():
        generated, real = (jnp.stack([pairs[name][side] for name in names]) for side in (0, 1))

        def one(x, y):
            return drifting_loss(x, y, temperatures=temperatures, field=field, axis_name=axis_name)

        group_losses, group_stats = jax.vmap(one)(generated, real)
        for i, name in enumerate(names):
            losses[name] = group_losses[i].mean()
            stats[name] = {key: value[i] for key, value in group_stats.items()}
    return losses, stats


def mean_statistics(stats: Sequence[dict[str, jax.Array]]) -> dict[str, jax.Array]:
    """The mean of each statistic over many problems."""
    return {key: sum(each[key] for each in stats) / len(stats) for key in stats[0]}


def _paired_particles(generated: Tensors, real: Tensors, kind: str) -> dict[str, tuple[jax.Array, jax.Array]]:
    pairs = {}
    for name in generated:
        ours, theirs = make_particles(generated[name], kind), make_particles(real[name].astype(jnp.float32), kind)
        pairs |= {f"{name}_{part}": (ours[part], theirs[part]) for part in ours}
    return pairs
