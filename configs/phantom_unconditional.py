"""LiFT-U on embedded data: T1 volumes out of noise, learnt from phantoms of real anatomy at 6 mm.

    python train.py --config configs/phantom_unconditional.py --workdir runs/unconditional

Twenty minutes of one core's time; docs/studies/generation_pca.md says what to expect. Variants: `reference`
(48³ at 4 mm), `tiny` (the same run in minutes, for checks), and for sweeps `small` (24³ at 8 mm, a fifth of the work)
and `small_tiny` (for their checks).
"""

from lift_jax.config import check_variant, generation


def get_config(variant=""):
    check_variant("phantom_unconditional.py", variant, "reference", "tiny", "small", "small_tiny")
    config = generation()
    config.data.subjects.update(train=1024, validation=256, test=256)

    config.model.generator.slice_latent_dim = 512
    config.model.generator.widths = (128, 96, 64, 32)
    config.model.generator.depth_to_space = 1
    config.model.mapper.volume_latent_dim = 1024
    config.features.dtype = "bfloat16"

    config.loss.particles = "unordered"

    config.stage.encoder.steps = 600
    config.stage.generator.steps = 400
    config.stage.generator.batch = 64
    config.stage.generator.positives = 256
    config.stage.generator.learning_rate = 5e-4
    config.stage.generator.reconstruction_weight = 50.0
    config.stage.generator.latent_interpolation = 0.8
    config.stage.mapper.steps = 100
    config.stage.mapper.learning_rate = 5e-5
    config.stage.mapper.positives = 32
    config.optimizer.ema_decay = 0.995

    config.log.validate_every_steps = 150
    config.inference.temperature = 1.1

    if variant in ("tiny", "small_tiny"):
        config.data.subjects.train = 8
        config.data.subjects.validation = 4
        config.data.subjects.test = 4
        config.model.encoder.widths = (8, 16)
        config.model.generator.slice_latent_dim = 32
        config.model.generator.widths = (16, 8)
        config.model.mapper.volume_latent_dim = 32
        config.model.mapper.hidden = 32
        config.model.mapper.layers = 2
        config.features.grids = (1, 2)
        config.features.local = 0
        config.features.gradients = (1,)
        config.features.dtype = "float32"
        config.stage.encoder.steps = 10
        config.stage.encoder.batch = 8
        config.stage.generator.steps = 10
        config.stage.generator.batch = 8
        config.stage.generator.positives = 8
        config.stage.mapper.steps = 10
        config.stage.mapper.batch = 8
        config.stage.mapper.positives = 8
        config.stage.mapper.positions = 4
        config.checkpoint.every_steps = 4
        config.log.every_steps = 1
        config.log.validate_every_steps = 10
        config.log.validation_subjects = 4
    elif variant == "reference":
        config.data.size = (48, 48, 48)
        config.data.spacing = 4.0
        config.features.local = 12
        config.stage.mapper.steps = 120
    elif variant == "small":
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
    if variant == "small_tiny":
        config.data.size = (16, 16, 16)
        config.data.spacing = 12.0
        config.data.subjects.train = 4
        config.data.subjects.validation = 2
        config.data.subjects.test = 2
        config.model.encoder.widths = (4, 4)
        config.model.generator.widths = (4, 4)
        config.features.grids = (1,)
        config.features.pixels = 0
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
