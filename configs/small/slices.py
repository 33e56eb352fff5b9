"""LiFT-C on 24 slices of 96² at 2 mm, a quarter as wide as a network for 240², for sweeps; `tiny` is for checks."""

from lift_jax.config import check_variant, named_config


def get_config(variant=""):
    check_variant("slices.py", variant, "tiny")
    config = named_config("small/translation", variant)
    config.model.translator.space_to_depth = 2
    if variant == "tiny":
        return config
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
