"""LiFT-U on embedded data: T1 volumes out of noise, learnt from phantoms of real anatomy at 6 mm.

    python train.py --config configs/phantom_unconditional.py --workdir runs/unconditional

Twenty minutes of one core's time; docs/studies/generation_pca.md says what to expect. Variants: `reference`
(48³ at 4 mm), and `tiny` (the same run in minutes, for checks).
"""

from lift_jax.config import generation


def get_config(variant=""):
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

    if variant == "tiny":
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
    elif variant:
        raise ValueError(f"phantom_unconditional.py has the variants reference and tiny, not {variant!r}")
    return config
