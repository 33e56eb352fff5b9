"""LiFT-U's configuration: volumes of one channel from noise."""

from collections.abc import Iterator

from ml_collections import ConfigDict

from lift_jax.config.common import (
    DTYPES,
    PHANTOMS,
    all_positive,
    data_errors,
    not_empty,
    one_of,
    shared_defaults,
    shared_errors,
    width_errors,
)
from lift_jax.losses import FIELDS
from lift_jax.losses.triplanar import PARTICLES, PLANES, STEP_PARTICLES
from lift_jax.models.encoders.masked_autoencoder import ENCODER_KINDS

STAGES = ("encoder", "generator", "mapper")
PRIORS = ("pca", "random")


def generation() -> ConfigDict:
    """Defaults of LiFT-U: volumes of one channel, sampled from noise."""
    config = shared_defaults()
    config.task = "generation"
    data = config.data
    data.targets = ("t1n",)  # the channel that is generated
    data.spacing = 6.0  # of scans on BraTS's grid, 0 with size (0, 0, 0): 128³ by WDM's protocol
    data.size = (32, 32, 32)
    data.subjects.update(train=512, validation=64, test=64)

    config.model = model = ConfigDict()
    model.encoder = ConfigDict(
        {
            "kind": "mae",  # mae: trained by stage encoder; alexnet, resnet18: of ImageNet; random: untrained
            "widths": (16, 32, 64),  # mae, random: features per resolution, finest first
            "blocks": 1,  # mae, random: residual blocks per resolution
            "weights": "",  # resnet18: .safetensors file
        }
    )
    model.generator = ConfigDict(
        {
            "slice_latent_dim": 64,  # numbers in the latent of a slice
            "widths": (128, 96, 64),  # features per resolution, coarsest first
            "blocks": 1,  # residual blocks per resolution
            "depth_to_space": 2,  # depth-to-space behind: 1, 2 or 4
            "dtype": "float32",  # of activations: float32 or bfloat16
        }
    )
    model.mapper = ConfigDict(
        {
            "volume_latent_dim": 64,  # numbers in the latent of a volume
            "hidden": 256,  # width of its layers
            "layers": 5,  # residual layers
        }
    )
    model.prior = ConfigDict(
        {
            "init": "pca",  # pca: begin as principal components of slices and volumes; random: at random
        }
    )

    config.features = ConfigDict(
        {
            "grids": (1, 2, 4),  # mean and deviation of every map over g x g cells
            "local": 8,  # maps up to this side: the vector at each place; 0 none
            "pixels": 4,  # side of raw patches; 0 none
            "gradients": (1, 2, 4, 8),  # mean absolute differences of neighboring pixels over g x g cells; () none
            "dtype": "float32",  # of the features of real volumes: float32 or bfloat16
        }
    )
    config.loss = ConfigDict(
        {
            "field": "softmax_no_floor",  # drifting field: a name in losses.FIELDS
            "temperatures": (0.02, 0.05, 0.2),  # of the field, in units of the mean distance; all are added up
            "particles": "segment",  # slice, segment, volume, unordered or unordered_segment
            "planes": ("axial", "coronal", "sagittal"),  # of the mapper's loss
        }
    )

    config.stages = STAGES  # in order; no encoder where its kind is not mae
    config.stage = ConfigDict()
    config.stage.encoder = ConfigDict(
        {
            "steps": 1000,  # of the optimizer
            "batch": 64,  # slices of all three planes a step, over all devices
            "learning_rate": 1e-3,  # of Adam
            "mask_patch_size": 4,  # side of a covered patch
            "mask_ratio": 0.5,  # part of the patches that are covered
        }
    )
    config.stage.generator = ConfigDict(
        {
            "steps": 2000,  # of the optimizer
            "batch": 128,  # generated slices a step, over all devices
            "positives": 128,  # real slices a step
            "reconstruction_weight": 0.0,  # init pca: of real slices decoded from their own latents; 0 none
            "latent_interpolation": 0.0,  # of reconstruction: latents move towards random ones by up to this, below 1
            "learning_rate": 2e-4,  # of Adam
        }
    )
    config.stage.mapper = ConfigDict(
        {
            "steps": 1000,  # of the optimizer
            "batch": 8,  # generated volumes a step, over all devices
            "positives": 32,  # real volumes a step
            "positions": 12,  # depth positions along each plane
            "learning_rate": 2e-4,  # of Adam
            "chunk": 256,  # slices that the gradient is taken through at a time
        }
    )
    config.log.validation_subjects = 64  # volumes compared in a validation
    config.inference = ConfigDict(
        {
            "chunk": 64,  # slices on the device at a time
            "temperature": 1.0,  # standard deviation of the latent of a volume; 1 in training
        }
    )
    return config.lock()


