"""Losses that bring generated particles to real ones, by name, and many such problems at once."""

from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from lift_jax.losses.density import log_kde_loss
from lift_jax.losses.drifting import TEMPERATURES, drifting_loss
from lift_jax.losses.drifting_options import PUBLISHED, DriftingOptions
from lift_jax.losses.frechet import frechet_loss
from lift_jax.losses.problems import Problems
from lift_jax.losses.sides import Field
from lift_jax.losses.targets import gather, spread

Statistics = dict[str, jax.Array]
"""Scalars without gradient, to log."""


class Particles(NamedTuple):
    """One problem: generated particles `[L, N, C]`, real ones `[L, P, C]`, and what repels beside the generated ones.

    Attributes:
      generated: gradients flow into these.
      real: of the same locations and features.
      negatives: `[L, Q, C]`, or None.
      negative_weights: `[L, Q]` or broadcastable to it; None is one each.
    """

    generated: jax.Array
    real: jax.Array
    negatives: jax.Array | None = None
    negative_weights: jax.Array | None = None


ParticleLoss = Callable[..., tuple[jax.Array, Statistics]]
"""`(particles, *, field, temperatures, options, axis_name, problems)` to the loss of each location `[L]` and statistics
`[G]`; `problems` says how many locations each of G problems has, which stand one after the other along L."""


def drifting(particles: Particles, **choices) -> tuple[jax.Array, Statistics]:
    """`drifting_loss`, with all its switches."""
    x, real, negatives, weights = particles
    return drifting_loss(x, real, negatives, negative_weights=weights, **choices)


def log_kde(particles: Particles, *, temperatures, axis_name, problems, **_) -> tuple[jax.Array, Statistics]:
    """`log_kde_loss`: it has temperatures, and neither field nor switches nor negatives."""
    generated, real = particles.generated, particles.real
    return log_kde_loss(generated, real, temperatures=temperatures, axis_name=axis_name, problems=problems)


def frechet(particles: Particles, *, axis_name, problems, **_) -> tuple[jax.Array, Statistics]:
    """`frechet_loss` against the moments of the given real particles of all devices; it has no switch at all.

    With all samples of a bank as real particles, its moments are the bank's own; with few, they are noise.

    Raises:
      ValueError: if there is one real or one generated particle in all.
    """
    real = gather(particles.real.astype(jnp.float32), axis_name)
    count = real.shape[1]
    if count < 2:
        raise ValueError("frechet needs at least 2 real particles in all: one has no covariance")
    mean = real.mean(axis=1, keepdims=True)
    deviations = (real - mean) / (count - 1) ** 0.5
    covariance = jnp.einsum("lnc,lnd->lcd", deviations, deviations, precision="highest")
    loss = frechet_loss(particles.generated, mean[:, 0], covariance, axis_name=axis_name)
    x = jax.lax.stop_gradient(particles.generated.astype(jnp.float32))
    return loss, {"spread": spread(x - mean, Problems.of(problems, len(x)), axis_name)}


PARTICLE_LOSSES: dict[str, ParticleLoss] = {"drifting": drifting, "log_kde": log_kde, "frechet": frechet}
"""Losses by name: the line to add when a loss is added."""


def drift_all(
    problems: Mapping[Hashable, Particles],
    *,
    kind: str = "drifting",
    temperatures: Sequence[float] = TEMPERATURES,
    field: str | Field = "softmax",
    options: DriftingOptions = PUBLISHED,
    axis_name: str | None = None,
) -> tuple[dict[Hashable, jax.Array], dict[Hashable, Statistics]]:
    """The loss of each of many problems.

    Those of equally many particles and features are computed side by side: a hundred small ones compile as five.

    Args:
      problems: by any names.
      kind: a name in `PARTICLE_LOSSES`.
      temperatures, field, options: see `drifting_loss`; a kind takes of them what it has.
      axis_name: mapped axis whose devices share the global batch.

    Returns:
      By the names of the problems, each one's mean loss over locations, and its statistics.
    """
    groups: dict[tuple, list[Hashable]] = {}
    for name, particles in problems.items():
        groups.setdefault(tuple(None if x is None else x.shape[1:] for x in particles), []).append(name)
    losses, stats = {}, {}
    for names in groups.values():
        sizes = [len(problems[name].generated) for name in names]
        group_losses, group_stats = PARTICLE_LOSSES[kind](
            side_by_side([problems[name] for name in names]),
            field=field,
            temperatures=temperatures,
            options=options,
            axis_name=axis_name,
            problems=sizes,
        )
        for i, (name, own) in enumerate(zip(names, jnp.split(group_losses, np.cumsum(sizes)[:-1]), strict=True)):
            losses[name] = own.mean()
            stats[name] = {key: value[i] for key, value in group_stats.items()}
    return losses, stats


def side_by_side(problems: Sequence[Particles]) -> Particles:
    """Problems of equally many particles and features as one, their locations one after the other."""
    if problems[0].negative_weights is not None:
        shapes = [problem.negatives.shape[:2] for problem in problems]
        problems = [
            problem._replace(negative_weights=jnp.broadcast_to(problem.negative_weights, shape))
            for problem, shape in zip(problems, shapes, strict=True)
        ]
    return jax.tree.map(lambda *arrays: jnp.concatenate(arrays), *problems)


def mean_statistics(stats: Sequence[Statistics]) -> Statistics:
    """The mean of each statistic over many problems."""
    return {key: sum(each[key] for each in stats) / len(stats) for key in stats[0]}
