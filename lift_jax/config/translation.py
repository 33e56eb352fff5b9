"""LiFT-C's configuration: some channels of a subject to another."""

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
from lift_jax.config.data import data_errors, data_section
from lift_jax.data.channels import Channels, channels_of
from lift_jax.data.datasets import BRATS_CHANNELS
from lift_jax.errors import UserError
from lift_jax.models.translation.z_mixer import MIXER_KINDS

STAGES = ("translator", "mixer", "joint")


def translation() -> ConfigDict:
    """Defaults of LiFT-C: each target channel from any of the other sources that a subject has."""
    config = ConfigDict()
    config.task = "translation"  # translation or generation
    config.seed = 0  # of parameters, data order and all that is drawn
    config.start_from = ""  # work directory, or shipped weights, of the same network to begin with; "" begins at random

    config.data = data = data_section()
    data.foreground_box = True  # train in the box around the foreground; else on whole grids
    data.crop = (0, 0)  # rows and columns of training slices, cropped at random or padded; (0, 0) takes whole slices
    data.flip = True  # mirror left and right, every other time
    data.source_drop = 0.25  # probability that a source is withheld, one always stays
    data.gamma = 0.0  # MR sources to the power of e^N(0, gamma²): looks that the data do not hold

    config.model = _network_section()
    config.loss = ConfigDict(
        {
            "pixel": 1.0,  # weight of L1; 0 leaves a term out
            "structure": 0.0,  # weight of L1 once scale and offset are fitted to the target
            "similarity": 0.5,  # weight of 1 - MS-SSIM of each slice
            "through_plane": 0.5,  # weight of L1 of first differences along z
            "bone": 0.0,  # extra weight of voxels of bone (above 250 HU) in the pixel term, for targets in HU
        }
    )
    config.optimizer = ConfigDict(
        {
            "weight_decay": ConfigDict({"translator": 0.01, "mixer": 0.01}),  # of AdamW; 0 is Adam
            "clip_norm": 1.0,  # global gradient norm
            "max_nonfinite_steps": 10,  # steps without a finite loss and gradient, in a row, at which training stops
            "warmup_steps": 100,  # steps to the full learning rate, cosine to zero from there
            "ema_decay": 0.999,  # decay of the averaged parameters, which inference uses
            "shard_state": False,  # divide optimizer state and averages over devices: less memory, the same numbers
        }
    )
    config.stages = ("joint",)  # in order: joint, or translator then mixer
    config.stage = ConfigDict()
    for name in STAGES:
        config.stage[name] = ConfigDict(
            {
                "steps": 1000,  # of the optimizer
                "batch": 1,  # slabs a step, over all devices
                "slices": 48,  # consecutive slices of a slab
                "accumulate": 1,  # a device's slabs are taken in this many parts, one after the other
                "translator_learning_rate": 0.0 if name == "mixer" else 2e-4,  # 0 freezes
                "mixer_learning_rate": 0.0 if name == "translator" else 2e-4,  # 0 freezes
            }
        )
    config.checkpoint = ConfigDict({"every_steps": 500, "max_to_keep": 2})  # steps between them; how many are kept
    config.log = ConfigDict(
        {
            "every_steps": 20,  # steps between lines of the log
            "validate_every_steps": 500,  # steps between validations
            "validation_subjects": 4,  # whole subjects translated
            "profile": (0, 0),  # first and last step of each stage that are traced, into tensorboard/; (0, 0) none
        }
    )
    config.inference = ConfigDict(
        {
            "chunk": 8,  # the most slices on a device at a time; 0: as many as skip_cache_gib has room for
            "foreground_box": True,  # compute the box around the foreground; False: the whole grid
            "skip_cache_gib": 1.0,  # GiB a device; features are kept between the passes if they fit, else encoded again
        }
    )
    return config.lock()


def missing_mr() -> ConfigDict:
    """Any of BraTS's four MR channels from any of the others; on phantoms until a data set is named."""
    config = translation()
    config.data.sources = config.data.targets = tuple(BRATS_CHANNELS)
    return config


def mr_to_ct() -> ConfigDict:
    """CT in Hounsfield units from MR; on phantom heads until a data set is named."""
    config = translation()
    config.data.dataset = "phantom_head"
    config.data.sources, config.data.targets = ("mr",), ("ct",)
    config.data.subjects.update(train=144, validation=4, test=36)
    config.optimizer.weight_decay.translator = 0.0  # Adam for the translator, AdamW for the mixer
    config.stages = ("translator", "mixer")
    config.stage.translator.batch = 32
    config.stage.translator.slices = 1
    config.stage.mixer.batch = 32
    config.stage.mixer.slices = 16
    return config


