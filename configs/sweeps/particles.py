"""What is one particle of LiFT-U's drifting loss, and along which planes: trajectories against slices.

    python sweep.py --sweep configs/sweeps/particles.py --workdir runs/particles

Six variants with three seeds, about three hours of one CPU core (estimated: two of them took one);
docs/studies/loss_sweeps.md has the tables. Encoder and generator are trained once a seed. `:order` compares
`segment` with what forgets depth alone; `:tiny` is all of it with one seed in two minutes, for checks.
"""

from configs.sweeps.small import known, small_generation, small_seeds
from lift_jax.sweeps.columns import GENERATION_COLUMNS
from lift_jax.sweeps.definition import Sweep

SEGMENT = {"loss.particles": "segment"}
AXIAL_ONLY = {"loss.planes.coronal": 0.0, "loss.planes.sagittal": 0.0} | SEGMENT

COMPARED = {
    "segment": SEGMENT,
    "slice": {"loss.particles": "slice"},
    "volume": {"loss.particles": "volume"},
    "unordered": {"loss.particles": "unordered"},
    "unordered_segment": {"loss.particles": "unordered_segment"},
    "axial_only": AXIAL_ONLY,
    "axial_only_unordered": AXIAL_ONLY | {"loss.particles": "unordered"},
}

CHOSEN = {
    "": ("segment", "slice", "volume", "unordered", "axial_only", "axial_only_unordered"),
    "order": ("segment", "unordered", "unordered_segment"),
}


def get_sweep(variant=""):
    known("particles.py", variant, ("order", "tiny"))
    names = CHOSEN.get(variant, CHOSEN[""])
    return Sweep(
        base=small_generation(variant),
        variants={name: COMPARED[name] for name in names},
        base_variant="segment",
        seeds=small_seeds(variant),
        metrics=GENERATION_COLUMNS,
    )
