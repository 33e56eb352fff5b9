"""A tiny sweep of LiFT-U for tests."""

from lift_jax.config import named_config
from lift_jax.sweeps import Sweep


def generation_sweep(variants, base_variant="base", seeds=(0, 1)):
    base = named_config("phantom_unconditional", "small_tiny")
    return Sweep(base, {"base": {}, **variants}, base_variant, seeds)
