"""Temperatures of the drifting loss, in generator and mapper alike.

    lift-jax sweep --sweep temperatures --workdir runs/temperatures

Six variants with three seeds, about three hours of one CPU core (estimated from `particles.py`, not
measured). The encoder is trained once a seed. `:tiny` is two of them with one seed, for checks.
"""

from lift_jax.config import check_variant, named_config
from lift_jax.sweeps import Sweep

COMPARED = {
    "published": (0.02, 0.05, 0.2),
    "cold": (0.02,),
    "middle": (0.05,),
    "warm": (0.2,),
    "hot": (0.8,),
    "wide": (0.02, 0.05, 0.2, 0.8),
}


def get_sweep(variant=""):
    check_variant("temperatures.py", variant, "tiny")
    names = ("published", "warm") if variant == "tiny" else COMPARED
    return Sweep(
        base=named_config("phantom_unconditional", "small_tiny" if variant == "tiny" else "small"),
        variants={name: {"loss.temperatures": COMPARED[name]} for name in names},
        base_variant="published",
        seeds=(0,) if variant == "tiny" else (0, 1, 2),
    )
