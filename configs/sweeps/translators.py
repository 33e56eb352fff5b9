"""LiFT-C's network: space-to-depth, width, depth, and the z-mixer; quality and cost of each.

    lift-jax sweep --sweep translators --workdir runs/translators

Slices of 96² at 2 mm. The networks have a quarter of the features of those for 240² and 1 mm, so that they cost a
sixteenth. All have one seed; `:finalists`, three shapes, and `:context`, with and without mixer, have three. `:tiny` is
for checks.
"""

from lift_jax.config import check_variant, named_config
from lift_jax.sweeps import Sweep

COMPARED = {
    "stem_2": {},
    "stem_1": {"model.translator.space_to_depth": 1},
    "stem_4": {"model.translator.space_to_depth": 4},
    "stem_1_narrow": {"model.translator.space_to_depth": 1, "model.translator.widths": (8, 16, 32)},
    "stem_4_wide": {"model.translator.space_to_depth": 4, "model.translator.widths": (32, 64, 128)},
    "four_levels": {"model.translator.widths": (16, 32, 64, 128)},
    "two_levels": {"model.translator.widths": (16, 32)},
    "one_block": {"model.translator.blocks": 1},
    "hidden_16": {"model.mixer.hidden": 16},
    "cells": {"model.mixer.grid": 4},
    "convolution": {"model.mixer.kind": "convolution", "model.mixer.window": 2},
    "convolution_cells": {"model.mixer.kind": "convolution", "model.mixer.window": 2, "model.mixer.grid": 12},
    "no_mixer": {"model.mixer.kind": "none"},
}

CHOSEN = {
    "finalists": ("stem_2", "stem_1", "stem_4_wide"),
    "context": ("stem_2", "no_mixer"),
    "tiny": ("stem_2", "stem_4", "no_mixer"),
}


def get_sweep(variant=""):
    check_variant("translators.py", variant, *CHOSEN)
    names = CHOSEN.get(variant, COMPARED)
    return Sweep(
        base=named_config("small/slices", "tiny" if variant == "tiny" else ""),
        variants={name: COMPARED[name] for name in names},
        base_variant="stem_2",
        seeds=(0, 1, 2) if variant in ("finalists", "context") else (0,),
    )
