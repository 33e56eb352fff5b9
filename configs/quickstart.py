"""LiFT-C on embedded data: any of four MR channels from the others, on phantoms of real anatomy at 6 mm.

    python train.py --config configs/quickstart.py --workdir runs/quickstart

About four minutes on two CPU cores. Variants: `tiny` (the same run in under a minute, for checks), `no_mixer` (every
slice by itself), and for sweeps `small` (400 steps on 128 phantoms) and `small_tiny` (for their checks).
"""

from lift_jax.config import check_variant, missing_mr


def get_config(variant=""):
    check_variant("quickstart.py", variant, "tiny", "no_mixer", "small", "small_tiny")
    config = missing_mr()
    config.data.size = (32, 32, 32)
    config.data.spacing = 6.0
    config.data.foreground_box = False  # it would be the whole grid, nearly
    config.data.subjects.train = 1024
    config.data.subjects.validation = 8
    config.data.subjects.test = 8

    config.model.translator.widths = (32, 64)
    config.model.translator.blocks = 1
    config.model.translator.space_to_depth = 4
    config.model.translator.condition_features = 64
    config.model.mixer.hidden = 64

    config.stages = ("joint",)
    # Levels differ between volumes, so many volumes, coarsely, teach more than few volumes finely.
    config.stage.joint.steps = 2000
    config.stage.joint.batch = 3
    config.stage.joint.slices = 32
    config.stage.joint.translator_learning_rate = 2e-3
    config.stage.joint.mixer_learning_rate = 6e-3
    config.optimizer.warmup_steps = 50
    config.optimizer.ema_decay = 0.99

    config.checkpoint.every_steps = 500
    config.log.every_steps = 20
    config.log.validate_every_steps = 1000
    config.inference.chunk = 32

    if variant == "no_mixer":
        config.model.mixer.kind = "none"
    elif variant == "small":
        config.data.subjects.train = 128
        config.data.subjects.validation = 4
        config.data.subjects.test = 16
        config.stage.joint.steps = 400
        config.checkpoint.every_steps = 200
        config.checkpoint.max_to_keep = 1
        config.log.validate_every_steps = 200
        config.log.validation_subjects = 2
    elif variant in ("tiny", "small_tiny"):
        config.data.subjects.train = 8
        config.data.subjects.validation = 1
        config.data.subjects.test = 2
        config.model.translator.widths = (8, 16)
        config.model.mixer.hidden = 16
        config.stage.joint.steps = 24
        config.stage.joint.batch = 2
        config.stage.joint.slices = 16
        config.optimizer.warmup_steps = 4
        config.checkpoint.every_steps = 8
        config.log.every_steps = 1
        config.log.validate_every_steps = 12
    if variant == "small_tiny":
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
