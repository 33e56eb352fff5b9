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
        base=_base(variant),
        variants={name: COMPARED[name] for name in names},
        base_variant="stem_2",
        seeds=(0, 1, 2) if variant in ("finalists", "context") else (0,),
    )


def _base(variant):
    """24 slices of 96² at 2 mm, and a network a quarter as wide as one for 240²."""
    config = named_config("quickstart", "small_tiny" if variant == "tiny" else "small")
    config.model.translator.space_to_depth = 2
    if variant != "tiny":
        config.data.size = (24, 96, 96)
        config.data.spacing = 2.0
        config.data.subjects.train = 192
        config.data.subjects.test = 32
        config.model.translator.widths = (16, 32, 64)
        config.model.translator.blocks = 2
        config.stage.joint.steps = 300
        config.stage.joint.batch = 2
        config.stage.joint.slices = 12
        config.log.validate_every_steps = 150
        config.inference.chunk = 24
    return config
