"""LiFT-C for scans, trained on phantoms alone: any of four MR contrasts from any of the others, at 4 mm.

    python train.py --config configs/phantom_missing_mr.py --workdir runs/phantom_missing_mr

The weights are for real scans: experiments/real_scans measures them there. Hours on one CPU core; resumable.
Levels differ between volumes, so many volumes, coarsely, teach more than few volumes finely.
"""

from lift_jax.configuration import missing_mr


def get_config():
    config = missing_mr()
    config.data.shape = (39, 48, 48)
    config.data.spacing = 4.0
    config.data.cases.train = 2000
    config.data.cases.validation = 8
    config.data.cases.test = 16
    config.data.gamma = 0.1
    config.data.threads = 1

    config.model.translator.widths = (32, 64, 128)
    config.model.translator.blocks = 1
    config.model.translator.stem = 4
    config.model.translator.condition_features = 64
    config.model.mixer.hidden = 64

    config.stages = ("joint",)
    config.stage.joint.steps = 20_000
    config.stage.joint.batch = 2
    config.stage.joint.window = 39
    config.stage.joint.translator_rate = 1e-3
    config.stage.joint.mixer_rate = 2e-3
    config.optimiser.warmup = 100
    config.optimiser.ema = 0.995

    config.checkpoint.every = 250
    config.log.every = 50
    config.log.validate = 1000
    config.inference.chunk = 39
    return config
