"""What is one particle of LiFT-U's drifting loss, and along which planes: trajectories against slices.

    lift-jax sweep --sweep particles --workdir runs/particles

Six variants with three seeds, about three hours of one CPU core (estimated: two of them took one);
docs/studies/loss_sweeps.md has the tables. Encoder and generator are trained once a seed. `:order` compares
`segment` with what forgets depth alone; `:tiny` is all of it with one seed in two minutes, for checks.
"""

from lift_jax.config import check_variant, named_config
from lift_jax.sweeps import Sweep

SEGMENT = {"loss.particles": "segment"}
AXIAL_ONLY = {"loss.planes": ("axial",)} | SEGMENT

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
    check_variant("particles.py", variant, "order", "tiny")
    names = CHOSEN.get(variant, CHOSEN[""])
    return Sweep(
        base=named_config("phantom_unconditional", "small_tiny" if variant == "tiny" else "small"),
        variants={name: COMPARED[name] for name in names},
        base_variant="segment",
        seeds=(0,) if variant == "tiny" else (0, 1, 2),
    )
