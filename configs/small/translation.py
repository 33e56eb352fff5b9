"""LiFT-C's quickstart cut to 400 steps on 128 phantoms, for sweeps on two CPU cores; `tiny` is for checks."""

from lift_jax.config import check_variant, named_config


def get_config(variant=""):
    check_variant("translation.py", variant, "tiny")
    config = named_config("quickstart", variant)
    if variant == "tiny":
        config.data.size = (16, 16, 16)
        config.data.spacing = 12.0
        config.data.subjects.train = 4
        config.data.subjects.test = 1
        config.model.translator.widths = (4, 8)
        config.model.translator.condition_features = 8
        config.model.mixer.hidden = 4
        config.stage.joint.steps = 6
        config.stage.joint.slices = 8
        config.checkpoint.every_steps = 3
        config.log.validate_every_steps = 6
        return config
    config.data.subjects.train = 128
    config.data.subjects.validation = 4
    config.data.subjects.test = 16
    config.stage.joint.steps = 400
    config.checkpoint.every_steps = 200
    config.checkpoint.max_to_keep = 1
    config.log.validate_every_steps = 200
    config.log.validation_subjects = 2
    return config
