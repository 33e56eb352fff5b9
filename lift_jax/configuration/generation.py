"""LiFT-U's configuration: volumes out of noise."""

from collections.abc import Iterator

from ml_collections import ConfigDict

from lift_jax.configuration.checks import DTYPES, all_positive, few_resolutions, in_order, not_empty, one_of
from lift_jax.data.cases import CONTRASTS
from lift_jax.losses.drifting import FIELDS
from lift_jax.losses.particle_losses import PARTICLE_LOSSES
from lift_jax.losses.trajectories import DEPTH_PARTICLES, PARTICLES, PLANES
from lift_jax.models.encoders import ENCODER_KINDS

LAYOUTS = ("phantom", "brats")
STAGES = ("encoder", "generator", "mapper")


def unconditional() -> ConfigDict:
    """Defaults of LiFT-U: volumes of one contrast, sampled from noise."""
    config = ConfigDict()
    config.task = "unconditional"
    config.seed = 0
    config.start_from = ""  # work directory of a trained run of the same network to begin with; "" begins at random

    config.data = data = ConfigDict()
    data.layout = "phantom"  # phantom, or brats: 128³ by WDM's protocol out of <root>/<case>/<case>-<contrast>.nii.gz
    data.root = ""  # folder of the cases (brats)
    data.split_file = ""  # JSON {"train": [names], "validation": …, "test": …}; "" splits by a hash of the names
    data.contrast = "t1n"
    data.spacing = 6.0  # phantom: voxel size, mm
    data.shape = (32, 32, 32)  # phantom: slices, rows, columns (D, H, W)
    data.phantom_seed = 0  # phantom: cases are a function of this and their index
    data.cases = ConfigDict({"train": 512, "validation": 64, "test": 64})  # phantom: sizes of the splits
    data.cache = ""  # folder of preprocessed volumes, shared between runs if named; "" is <workdir>/cache
    data.threads = 2  # reading ahead

    config.model = model = ConfigDict()
    model.encoder = ConfigDict(
        {
            "kind": "mae",  # mae: trained by stage encoder; resnet18: of ImageNet, from `weights`; random: untrained
            "widths": (16, 32, 64),  # mae, random: features per resolution, finest first
            "blocks": 1,  # mae, random: residual blocks per resolution
            "groups": 8,
            "weights": "",  # resnet18: .safetensors file
        }
    )
    model.generator = ConfigDict(
        {
            "code": 64,  # numbers in a slice code
            "widths": (128, 96, 64),  # features per resolution, coarsest first
            "blocks": 1,  # residual blocks per resolution
            "head": 2,  # depth-to-space behind: 1, 2 or 4
            "groups": 8,
            "remat": False,  # recompute blocks in the backward pass: less memory, a third more time
            "dtype": "float32",  # of activations: float32 or bfloat16
        }
    )
    model.mapper = ConfigDict(
        {
            "code": 64,  # numbers in a volume code
            "hidden": 256,
            "layers": 5,  # residual layers
            "frequencies": 4,  # Fourier features of depth
            "normalise": True,  # slice codes keep the root mean square of the generator's own inputs
        }
    )

    config.features = ConfigDict(
        {
            "grids": (1, 2, 4),  # mean and deviation of every map over g x g cells
            "local": 8,  # maps up to this side: the vector at each place; 0 none
            "pixels": 4,  # side of raw patches; 0 none
            "gradients": (1, 2, 4, 8),  # mean absolute differences of neighbouring pixels over g x g cells; () none
            "dtype": "float32",  # in which features of real volumes are kept: float32 or bfloat16
        }
    )
    config.loss = ConfigDict(
        {
            "kind": "drifting",  # drifting; or log_kde, frechet: other losses, without field and switches
            "field": "softmax",  # drifting: a name in losses.drifting.FIELDS
            "temperatures": (0.02, 0.05, 0.2),
            "annealing": 0.0,  # over a stage, temperatures fall by e to the power of this; 0 leaves them
            "drifting": ConfigDict(
                {
                    "self_exclusion": "mask",  # mask; independent: only `negatives` of a stage repel, not its batch
                    "affinity_floor": 0.0,  # least squared affinity; below 0 each field's own, as published
                    "distance_scale": "batch",  # unit of distance: batch mean, each row's own mean, or frozen
                    "frozen_scale": 1.0,  # frozen: that unit
                    "guidance": 1.0,  # mapper: above 1, real slices of all depths repel; particles slice or segment
                    "bias_correction": False,  # of means weighted by few samples
                    "normalise_force": True,  # each temperature's force to a mean square of 1
                    "features": "mean",  # mean or sum of squares over features
                }
            ),
            "particles": "segment",  # slice, segment, volume, or unordered
            "planes": ConfigDict({"axial": 1.0, "coronal": 1.0, "sagittal": 1.0}),  # weights of the mapper's terms
        }
    )
    config.optimiser = ConfigDict(
        {
            "weight_decay": 0.0,
            "clip": 1.0,  # global gradient norm
            "max_skipped": 10,  # steps without a finite loss and gradient, in a row, at which training stops
            "warmup": 100,  # steps to the full learning rate, cosine to zero from there
            "ema": 0.999,  # decay of the averaged parameters, which later stages and inference use
            "shard_state": False,  # divide optimiser state and averages over devices: less memory, the same numbers
        }
    )

    config.stages = STAGES  # in order; no stage encoder where its kind is not mae
    config.stage = ConfigDict()
    config.stage.encoder = ConfigDict(
        {
            "steps": 1000,
            "batch": 64,  # slices of all three planes a step, over all devices
            "rate": 1e-3,  # learning rate
            "patch": 4,  # side of a covered patch
            "covered": 0.5,  # part of the patches that are covered
        }
    )
    config.stage.generator = ConfigDict(
        {
            "steps": 2000,
            "batch": 128,  # generated slices a step, over all devices
            "positives": 128,  # real slices a step
            "negatives": 0,  # further generated slices a step that only repel
            "rate": 2e-4,
        }
    )
    config.stage.mapper = ConfigDict(
        {
            "steps": 1000,
            "batch": 8,  # generated volumes a step, over all devices
            "positives": 32,  # real volumes a step
            "negatives": 0,  # further generated volumes a step that only repel
            "positions": 12,  # depth positions along each plane
            "rate": 2e-4,
            "chunk": 256,  # slices that the gradient is taken through at a time
        }
    )
    config.checkpoint = ConfigDict({"every": 500, "keep": 2})  # steps; and how many are kept
    config.log = ConfigDict(
        {
            "every": 20,  # steps
            "validate": 500,  # steps
            "validation_cases": 64,  # volumes compared
            "profile": (0, 0),  # first and last step of each stage that are traced, into tensorboard/; (0, 0) none
        }
    )
    config.inference = ConfigDict({"chunk": 64})  # slices on the device at a time
    return config.lock()


