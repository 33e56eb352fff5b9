"""LiFT-C for scans, trained on phantoms alone: any of four MR contrasts from any of the others, at 4 mm.

    python train.py --config configs/phantom_missing_mr.py --workdir runs/phantom_missing_mr

The weights are for real scans: docs/studies/real_scans.md says what they are worth there. Levels differ between
volumes, so many volumes, coarsely, teach more than few volumes finely; detail comes from the sources. An hour or two on
two CPU cores; resumable.
"""

from lift_jax.configuration import missing_mr


def get_config():
    config = missing_mr()
    config.data.size = (39, 48, 48)
    config.data.spacing = 4.0
    config.data.foreground_box = False
    config.inference.foreground_box = False
    config.data.subjects.train = 2000
    config.data.subjects.validation = 8
    config.data.subjects.test = 16
    config.data.gamma = 0.1

    config.model.translator.widths = (16, 32, 64, 128)
    config.model.translator.blocks = 1
    config.model.translator.stem = 2
    config.model.translator.products = True
    config.model.translator.condition_features = 64
    config.model.mixer.hidden = 64

    config.loss.structure = 0.5

    config.stages = ("joint",)
    config.stage.joint.steps = 3500
    config.stage.joint.batch = 2
    config.stage.joint.window = 39
    config.stage.joint.translator_rate = 1e-3
    config.stage.joint.mixer_rate = 2e-3
    config.optimiser.warmup = 100
    config.optimiser.ema = 0.99

    config.checkpoint.every = 250
    config.log.every = 50
    config.log.validate = 1000
    config.inference.chunk = 39
    return config
