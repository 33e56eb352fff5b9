"""Optimizers: AdamW with its own learning rate for each group of parameters, clipped together."""

from collections.abc import Mapping

import jax
import optax


def warmup_cosine(rate: float, steps: int, warmup: int) -> optax.Schedule:
    """Linear from 0 to `rate` over `warmup` steps (at most half of all), then a cosine to 0 at `steps`."""
    warmup = min(warmup, steps // 2)
    return optax.warmup_cosine_decay_schedule(0.0, rate, warmup, steps)


def grouped_adamw(
    rates: dict[str, float], *, steps: int, warmup: int, weight_decay: float | Mapping[str, float], clip: float
) -> optax.GradientTransformation:
    """AdamW (Loshchilov & Hutter, arXiv 1711.05101) over `{group: parameters}`.

    Gradients are clipped by the global norm of all groups together; matrices and kernels decay, vectors do not.

    Args:
      rates: peak learning rate of each trained group.
      steps: of the whole stage, at the end of which all rates are 0.
      warmup: steps to the peak.
      weight_decay: decoupled weight decay, of all groups or of each; with 0 this is Adam.
      clip: largest global gradient norm.
    """

    def adamw(group):
        schedule = warmup_cosine(rates[group], steps, warmup)
        decay = weight_decay[group] if isinstance(weight_decay, Mapping) else weight_decay
        return optax.adamw(schedule, weight_decay=decay, mask=_is_kernel)

    def labels(params):
        return {group: jax.tree.map(lambda _, group=group: group, params[group]) for group in params}

    groups = optax.partition({group: adamw(group) for group in rates}, labels)
    return optax.chain(optax.clip_by_global_norm(clip), groups)


def _is_kernel(params):
    return jax.tree.map(lambda x: x.ndim > 1, params)