def complaints(config: ConfigDict) -> Iterator[str]:
    """Yields one line for every key that cannot work."""
    data, encoder, generator = config.data, config.model.encoder, config.model.generator
    yield from one_of("data.layout", data.layout, LAYOUTS)
    yield from one_of("data.contrast", data.contrast, CONTRASTS)
    yield from one_of("model.encoder.kind", encoder.kind, ENCODER_KINDS)
    yield from one_of("model.generator.head", generator.head, (1, 2, 4))
    yield from one_of("model.generator.dtype", generator.dtype, DTYPES)
    yield from one_of("features.dtype", config.features.dtype, DTYPES)
    yield from _complaints_of_loss(config)
    yield from one_of("loss.particles", config.loss.particles, PARTICLES)
    for name in config.stages:
        yield from one_of("stages", name, STAGES)
    for plane in config.loss.planes:
        yield from one_of("loss.planes", plane, PLANES)
    lists = ("stages", "model.encoder.widths", "model.generator.widths", "features.grids", "loss.temperatures")
    yield from in_order(config, ("log.profile",))
    yield from not_empty(config, lists)
    yield from all_positive(config, (*_positive_keys(config), *lists[1:], "features.gradients"))
    if data.layout == "brats" and not data.root:
        yield "config.data.root: not set; give the folder of the cases, --config.data.root=DIR"
    if tuple(config.stages) != tuple(name for name in STAGES if name in config.stages):
        yield f"config.stages: {tuple(config.stages)} are not in the order {', '.join(STAGES)}"
    yield from _complaints_of_stages(config)
    if encoder.kind == "resnet18" and not encoder.weights:
        yield "config.model.encoder.weights: not set; give the .safetensors file of ResNet-18's weights"
    for part in ("encoder", "generator"):
        groups = config.model[part].groups
        yield from few_resolutions(f"model.{part}.widths", config.model[part].widths)
        for i, width in enumerate(config.model[part].widths):
            if width % groups:
                yield f"config.model.{part}.widths: entry {i}, {width}, is no multiple of groups, {groups}"
    if not any(weight > 0 for weight in config.loss.planes.values()):
        yield "config.loss.planes: no plane has a weight above 0, so nothing would be trained"
    if not 0 < config.stage.encoder.covered < 1:
        yield f"config.stage.encoder.covered: {config.stage.encoder.covered} is no part between 0 and 1"
    for name in ("generator", "mapper"):
        batch = config.stage[name].batch
        if batch < 2 and not config.stage[name].negatives:
            yield f"config.stage.{name}.batch: a batch of {batch} has no negatives; give 2 or more"
    if data.layout == "phantom" and config.stage.mapper.positives > data.cases.train:
        yield (
            f"config.stage.mapper.positives: {config.stage.mapper.positives} real volumes a step are asked for, but "
            f"there are {data.cases.train} (config.data.cases.train)"
        )


