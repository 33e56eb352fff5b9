"""LiFT-C's z-mixer: none, of different kinds and sizes, and on a finer grid.

    python sweep.py --sweep configs/sweeps/mixers.py --workdir runs/mixers

Seven variants with three seeds, about twenty minutes on one CPU core (estimated from `paired_losses.py`, not measured).
`:tiny` is one of every kind with one seed, for checks.
"""

from configs.sweeps.small import known, small_seeds, small_translation
from lift_jax.sweeps.columns import TRANSLATION_COLUMNS
from lift_jax.sweeps.definition import Sweep

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
    known("mixers.py", variant)
    names = TINY if variant == "tiny" else COMPARED
    return Sweep(
        base=small_translation(variant),
        variants={name: COMPARED[name] for name in names},
        base_variant="none",
        seeds=small_seeds(variant),
        metrics=TRANSLATION_COLUMNS,
    )
