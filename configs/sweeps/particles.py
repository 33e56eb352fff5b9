"""What is one particle of LiFT-U's drifting loss, and along which planes: trajectories against slices.

    python sweep.py --sweep configs/sweeps/particles.py --workdir runs/particles

Seven variants with three seeds, about an hour on one CPU core (estimated). Encoder, decoder and generator are trained
once a seed. `:order` compares `segment` with what forgets depth alone, `:mapper` what keeps slices
from staying black; `:tiny` is all of it with one seed in two minutes, for checks.
"""

from configs.sweeps.small import known, small_generation, small_seeds
from lift_jax.sweeps.columns import GENERATION_COLUMNS
from lift_jax.sweeps.definition import Sweep

AXIAL_ONLY = {"loss.planes.coronal": 0.0, "loss.planes.sagittal": 0.0}


def get_sweep(variant=""):
    known("particles.py", variant, ("order", "mapper", "tiny"))
    variants = {
        "segment": {},
        "slice": {"loss.particles": "slice"},
        "volume": {"loss.particles": "volume"},
        "unordered": {"loss.particles": "unordered"},
        "unordered_segment": {"loss.particles": "unordered_segment"},
        "axial_only": AXIAL_ONLY,
        "axial_only_unordered": AXIAL_ONLY | {"loss.particles": "unordered"},
    }
    if variant == "mapper":
        variants = {
            "segment": {},
            "no_leak": {"stage.mapper.leak": 0.0},
            "floor": {"stage.mapper.affinity_floor": -1.0},
        }
    if variant == "order":
        variants = {name: variants[name] for name in ("segment", "unordered", "unordered_segment")}
    return Sweep(
        base=small_generation(variant),
        variants=variants,
        base_variant="segment",
        seeds=small_seeds(variant),
        metrics=GENERATION_COLUMNS,
    )
