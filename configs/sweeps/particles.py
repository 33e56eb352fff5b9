"""What is one particle of LiFT-U's drifting loss, and along which planes: trajectories against slices.

    python sweep.py --sweep configs/sweeps/particles.py --workdir runs/particles

Five variants with three seeds, about two hours on two CPU cores (estimated from step times, not measured). Encoder and
generator are trained once a seed. `:order` compares `segment` with `unordered` alone, what knowing the depth of a slice
buys; `:tiny` is all of it with one seed in two minutes, for checks.
"""

from configs.sweeps.small import known, small_generation, small_seeds
from lift_jax.sweeps.columns import GENERATION_COLUMNS
from lift_jax.sweeps.definition import Sweep


def get_sweep(variant=""):
    known("particles.py", variant, ("order", "tiny"))
    variants = {
        "segment": {},
        "slice": {"loss.particles": "slice"},
        "volume": {"loss.particles": "volume"},
        "unordered": {"loss.particles": "unordered"},
        "axial_only": {"loss.planes.coronal": 0.0, "loss.planes.sagittal": 0.0},
    }
    if variant == "order":
        variants = {name: variants[name] for name in ("segment", "unordered")}
    return Sweep(
        base=small_generation(variant),
        variants=variants,
        base_variant="segment",
        seeds=small_seeds(variant),
        metrics=GENERATION_COLUMNS,
    )
