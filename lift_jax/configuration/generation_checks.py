"""What a configuration of LiFT-U must not hold."""

from collections.abc import Iterator

from ml_collections import ConfigDict

from lift_jax.configuration.checks import (
    DTYPES,
    all_positive,
    few_resolutions,
    flatten,
    in_order,
    not_empty,
    one_of,
    positive_in_every_task,
)
from lift_jax.configuration.generation import LAYOUTS, PRIORS, STAGES, unconditional
from lift_jax.data.cases import CONTRASTS
from lift_jax.losses.drifting import FIELDS
from lift_jax.losses.particle_losses import PARTICLE_LOSSES
from lift_jax.losses.trajectories import DEPTH_PARTICLES, PARTICLES, PLANES, STEP_PARTICLES
from lift_jax.models.encoders import ENCODER_KINDS


def complaints(config: ConfigDict) -> Iterator[str]:
    """Yields one line for every key that cannot work."""
    data, covered, mapper = config.data, config.stage.encoder.covered, config.stage.mapper
    yield from one_of("data.layout", data.layout, LAYOUTS)
    yield from one_of("data.contrast", data.contrast, CONTRASTS)
    yield from one_of("features.dtype", config.features.dtype, DTYPES)
    yield from _complaints_of_loss(config)
    lists = ("stages", "model.encoder.widths", "model.generator.widths", "features.grids", "loss.temperatures")
    yield from in_order(config, ("log.profile",))
    yield from not_empty(config, lists)
    yield from all_positive(config, (*_positive_keys(config), *lists[1:], "features.gradients"))
    yield from _complaints_of_networks(config.model)
    yield from _complaints_of_stages(config)
    if data.layout == "brats" and not data.root:
        yield "config.data.root: not set; give the folder of the cases, --config.data.root=DIR"
    if not 0 < covered < 1:
        yield f"config.stage.encoder.covered: {covered} is no part between 0 and 1"
    if data.layout == "phantom" and mapper.positives > data.cases.train:
        yield (
            f"config.stage.mapper.positives: {mapper.positives} real volumes a step are asked for, but "
            f"there are {data.cases.train} (config.data.cases.train)"
        )


def _complaints_of_networks(model):
    yield from one_of("model.encoder.kind", model.encoder.kind, ENCODER_KINDS)
    yield from one_of("model.generator.head", model.generator.head, (1, 2, 4))
    yield from one_of("model.prior.kind", model.prior.kind, PRIORS)
    if model.prior.knots < 2 and model.prior.knots != 0:
        yield f"config.model.prior.knots: {model.prior.knots} must be 2, both ends, or more, or 0: every slice"
    yield from one_of("model.generator.dtype", model.generator.dtype, DTYPES)
    if model.encoder.kind == "resnet18" and not model.encoder.weights:
        yield "config.model.encoder.weights: not set; give the .safetensors file of ResNet-18's weights"
    for part in ("encoder", "generator"):
        widths, groups = model[part].widths, model[part].groups
        yield from few_resolutions(f"model.{part}.widths", widths)
        for i, width in enumerate(widths):
            if width % groups:
                yield f"config.model.{part}.widths: entry {i}, {width}, is no multiple of groups, {groups}"


def _complaints_of_stages(config):
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
    decoding = config.stage.generator.decoding
    if decoding < 0:
        yield f"config.stage.generator.decoding: {decoding} is no weight; 0 does without"
    if decoding > 0 and config.model.prior.kind != "principal":
        yield "config.stage.generator.decoding: real slices have codes by model.prior.kind principal alone; set it to 0"
    if not 0 <= config.stage.generator.mixing < 1:
        yield f"config.stage.generator.mixing: {config.stage.generator.mixing} must be 0 or more, and less than 1"
    if "mapper" in stages and "generator" not in stages and not config.start_from:
        yield "config.stages: mapper needs a trained generator; name generator before it, or config.start_from"


def _complaints_of_loss(config):
    loss, switches = config.loss, config.loss.drifting
    yield from one_of("loss.kind", loss.kind, PARTICLE_LOSSES)
    yield from one_of("loss.particles", loss.particles, PARTICLES)
    for plane in loss.planes:
        yield from one_of("loss.planes", plane, PLANES)
    if not any(weight > 0 for weight in loss.planes.values()):
        yield "config.loss.planes: no plane has a weight above 0, so nothing would be trained"
    yield from one_of("loss.field", loss.field, FIELDS)
    yield from one_of("loss.drifting.self_exclusion", switches.self_exclusion, ("mask", "independent"))
    yield from one_of("loss.drifting.distance_scale", switches.distance_scale, ("batch", "row", "frozen"))
    yield from one_of("loss.drifting.features", switches.features, ("mean", "sum"))
    yield from all_positive(config, ["loss.drifting.frozen_scale"])
    if switches.guidance < 1:
        yield f"config.loss.drifting.guidance: {switches.guidance} is below 1, which is none"
    if switches.guidance > 1 and loss.particles not in DEPTH_PARTICLES:
        yield (
            f"config.loss.drifting.guidance: is by depth, which particles {loss.particles} have none of; set it to 1, "
            f"or config.loss.particles to {' or '.join(DEPTH_PARTICLES)}"
        )
    if "mapper" in config.stages and config.stage.mapper.positions < 2 and loss.particles in STEP_PARTICLES:
        yield f"config.stage.mapper.positions: particles {loss.particles} hold the steps between two of them; give 2"
    if loss.kind != "drifting":
        standard = unconditional()
        keys = [f"loss.drifting.{key}" for key in switches]
        keys += [f"stage.{name}.affinity_floor" for name in ("generator", "mapper")]
        given, defaults = flatten(config), flatten(standard)
        for key in (key for key in keys if given[key] != defaults[key]):
            yield f"config.{key}: a loss of kind {loss.kind} has no such switch; leave {defaults[key]!r}"
    yield from _complaints_of_samples(config)


def _complaints_of_samples(config):
    kind, exclusion = config.loss.kind, config.loss.drifting.self_exclusion
    for name in ("generator", "mapper"):
        batch, negatives = config.stage[name].batch, config.stage[name].negatives
        if batch < 2 and not negatives:
            yield f"config.stage.{name}.batch: a batch of {batch} has no negatives; give 2 or more"
        if negatives < 0:
            yield f"config.stage.{name}.negatives: {negatives} must not be negative"
        if exclusion == "independent" and name in config.stages and not negatives:
            yield (
                f"config.stage.{name}.negatives: 0, but config.loss.drifting.self_exclusion independent lets nothing "
                "else repel; give as many as the batch"
            )
        if kind == "frechet" and config.stage[name].positives < 2:
            yield f"config.stage.{name}.positives: one sample has no moments for loss.kind frechet; give 2 or more"
        if kind != "drifting" and negatives:
            yield f"config.stage.{name}.negatives: a loss of kind {kind} takes none; set it to 0"


def _positive_keys(config):
    return [
        "data.spacing",
        "data.shape",
        *positive_in_every_task(config),
        *(f"model.encoder.{key}" for key in ("blocks", "groups")),
        *(f"model.generator.{key}" for key in ("code", "blocks", "groups")),
        *(f"model.mapper.{key}" for key in ("code", "hidden", "layers", "frequencies")),
        *(f"stage.encoder.{key}" for key in ("steps", "batch", "rate", "patch")),
        *(f"stage.generator.{key}" for key in ("steps", "batch", "positives", "rate")),
        *(f"stage.mapper.{key}" for key in ("steps", "batch", "positives", "positions", "rate", "chunk")),
        *("inference.chunk", "inference.deviation"),
    ]
