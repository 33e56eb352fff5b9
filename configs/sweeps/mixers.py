"""LiFT-C's z-mixer: none, of different kinds and sizes, and on a finer grid.

    lift-jax sweep --sweep mixers --workdir runs/mixers

Seven variants with three seeds, about twenty minutes on one CPU core (estimated from `paired_losses.py`, not measured).
`:tiny` is one of every kind with one seed, for checks.
"""

from lift_jax.config import check_variant, named_config
from lift_jax.sweeps import Sweep

COMPARED = {
    "none": {"model.mixer.kind": "none"},
    "gru_64": {},
    "gru_16": {"model.mixer.hidden": 16},
    "gru_256": {"model.mixer.hidden": 256},
    "gru_64_grid_2": {"model.mixer.grid": 2},
    "convolution_64": {"model.mixer.kind": "convolution"},
    "convolution_64_near": {"model.mixer.kind": "convolution", "model.mixer.window": 2},
}

TINY = ("none", "gru_16", "convolution_64")


def get_sweep(variant=""):
    check_variant("mixers.py", variant, "tiny")
    names = TINY if variant == "tiny" else COMPARED
    return Sweep(
        base=named_config("quickstart", "small_tiny" if variant == "tiny" else "small"),
        variants={name: COMPARED[name] for name in names},
        base_variant="none",
        seeds=(0,) if variant == "tiny" else (0, 1, 2),
    )
