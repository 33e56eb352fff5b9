"""LiFT-C's z-mixer: none, of different kinds and sizes, and on a finer grid.

    python sweep.py --sweep configs/sweeps/mixers.py --workdir runs/mixers

Ten variants with three seeds, about half an hour on one CPU core (estimated from `paired_losses.py`, not measured).
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
    "min_gru_64": {"model.mixer.kind": "min_gru"},
    "attention_64": {"model.mixer.kind": "attention"},
    "attention_64_near": {"model.mixer.kind": "attention", "model.mixer.window": 2},
    "attention_64_far": {"model.mixer.kind": "attention", "model.mixer.window": 32},
    "convolution_64": {"model.mixer.kind": "convolution"},
}

TINY = ("none", "gru_16", "min_gru_64", "attention_64", "convolution_64")


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