def validation_errors(config: ConfigDict) -> Iterator[str]:
    """Yields one line for every key that cannot work."""
    data, mask_ratio, mapper = config.data, config.stage.encoder.mask_ratio, config.stage.mapper
    yield from data_errors(data)
    if len(data.targets) != 1:
        yield f"config.data.targets: {tuple(data.targets)}: name the one channel that is generated"
    if data.sources:
        yield f"config.data.sources: {tuple(data.sources)}: volumes are generated from noise; leave it ()"
    yield from one_of("features.dtype", config.features.dtype, DTYPES)
    yield from _loss_errors(config)
    yield from not_empty(config, ("stages", "features.grids", "loss.temperatures", "loss.planes"))
    yield from shared_errors(config)
    positive = (
        *("model.encoder.widths", "model.encoder.blocks"),
        *(f"model.generator.{key}" for key in ("slice_latent_dim", "widths", "blocks")),
        *(f"model.mapper.{key}" for key in ("volume_latent_dim", "hidden", "layers")),
        *(f"stage.encoder.{key}" for key in ("steps", "batch", "learning_rate", "mask_patch_size")),
        *(f"stage.generator.{key}" for key in ("steps", "batch", "positives", "learning_rate")),
        *(f"stage.mapper.{key}" for key in ("steps", "batch", "positives", "positions", "learning_rate", "chunk")),
        *("features.grids", "features.gradients", "loss.temperatures", "inference.chunk", "inference.temperature"),
    )
    yield from all_positive(config, positive)
    yield from _networks_errors(config.model)
    yield from _stages_errors(config)
    if not 0 < mask_ratio < 1:
        yield f"config.stage.encoder.mask_ratio: {mask_ratio} is no part between 0 and 1"
    if data.dataset in PHANTOMS and mapper.positives > data.subjects.train:
        yield (
            f"config.stage.mapper.positives: {mapper.positives} real volumes a step are asked for, but "
            f"there are {data.subjects.train} (config.data.subjects.train)"
        )


def _networks_errors(model: ConfigDict) -> Iterator[str]:
    yield from one_of("model.encoder.kind", model.encoder.kind, ENCODER_KINDS)
    yield from one_of("model.generator.depth_to_space", model.generator.depth_to_space, (1, 2, 4))
    yield from one_of("model.prior.init", model.prior.init, PRIORS)
    yield from one_of("model.generator.dtype", model.generator.dtype, DTYPES)
    if model.encoder.kind == "resnet18" and not model.encoder.weights:
        yield "config.model.encoder.weights: not set; give the .safetensors file of ResNet-18's weights"
    for part in ("encoder", "generator"):
        yield from width_errors(f"model.{part}.widths", model[part].widths)


def _stages_errors(config: ConfigDict) -> Iterator[str]:
    stages, kind = tuple(config.stages), config.model.encoder.kind
    for name in stages:
        yield from one_of("stages", name, STAGES)
    if stages != tuple(name for name in STAGES if name in stages):
        yield f"config.stages: {stages} are not in the order {', '.join(STAGES)}"
    if "encoder" in stages and kind != "mae":
        yield f"config.stages: an encoder of kind {kind} is not trained; leave encoder out"
    if "encoder" in stages and config.start_from:
        yield "config.stages: the encoder is that of config.start_from; leave encoder out"
    if "encoder" not in stages and kind == "mae" and not config.start_from:
        yield "config.stages: an encoder of kind mae is trained by a stage encoder; name it"
    weight = config.stage.generator.reconstruction_weight
    if weight < 0:
        yield f"config.stage.generator.reconstruction_weight: {weight} is no weight; 0 does without"
    if weight > 0 and config.model.prior.init != "pca":
        yield "config.stage.generator.reconstruction_weight: real slices have latents by init pca alone; set it to 0"
    interpolation = config.stage.generator.latent_interpolation
    if not 0 <= interpolation < 1:
        yield f"config.stage.generator.latent_interpolation: {interpolation} must be 0 or more, and less than 1"
    if "mapper" in stages and "generator" not in stages and not config.start_from:
        yield "config.stages: mapper needs a trained generator; name generator before it, or config.start_from"


def _loss_errors(config: ConfigDict) -> Iterator[str]:
    loss = config.loss
    yield from one_of("loss.particles", loss.particles, PARTICLES)
    yield from one_of("loss.field", loss.field, FIELDS)
    for plane in loss.planes:
        yield from one_of("loss.planes", plane, PLANES)
    if "mapper" in config.stages and config.stage.mapper.positions < 2 and loss.particles in STEP_PARTICLES:
        yield f"config.stage.mapper.positions: particles {loss.particles} hold the steps between two of them; give 2"
    for name in ("generator", "mapper"):
        if config.stage[name].batch < 2:
            yield f"config.stage.{name}.batch: a batch of {config.stage[name].batch} has no negatives; give 2 or more"
