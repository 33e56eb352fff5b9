"""Switches of the drifting loss, and what it refuses."""

import dataclasses
import numbers
from collections.abc import Sequence

import jax
import jax.numpy as jnp

from lift_jax.losses.fields import FIELDS
from lift_jax.losses.sides import Field


@dataclasses.dataclass(frozen=True)
class DriftingOptions:
    """Switches that apply to any field; the defaults are the published loss.

    Attributes:
      self_exclusion: `mask`: generated particles repel each other, each masked from itself. `independent`: only the
        given negatives repel, which must then be another batch of generated samples.
      affinity_floor: least squared affinity, relative to a query's sum; None for each field's own.
      distance_scale: `batch`: distances are divided by their weighted mean over all pairs; `row`: by each query's own;
        a number: by that.
      bias_correction: takes off the leading bias of means weighted by few samples, `μ + Σ w̃² (y - μ)` (arXiv
        2604.27239). Exact to first order for fields that are differences of weighted means.
      normalise_force: divides each temperature's force by its root mean square before they are added.
      features: `mean` or `sum` of squares over features.
    """

    self_exclusion: str = "mask"
    affinity_floor: float | None = None
    distance_scale: str | float | jax.Array = "batch"
    bias_correction: bool = False
    normalise_force: bool = True
    features: str = "mean"


PUBLISHED = DriftingOptions()
"""The loss as published."""


def guidance_weight(alpha: float, particles: int, negatives: int) -> float:
    """Weight of each of Q unconditional real samples given as negatives, for guidance of strength α ≥ 1.

    `(α - 1)(N - 1) / Q`: together they weigh α - 1 times as much as the N - 1 other particles (arXiv 2602.04770).
    """
    return (alpha - 1) * (particles - 1) / negatives


def annealed_temperatures(temperatures: Sequence[float], step: jax.Array | int, rate: float) -> tuple:
    """Each temperature times `exp(-rate · step)` (arXiv 2603.07514); `step` may be traced."""
    return tuple(temperature * jnp.exp(-rate * step) for temperature in temperatures)


def field_named(field: str | Field) -> Field:
    """A field by its name in `FIELDS`; a function is one already."""
    if callable(field):
        return field
    if field not in FIELDS:
        raise ValueError(f"no drifting field {field!r}; there are {', '.join(FIELDS)}")
    return FIELDS[field]


def check(generated, positives, negatives, negative_weights, temperatures, options, axis_name) -> None:
    """Refuses what cannot be meant."""
    named = {"generated": generated, "positives": positives}
    if negatives is not None:
        named["negatives"] = negatives
    shapes = ", ".join(f"{name} {array.shape}" for name, array in named.items())
    locations_and_features = {(array.shape[0], array.shape[-1]) for array in named.values() if array.ndim == 3}
    if any(array.ndim != 3 for array in named.values()) or len(locations_and_features) > 1:
        raise ValueError(f"drifting_loss needs [L, particles, C] with the same L and C, not {shapes}")
    if any(0 in array.shape for array in named.values()):
        raise ValueError(f"drifting_loss needs at least one of everything, not {shapes}")
    if negative_weights is not None and negatives is None:
        raise ValueError("drifting_loss was given negative_weights without negatives")
    if len(temperatures) == 0 or any(isinstance(t, numbers.Real) and t <= 0 for t in temperatures):
        raise ValueError(f"temperatures must be positive numbers, at least one, not {tuple(temperatures)}")
    for name, known in (("self_exclusion", ("mask", "independent")), ("features", ("mean", "sum"))):
        if getattr(options, name) not in known:
            raise ValueError(f"{name} must be one of {', '.join(known)}, not {getattr(options, name)!r}")
    if isinstance(options.distance_scale, str) and options.distance_scale not in ("batch", "row"):
        raise ValueError(f"distance_scale must be batch, row or a number, not {options.distance_scale!r}")
    particles = generated.shape[1] * (1 if axis_name is None else jax.lax.axis_size(axis_name))
    if options.self_exclusion == "independent" and negatives is None:
        raise ValueError("self_exclusion 'independent' needs negatives: another batch of generated samples")
    if negatives is None and particles < 2:
        raise ValueError(
            "drifting_loss needs at least 2 generated particles in all, or negatives: one has none to repel it"
        )
