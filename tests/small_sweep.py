"""A tiny sweep of LiFT-U for tests."""

from configs.sweeps.small import small_generation
from lift_jax.sweeps.columns import GENERATION_COLUMNS
from lift_jax.sweeps.definition import Sweep


def generation_sweep(variants, base_variant="base", seeds=(0, 1)):
    return Sweep(small_generation("tiny"), {"base": {}, **variants}, base_variant, seeds, GENERATION_COLUMNS)
