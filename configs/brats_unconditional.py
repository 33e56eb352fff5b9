"""LiFT-U on BraTS 2023: T1 volumes of 128³ from noise, by WDM's protocol, with the paper's batch sizes and rates.

    python train.py --config configs/brats_unconditional.py --config.data.root=DIR --workdir runs/brats_unconditional

Sizes are for one GPU with 80 GB, on which it has not been run yet; the banks of real features take 18 GB of its
memory in bfloat16 for the 1,176 training subjects (20,331 numbers a slice, 128 slices in each of three planes). Codes
have 256 numbers because fewer lose detail: on phantoms of 32³ steps between slices are 11 % too small with 128, 4 %
with 256. The test subjects are a hash split of 1,470, not BraTS's official validation set, which
scripts/link_brats_split.py splits off.
"""

from lift_jax.config import check_variant, generation, named_config


def get_config(variant=""):
    check_variant("brats_unconditional.py", variant, "small")
    if variant == "small":
        return _small()
    config = generation()
    config.data.dataset = "brats"
    config.data.size, config.data.spacing = (0, 0, 0), 0.0  # 128³ at 2 mm by WDM's protocol
    config.data.threads = 8

    config.model.encoder.widths = (32, 64, 128, 256)
    config.model.encoder.blocks = 2
    config.model.generator.slice_latent_dim = 256
    config.model.generator.widths = (512, 512, 256, 128, 64)
    config.model.generator.blocks = 2
    config.model.generator.dtype = "bfloat16"
    config.model.mapper.volume_latent_dim = 256
    config.model.mapper.hidden = 488
    config.model.mapper.layers = 5

    config.features.local = 0
    config.features.pixels = 0
    config.features.dtype = "bfloat16"

    config.stage.encoder.steps = 50_000
    config.stage.encoder.batch = 128
    config.stage.encoder.learning_rate = 2e-4
    config.stage.encoder.mask_patch_size = 8
    config.stage.generator.steps = 100_000
    config.stage.generator.batch = 128
    config.stage.generator.positives = 128
    config.stage.generator.learning_rate = 2e-4
    config.stage.mapper.steps = 50_000
    config.stage.mapper.batch = 8
    config.stage.mapper.positives = 32
    config.stage.mapper.positions = 16
    config.stage.mapper.learning_rate = 2e-4
    config.stage.mapper.chunk = 32
    config.optimizer.warmup_steps = 1000
    config.optimizer.ema_decay = 0.9999

    config.checkpoint.every_steps = 5000
    config.log.every_steps = 100
    config.log.validate_every_steps = 5000
    config.inference.chunk = 32
    return config


def _small():
    """BraTS at 64³ and 3.75 mm on a laptop, with the recipe of the phantoms."""
    config = named_config("phantom_unconditional")
    config.data.dataset = "brats"
    config.data.size, config.data.spacing = (64, 64, 64), 3.75
    return config
