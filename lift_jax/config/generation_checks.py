"""What a configuration of LiFT-U must not hold."""

from collections.abc import Iterator

from ml_collections import ConfigDict

from lift_jax.config.checks import (
    DTYPES,
    all_positive,
    few_resolutions,
    in_order,
    not_empty,
    one_of,
    positive_in_every_task,
)
from lift_jax.config.data import MADE, data_errors
from lift_jax.config.generation import PRIORS, STAGES
from lift_jax.losses import FIELDS
from lift_jax.losses.triplanar import PARTICLES, PLANES, STEP_PARTICLES
from lift_jax.models.encoders.residual_encoder import ENCODER_KINDS


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
    lists = ("stages", "model.encoder.widths", "model.generator.widths", "features.grids", "loss.temperatures")
    yield from in_order(config, ("log.profile",))
    yield from not_empty(config, lists)
    yield from all_positive(config, (*_positive_keys(config), *lists[1:], "features.gradients"))
    yield from _networks_errors(config.model)
    yield from _stages_errors(config)
    if not 0 < mask_ratio < 1:
        yield f"config.stage.encoder.mask_ratio: {mask_ratio} is no part between 0 and 1"
    if data.dataset in MADE and mapper.positives > data.subjects.train:
        yield (
            f"config.stage.mapper.positives: {mapper.positives} real volumes a step are asked for, but "
            f"there are {data.subjects.train} (config.data.subjects.train)"
        )


def _networks_errors(model):
    yield from one_of("model.encoder.kind", model.encoder.kind, ENCODER_KINDS)
    yield from one_of("model.generator.depth_to_space", model.generator.depth_to_space, (1, 2, 4))
    yield from one_of("model.prior.init", model.prior.init, PRIORS)
    yield from one_of("model.generator.dtype", model.generator.dtype, DTYPES)
    if model.encoder.kind == "resnet18" and not model.encoder.weights:
        yield "config.model.encoder.weights: not set; give the .safetensors file of ResNet-18's weights"
    for part in ("encoder", "generator"):
        widths, groups = model[part].widths, model[part].groups
        yield from few_resolutions(f"model.{part}.widths", widths)
        for i, width in enumerate(widths):
            if width % groups:
                yield f"config.model.{part}.widths: entry {i}, {width}, is no multiple of groups, {groups}"


def _stages_errors(config):
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


def _loss_errors(config):
    loss = config.loss
    yield from one_of("loss.particles", loss.particles, PARTICLES)
    for plane in loss.planes:
        yield from one_of("loss.planes", plane, PLANES)
    if not any(weight > 0 for weight in loss.planes.values()):
        yield "config.loss.planes: no plane has a weight above 0, so nothing would be trained"
    yield from one_of("loss.field", loss.field, FIELDS)
    if "mapper" in config.stages and config.stage.mapper.positions < 2 and loss.particles in STEP_PARTICLES:
        yield f"config.stage.mapper.positions: particles {loss.particles} hold the steps between two of them; give 2"
    for name in ("generator", "mapper"):
        if config.stage[name].batch < 2:
            yield f"config.stage.{name}.batch: a batch of {config.stage[name].batch} has no negatives; give 2 or more"


def _positive_keys(config):
    return [
        *positive_in_every_task(config),
        *(f"model.encoder.{key}" for key in ("blocks", "groups")),
        *(f"model.generator.{key}" for key in ("slice_latent_dim", "blocks", "groups")),
        *(f"model.mapper.{key}" for key in ("volume_latent_dim", "hidden", "layers")),
        *(f"stage.encoder.{key}" for key in ("steps", "batch", "learning_rate", "mask_patch_size")),
        *(f"stage.generator.{key}" for key in ("steps", "batch", "positives", "learning_rate")),
        *(f"stage.mapper.{key}" for key in ("steps", "batch", "positives", "positions", "learning_rate", "chunk")),
        *("inference.chunk", "inference.temperature"),
    ]