def _complaints_of_stages(config):
    stages, kind = config.stages, config.model.encoder.kind
    if "encoder" in stages and kind != "mae":
        yield f"config.stages: an encoder of kind {kind} is not trained; leave encoder out"
    if "encoder" in stages and config.start_from:
        yield "config.stages: the encoder is that of config.start_from; leave encoder out"
    if "encoder" not in stages and kind == "mae" and not config.start_from:
        yield "config.stages: an encoder of kind mae is trained by a stage encoder; name it"
    if "mapper" in stages and "generator" not in stages and not config.start_from:
        yield "config.stages: mapper needs a trained generator; name generator before it, or config.start_from"


def _complaints_of_loss(config):
    loss, switches = config.loss, config.loss.drifting
    yield from one_of("loss.kind", loss.kind, PARTICLE_LOSSES)
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
    for name in ("generator", "mapper"):
        negatives = config.stage[name].negatives
        if negatives < 0:
            yield f"config.stage.{name}.negatives: {negatives} must not be negative"
        if switches.self_exclusion == "independent" and name in config.stages and not negatives:
            yield (
                f"config.stage.{name}.negatives: 0, but config.loss.drifting.self_exclusion independent lets nothing "
                "else repel; give as many as the batch"
            )
        if loss.kind == "frechet" and config.stage[name].positives < 2:
            yield f"config.stage.{name}.positives: one sample has no moments for loss.kind frechet; give 2 or more"
        if loss.kind != "drifting" and negatives:
            yield f"config.stage.{name}.negatives: a loss of kind {loss.kind} takes none; set it to 0"
    if loss.kind != "drifting":
        standard = unconditional().loss.drifting
        for key in (key for key in switches if switches[key] != standard[key]):
            yield f"config.loss.drifting.{key}: a loss of kind {loss.kind} has no such switch; leave {standard[key]!r}"


def _positive_keys(config):
    return [
        "data.spacing",
        "data.shape",
        "data.threads",
        *(f"data.cases.{split}" for split in config.data.cases),
        *(f"model.encoder.{key}" for key in ("blocks", "groups")),
        *(f"model.generator.{key}" for key in ("code", "blocks", "groups")),
        *(f"model.mapper.{key}" for key in ("code", "hidden", "layers", "frequencies")),
        "optimiser.clip",
        "optimiser.max_skipped",
        *(f"stage.encoder.{key}" for key in ("steps", "batch", "rate", "patch")),
        *(f"stage.generator.{key}" for key in ("steps", "batch", "positives", "rate")),
        *(f"stage.mapper.{key}" for key in ("steps", "batch", "positives", "positions", "rate", "chunk")),
        "checkpoint.every",
        "checkpoint.keep",
        "log.every",
        "log.validate",
        "log.validation_cases",
        "inference.chunk",
    ]
