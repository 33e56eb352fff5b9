"""LiFT-U on phantoms of 24³ at 8 mm, a fifth of the default's work, for sweeps on two cores; `tiny` is for checks."""

from lift_jax.config import check_variant, named_config


def get_config(variant=""):
    check_variant("generation.py", variant, "tiny")
    config = named_config("phantom_unconditional", variant)
    if variant == "tiny":
        config.data.size = (16, 16, 16)
        config.data.spacing = 12.0
        config.data.subjects.train = 4
        config.data.subjects.validation = 2
        config.data.subjects.test = 2
        config.model.encoder.widths = (4, 4)
        config.model.encoder.groups = 2
        config.model.generator.widths = (4, 4)
        config.model.generator.groups = 2
        config.features.grids = (1,)
        config.features.pixels = 0
        config.features.gradients = (1,)
        config.loss.temperatures = (0.2,)
        config.stage.encoder.steps = 4
        config.stage.generator.steps = 4
        config.stage.mapper.steps = 4
        config.stage.mapper.batch = 2
        config.stage.mapper.positives = 4
        config.stage.mapper.positions = 3
        config.checkpoint.every_steps = 2
        config.log.validate_every_steps = 4
        config.log.validation_subjects = 2
        config.inference.chunk = 16
        return config
    config.data.size = (24, 24, 24)
    config.data.spacing = 8.0
    config.stage.encoder.steps = 300
    config.stage.mapper.steps = 300
    config.stage.mapper.positions = 8
    config.optimizer.warmup_steps = 30
    config.optimizer.ema_decay = 0.99
    config.checkpoint.every_steps = 100
    config.checkpoint.max_to_keep = 1
    config.log.every_steps = 10
    config.log.validate_every_steps = 50
    config.log.validation_subjects = 32
    return config
