"""Temperatures of the drifting loss, in generator and mapper alike.

    python sweep.py --sweep configs/sweeps/temperatures.py --workdir runs/temperatures

Six variants with three seeds, about three hours of one CPU core (estimated from `particles.py`, not
measured). The encoder is trained once a seed. `:tiny` is two of them with one seed, for checks.
"""

from configs.sweeps.small import known, small_generation, small_seeds
from lift_jax.sweeps.columns import GENERATION_COLUMNS
from lift_jax.sweeps.definition import Sweep

COMPARED = {
    "published": (0.02, 0.05, 0.2),
    "cold": (0.02,),
    "middle": (0.05,),
    "warm": (0.2,),
    "hot": (0.8,),
    "wide": (0.02, 0.05, 0.2, 0.8),
}


def get_sweep(variant=""):
    known("temperatures.py", variant)
    names = ("published", "warm") if variant == "tiny" else COMPARED
    return Sweep(
        base=small_generation(variant),
        variants={name: {"loss.temperatures": COMPARED[name]} for name in names},
        base_variant="published",
        seeds=small_seeds(variant),
        metrics=GENERATION_COLUMNS,
    )
