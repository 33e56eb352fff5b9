"""The configurations that the sweeps here vary: small enough that many runs fit on two CPU cores."""

from configs import phantom_unconditional, quickstart


def small_generation(variant=""):
    """LiFT-U on phantoms of 24³ at 8 mm, about a fifth of the default's work; `tiny` is for checks."""
    config = phantom_unconditional.get_config("tiny" if variant == "tiny" else "")
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
        config.checkpoint.every = 2
        config.log.validate = 4
        config.log.validation_subjects = 2
        config.inference.chunk = 16
        return config
    config.data.size = (24, 24, 24)
    config.data.spacing = 8.0
    config.stage.encoder.steps = 300
    config.stage.mapper.steps = 300
    config.stage.mapper.positions = 8
    config.optimiser.warmup = 30
    config.optimiser.ema = 0.99
    config.checkpoint.every = 100
    config.checkpoint.keep = 1
    config.log.every = 10
    config.log.validate = 50
    config.log.validation_subjects = 32
    return config


def small_translation(variant=""):
    """LiFT-C's quickstart, cut to 400 steps on 128 phantoms; `tiny` is for checks."""
    config = quickstart.get_config("tiny" if variant == "tiny" else "")
    if variant == "tiny":
        config.data.size = (16, 16, 16)
        config.data.spacing = 12.0
        config.data.subjects.train = 4
        config.data.subjects.test = 1
        config.model.translator.widths = (4, 8)
        config.model.translator.condition_features = 8
        config.model.mixer.hidden = 4
        config.stage.joint.steps = 6
        config.stage.joint.window = 8
        config.checkpoint.every = 3
        config.log.validate = 6
        return config
    config.data.subjects.train = 128
    config.data.subjects.validation = 4
    config.data.subjects.test = 16
    config.stage.joint.steps = 400
    config.checkpoint.every = 200
    config.checkpoint.keep = 1
    config.log.validate = 200
    config.log.validation_subjects = 2
    return config


def small_slices(variant=""):
    """LiFT-C on 24 slices of 96² at 2 mm, a quarter as wide as a network for 240²; `tiny` is for checks."""
    config = small_translation(variant)
    config.model.translator.stem = 2
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
    config.stage.joint.window = 12
    config.log.validate = 150
    config.inference.chunk = 24
    return config


def small_seeds(variant=""):
    """Three seeds, the fewest that an interval says anything of; one for checks."""
    return (0,) if variant == "tiny" else (0, 1, 2)


def known(name, variant, variants=("tiny",)):
    """Refuses variants that a sweep file does not have."""
    if variant not in ("", *variants):
        raise ValueError(f"{name} has {' and '.join(variants)} for variants, not {variant!r}")
