"""LiFT-C on BraTS 2023 at native resolution: any of four MR channels from the others, 240×240×155.

    python train.py --config configs/brats_missing_mr.py --config.data.root=DIR --workdir runs/brats

The paper's settings where it states them (arXiv 2605.19060): AdamW 2e-5 for the U-Net and 2e-4 for the mixer, one
volume of 48 slices a step. The network translates a volume at a 1,540th of cWDM's operations;
docs/studies/translator_shape.md says what its space-to-depth gives away: nothing that was seen. bfloat16 is for
GPUs; several want a larger `batch`.
The test subjects are 219 of 1,470 by a hash of their names, not BraTS's official validation set, which also has 219
and is probably what the paper reports on: scripts/link_brats_split.py makes the official split.
Variants: `no_mixer` (every slice by itself) and `small` (4 mm, minutes on two CPU cores, for a first look).
"""

from lift_jax.config import check_variant, missing_mr


def get_config(variant=""):
    check_variant("brats_missing_mr.py", variant, "no_mixer", "small")
    config = missing_mr()
    config.data.dataset = "brats"
    config.data.gamma = 0.1
    config.data.threads = 8

    config.model.translator.space_to_depth = 2
    config.model.translator.widths = (64, 128, 256)
    config.model.translator.blocks = 2
    config.model.translator.remat = True
    config.model.translator.dtype = "bfloat16"
    config.model.mixer.hidden = 256

    config.stages = ("joint",)
    config.stage.joint.steps = 100_000
    config.stage.joint.batch = 1
    config.stage.joint.slices = 48
    config.stage.joint.translator_learning_rate = 2e-5
    config.stage.joint.mixer_learning_rate = 2e-4
    config.optimizer.warmup_steps = 1000
    config.optimizer.ema_decay = 0.9995

    config.checkpoint.every_steps = 1000
    config.log.every_steps = 50
    config.log.validate_every_steps = 5000
    config.inference.chunk = 8

    if variant == "no_mixer":
        config.model.mixer.kind = "none"
    elif variant == "small":
        config.data.spacing = 4.0
        config.data.threads = 2
        config.model.translator.widths = (32, 64)
        config.model.translator.blocks = 1
        config.model.translator.space_to_depth = 2
        config.model.translator.condition_features = 64
        config.model.translator.remat = False
        config.model.translator.dtype = "float32"
        config.model.mixer.hidden = 64
        config.stage.joint.steps = 300
        config.stage.joint.batch = 1
        config.stage.joint.slices = 40
        config.stage.joint.translator_learning_rate = 1e-3
        config.stage.joint.mixer_learning_rate = 1e-3
        config.optimizer.warmup_steps = 50
        config.optimizer.ema_decay = 0.98
        config.checkpoint.every_steps = 100
        config.log.every_steps = 10
        config.log.validate_every_steps = 100
        config.inference.chunk = 48
    return config
