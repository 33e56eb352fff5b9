"""LiFT-C's configuration: some channels of a subject to another."""

from collections.abc import Iterator

from ml_collections import ConfigDict

from lift_jax.config.common import (
    DTYPES,
    all_positive,
    data_errors,
    not_empty,
    one_of,
    shared_defaults,
    shared_errors,
    width_errors,
)
from lift_jax.data.channels import Channels, channels_of
from lift_jax.data.datasets import BRATS_CHANNELS
from lift_jax.errors import UserError
from lift_jax.models.z_mixer import MIXER_KINDS

STAGES = ("translator", "mixer", "joint")


def translation() -> ConfigDict:
    """Defaults of LiFT-C: each target channel from any of the other sources that a subject has."""
    config = shared_defaults()
    config.task = "translation"
    data = config.data
    data.foreground_box = True  # compute the box around the foreground; else whole grids
    data.crop = (0, 0)  # rows and columns of training slices, cropped at random or padded; (0, 0) takes whole slices
    data.source_drop = 0.25  # probability that a source is withheld, one always stays
    data.gamma = 0.0  # MR sources to the power of e^N(0, gamma²): looks that the data do not hold

    config.model = model = ConfigDict()
    model.translator = ConfigDict(
        {
            "widths": (64, 128, 256, 512),  # features per resolution, finest first
            "blocks": 2,  # residual blocks per resolution
            "space_to_depth": 1,  # space-to-depth in front: 1, 2 or 4
            "products": False,  # weigh products of two sources too, at every voxel: curved maps of intensities
            "condition_features": 128,  # embedding of the available sources and the target channel
            "remat": False,  # recompute blocks in the backward pass: less memory, a third more time
            "dtype": "float32",  # of activations: float32 or bfloat16
        }
    )
    model.mixer = ConfigDict(
        {
            "kind": "gru",  # gru or convolution; or none: every slice by itself
            "hidden": 256,  # recurrent state, each direction
            "grid": 1,  # bottlenecks are pooled to grid x grid cells
            "window": 8,  # convolution: slices seen on each side
        }
    )
    config.loss = ConfigDict(
        {
            "pixel": 1.0,  # weight of L1; 0 leaves a term out
            "structure": 0.0,  # weight of L1 once scale and offset are fitted to the target
            "similarity": 0.5,  # weight of 1 - MS-SSIM of each slice
            "through_plane": 0.5,  # weight of L1 of first differences along z
            "bone": 0.0,  # extra weight of voxels of bone (above 250 HU) in the pixel term, for targets in HU
        }
    )
    config.optimizer.weight_decay = ConfigDict({"translator": 0.01, "mixer": 0.01})  # of AdamW; 0 is Adam
    config.optimizer.accumulate = 1  # parts of a device's slabs, computed one after the other: less memory
    config.stages = ("joint",)  # in order: joint, or translator then mixer
    config.stage = ConfigDict()
    for name in STAGES:
        config.stage[name] = ConfigDict(
            {
                "steps": 1000,  # of the optimizer
                "batch": 1,  # slabs a step, over all devices
                "slices": 48,  # consecutive slices of a slab
                "translator_learning_rate": 0.0 if name == "mixer" else 2e-4,  # 0 freezes
            }
        )
        if name != "translator":
            config.stage[name].mixer_learning_rate = 2e-4  # 0 freezes
    config.inference = ConfigDict(
        {
            "chunk": 8,  # the most slices on a device at a time; 0: as many as skip_cache_gib has room for
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


def validation_errors(config: ConfigDict) -> Iterator[str]:
    """Yields one line for every key that cannot work."""
    errors = list(data_errors(config.data))
    yield from errors
    if not errors:
        yield from _channel_errors(config)
    if not 0 <= config.data.source_drop < 1:
        yield f"config.data.source_drop: {config.data.source_drop} is not a probability below 1"
    stages = [name for name in config.stages if name in STAGES]
    positive = (
        *(f"stage.{name}.{key}" for name in stages for key in ("steps", "batch", "slices")),
        *("model.translator.widths", "model.translator.blocks", "model.translator.condition_features"),
        *(f"model.mixer.{key}" for key in ("hidden", "grid", "window")),
        "optimizer.accumulate",
    )
    yield from not_empty(config, ("stages",))
    yield from all_positive(config, positive)
    yield from shared_errors(config)
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
    yield from width_errors("model.translator.widths", translator.widths)
    if any(crop) and min(crop) <= 0:
        yield f"config.data.crop: {tuple(crop)} must be positive, or (0, 0) for whole slices"
    multiple = translator.space_to_depth * 2 ** (len(translator.widths) - 1)
    for side in crop:
        if side % multiple:
            yield f"config.data.crop: {side} is not a multiple of {multiple}, space_to_depth and downsampling"


def _stage_errors(config: ConfigDict) -> Iterator[str]:
    mixer, accumulate = config.model.mixer, config.optimizer.accumulate
    for name in config.stages:
        yield from one_of("stages", name, STAGES)
    if len(set(config.stages)) < len(config.stages):
        yield f"config.stages: {tuple(config.stages)} names a stage twice (flags given twice are joined)"
    if "mixer" in config.stages and mixer.kind == "none":
        yield "config.stages: there is a stage mixer, but config.model.mixer.kind is none"
    for name in (name for name in config.stages if name in STAGES):
        stage = config.stage[name]
        if accumulate > 0 and stage.batch % accumulate:
            yield f"config.optimizer.accumulate: {accumulate} does not divide config.stage.{name}.batch, {stage.batch}"
        trains_mixer = stage.get("mixer_learning_rate", 0.0) > 0 and mixer.kind != "none"
        if stage.translator_learning_rate <= 0 and not trains_mixer:
            yield f"config.stage.{name}: no part of the network has a learning rate above 0, so nothing would learn"
