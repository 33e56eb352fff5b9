"""LiFT-C on SynthRAD2023 Task 1, brain: CT in Hounsfield units from MR.

    python train.py --config configs/synthrad_mr_to_ct.py --config.data.root=DIR --workdir runs/synthrad

The paper's settings where it states them (arXiv 2605.19060): 144 subjects to train and 36 to test, resampled to 128³;
the translator by Adam at 2e-4 on 32 slices, then the mixer by AdamW at 2e-4 on 32 slabs, with the translator frozen.
Sized for one GPU of 80 GB. Inference is on the same grid.
Results are interpolated onto the grid of their MR. `--config.stages="('joint',)"` trains both at once.
Variants: `no_mixer` (every slice by itself), `phantom` (made heads, 64³ at 3.4 mm, for a processor: some minutes) and
`tiny` (the same at 7 mm in under a minute, for checks).
"""

from lift_jax.config import check_variant, mr_to_ct
from lift_jax.data.phantom.head import field_spacing


def get_config(variant=""):
    check_variant("synthrad_mr_to_ct.py", variant, "no_mixer", "phantom", "tiny")
    config = mr_to_ct()
    config.data.dataset = "synthrad2023"
    config.data.size = (128, 128, 128)
    config.data.gamma = 0.1
    config.data.threads = 8

    config.model.translator.widths = (64, 128, 256, 512)
    config.model.translator.blocks = 2
    config.model.translator.dtype = "bfloat16"
    config.model.mixer.hidden = 256
    config.loss.bone = 1.0

    config.stages = ("translator", "mixer")
    config.stage.translator.steps = 60_000
    config.stage.translator.batch = 32
    config.stage.translator.slices = 1
    config.stage.translator.translator_learning_rate = 2e-4
    config.stage.mixer.steps = 20_000
    config.stage.mixer.batch = 32
    config.stage.mixer.slices = 16
    config.optimizer.accumulate = 4
    config.stage.mixer.mixer_learning_rate = 2e-4
    config.stage.joint.steps = 60_000
    config.stage.joint.batch = 2
    config.stage.joint.slices = 48
    config.optimizer.warmup_steps = 1000
    config.optimizer.ema_decay = 0.9995

    config.checkpoint.every_steps = 1000
    config.log.every_steps = 50
    config.log.validate_every_steps = 5000

    if variant == "no_mixer":
        config.model.mixer.kind = "none"
        config.stages = ("translator",)
    elif variant in ("phantom", "tiny"):
        _on_phantoms(config)
        if variant == "tiny":
            _tiny(config)
    return config


def _on_phantoms(config):
    config.data.dataset = "phantom_head"
    config.data.size = (64, 64, 64)
    config.data.spacing = field_spacing((64, 64, 64))
    config.data.subjects.train = 96
    config.data.subjects.validation = 2
    config.data.subjects.test = 32
    config.data.gamma = 0.0
    config.data.threads = 2

    config.model.translator.widths = (32, 64)
    config.model.translator.blocks = 1
    config.model.translator.space_to_depth = 2
    config.model.translator.condition_features = 16
    config.model.translator.dtype = "float32"
    config.model.mixer.hidden = 64

    config.stage.translator.steps = 1200
    config.stage.translator.batch = 16
    config.stage.translator.translator_learning_rate = 1e-3
    config.stage.mixer.steps = 400
    config.stage.mixer.batch = 1
    config.stage.mixer.slices = 64
    config.optimizer.accumulate = 1
    config.stage.mixer.mixer_learning_rate = 1e-3
    config.stage.mixer.translator_learning_rate = 3e-4
    config.optimizer.warmup_steps = 50
    config.optimizer.ema_decay = 0.99

    config.checkpoint.every_steps = 200
    config.log.every_steps = 20
    config.log.validate_every_steps = 400
    config.inference.chunk = 64


def _tiny(config):
    config.data.size = (32, 32, 32)
    config.data.spacing = field_spacing((32, 32, 32))
    config.data.subjects.train = 4
    config.data.subjects.validation = 1
    config.data.subjects.test = 2
    config.model.translator.widths = (8, 16)
    config.model.mixer.hidden = 16
    config.stage.translator.steps = 16
    config.stage.translator.batch = 8
    config.stage.mixer.steps = 8
    config.stage.mixer.slices = 16
    config.optimizer.warmup_steps = 4
    config.checkpoint.every_steps = 4
    config.log.every_steps = 1
    config.log.validate_every_steps = 8
    config.inference.chunk = 32