def _network_section() -> ConfigDict:
    model = ConfigDict()
    model.translator = ConfigDict(
        {
            "widths": (64, 128, 256, 512),  # features per resolution, finest first
            "blocks": 2,  # residual blocks per resolution
            "space_to_depth": 1,  # space-to-depth in front: 1, 2 or 4
            "products": False,  # weigh products of two sources too, at every voxel: curved maps of intensities
            "groups": 8,  # of every GroupNorm
            "condition_features": 128,  # embedding of which sources there are and what is predicted
            "remat": False,  # recompute blocks in the backward pass: less memory, a third more time
            "dtype": "float32",  # of activations: float32 or bfloat16
        }
    )
    model.mixer = ConfigDict(
        {
            "kind": "gru",  # gru or convolution; or none: every slice by itself
            "hidden": 256,  # recurrent state, each direction
            "grid": 1,  # bottlenecks are pooled to grid x grid cells
            "frequencies": 6,  # Fourier features of depth
            "window": 8,  # convolution: slices seen on each side
        }
    )
    return model


def validation_errors(config: ConfigDict) -> Iterator[str]:
    """Yields one line for every key that cannot work."""
    errors = list(data_errors(config.data))
    yield from errors
    if not errors:
        yield from _channel_errors(config)
    if not 0 <= config.data.source_drop < 1:
        yield f"config.data.source_drop: {config.data.source_drop} is not a probability below 1"
    yield from not_empty(config, ("stages", "model.translator.widths"))
    yield from in_order(config, ("log.profile",))
    yield from all_positive(config, _positive_keys(config))
    yield from _network_errors(config)
    yield from _stage_errors(config)
    if config.inference.chunk < 0:
        yield f"config.inference.chunk: {config.inference.chunk} must be a number of slices, or 0 for what fits"


def _channel_errors(config: ConfigDict) -> Iterator[str]:
    try:
        channels: Channels = channels_of(config.data)
    except UserError as error:
        yield from str(error).splitlines()
        return
    loss = config.loss
    if not any(weight > 0 for weight in (loss.pixel, loss.similarity, loss.through_plane)):
        yield "config.loss: no term has a weight above 0, so nothing would be trained"
    if loss.bone < 0:
        yield f"config.loss.bone: {loss.bone} must not be negative"
    if loss.bone > 0 and all(channels.protocols[target].unit != "HU" for target in channels.targets):
        yield f"config.loss.bone: {loss.bone}, but no target is in HU; set it to 0"


def _network_errors(config: ConfigDict) -> Iterator[str]:
    translator, mixer, crop = config.model.translator, config.model.mixer, config.data.crop
    yield from one_of("model.mixer.kind", mixer.kind, MIXER_KINDS)
    yield from one_of("model.translator.space_to_depth", translator.space_to_depth, (1, 2, 4))
    yield from one_of("model.translator.dtype", translator.dtype, DTYPES)
    yield from few_resolutions("model.translator.widths", translator.widths)
    for i, width in enumerate(translator.widths):
        if width % translator.groups:
            yield f"config.model.translator.widths: entry {i}, {width}, is no multiple of groups, {translator.groups}"
    if any(crop) and min(crop) <= 0:
        yield f"config.data.crop: {tuple(crop)} must be positive, or (0, 0) for whole slices"
    multiple = translator.space_to_depth * 2 ** (len(translator.widths) - 1)
    for side in crop:
        if side % multiple:
            yield f"config.data.crop: {side} is not a multiple of {multiple}, the network's stem and halvings"


def _stage_errors(config: ConfigDict) -> Iterator[str]:
    mixer = config.model.mixer
    for name in config.stages:
        yield from one_of("stages", name, STAGES)
    if len(set(config.stages)) < len(config.stages):
        yield f"config.stages: {tuple(config.stages)} names a stage twice (flags given twice are joined)"
    if "mixer" in config.stages and mixer.kind == "none":
        yield "config.stages: there is a stage mixer, but config.model.mixer.kind is none"
    for name in (name for name in config.stages if name in STAGES):
        stage = config.stage[name]
        if stage.accumulate > 0 and stage.batch % stage.accumulate:
            yield f"config.stage.{name}.accumulate: {stage.accumulate} does not divide the batch of {stage.batch}"
        if stage.translator_learning_rate <= 0 and (stage.mixer_learning_rate <= 0 or mixer.kind == "none"):
            yield f"config.stage.{name}: no part of the network has a learning rate above 0, so nothing would learn"


def _positive_keys(config: ConfigDict) -> list[str]:
    stages = [name for name in config.stages if name in STAGES]
    return [
        *(f"stage.{name}.{key}" for name in stages for key in ("steps", "batch", "slices", "accumulate")),
        *(f"model.translator.{key}" for key in ("blocks", "groups", "condition_features")),
        *(f"model.mixer.{key}" for key in ("hidden", "grid", "frequencies", "window")),
        *positive_in_every_task(config),
    ]
