"""LiFT-C for scans, trained on phantoms alone: any of four MR channels from any of the others, at 4 mm.

    python train.py --config configs/phantom_missing_mr.py --workdir runs/phantom_missing_mr

The weights are for real scans: docs/studies/real_scans.md measures them there. Levels differ between
volumes, so many volumes, coarsely, teach more than few volumes finely; detail comes from the sources. An hour or two on
two CPU cores; resumable. The variant `tiny` is a run of a minute, for checks.
"""

from lift_jax.config import check_variant, missing_mr


def get_config(variant=""):
    check_variant("phantom_missing_mr.py", variant, "tiny")
    config = missing_mr()
    config.data.size = (39, 48, 48)
    config.data.spacing = 4.0
    config.data.foreground_box = False
    config.data.subjects.train = 2000
    config.data.subjects.validation = 8
    config.data.subjects.test = 16
    config.data.gamma = 0.1

    config.model.translator.widths = (16, 32, 64, 128)
    config.model.translator.blocks = 1
    config.model.translator.space_to_depth = 2
    config.model.translator.products = True
    config.model.translator.condition_features = 64
    config.model.mixer.hidden = 64

    config.loss.structure = 0.5

    config.stages = ("joint",)
    config.stage.joint.steps = 3500
    config.stage.joint.batch = 2
    config.stage.joint.slices = 39
    config.stage.joint.translator_learning_rate = 1e-3
    config.stage.joint.mixer_learning_rate = 2e-3
    config.optimizer.warmup_steps = 100
    config.optimizer.ema_decay = 0.99

    config.checkpoint.every_steps = 250
    config.log.every_steps = 50
    config.log.validate_every_steps = 1000
    config.inference.chunk = 39

    if variant == "tiny":
        config.data.size = (26, 32, 32)
        config.data.spacing = 6.0
        config.data.subjects.update(train=8, validation=1, test=2)
        config.model.translator.widths = (8, 16, 32, 64)
        config.model.translator.condition_features = 16
        config.model.mixer.hidden = 16
        config.stage.joint.steps = 20
        config.stage.joint.slices = 26
        config.checkpoint.every_steps = 20
        config.log.every_steps = 5
        config.log.validate_every_steps = 20
    return config
