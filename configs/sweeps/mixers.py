"""LiFT-C's z-mixer: none, of different sizes, and on a finer grid.

    python sweep.py --sweep configs/sweeps/mixers.py --workdir runs/mixers

Five variants with three seeds, about an hour on two CPU cores (estimated from step times, not measured). `:tiny` is two
of them with one seed, for checks.
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
}


def get_sweep(variant=""):
    known("mixers.py", variant)
    names = ("none", "gru_16") if variant == "tiny" else COMPARED
    return Sweep(
        base=small_translation(variant),
        variants={name: COMPARED[name] for name in names},
        base_variant="none",
        seeds=small_seeds(variant),
        metrics=TRANSLATION_COLUMNS,
    )
