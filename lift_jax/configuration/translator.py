"""What the configurations of LiFT-C's tasks share: network, stages, and how a run saves, logs and infers."""

from collections.abc import Iterator

from ml_collections import ConfigDict

from lift_jax.configuration.checks import (
    DTYPES,
    all_positive,
    few_resolutions,
    in_order,
    not_empty,
    one_of,
    positive_in_every_task,
)
from lift_jax.models.z_mixer import MIXER_KINDS

STAGES = ("translator", "mixer", "joint")


def network_section() -> ConfigDict:
    """Defaults of `config.model`."""
    model = ConfigDict()
    model.translator = ConfigDict(
        {
            "widths": (64, 128, 256, 512),  # features per resolution, finest first
            "blocks": 2,  # residual blocks per resolution
            "stem": 1,  # space-to-depth in front: 1, 2 or 4
            "groups": 8,  # of every GroupNorm
            "condition_features": 128,
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


def loss_section() -> ConfigDict:
    """Defaults of `config.loss`: weights of the terms; 0 leaves a term out."""
    return ConfigDict(
        {
            "pixel": 1.0,  # L1
            "similarity": 0.5,  # 1 - MS-SSIM of each slice
            "through_plane": 0.5,  # L1 of first differences along z
        }
    )


def add_run_sections(config: ConfigDict) -> None:
    """Adds the defaults of `stages`, `stage`, `checkpoint`, `log` and `inference`, in place."""
    config.stages = ("joint",)  # in order: joint, or translator then mixer
    config.stage = ConfigDict()
    for name in STAGES:
        config.stage[name] = ConfigDict(
            {
                "steps": 1000,
                "batch": 1,  # windows a step, over all devices
                "window": 48,  # consecutive slices
                "accumulate": 1,  # a device's windows are taken in this many parts, one after the other
                "translator_rate": 0.0 if name == "mixer" else 2e-4,  # learning rates; 0 freezes
                "mixer_rate": 0.0 if name == "translator" else 2e-4,
            }
        )
    config.checkpoint = ConfigDict({"every": 500, "keep": 2})  # steps; and how many are kept
    config.log = ConfigDict(
        {
            "every": 20,  # steps
            "validate": 500,  # steps
            "validation_cases": 4,  # whole cases translated
            "profile": (0, 0),  # first and last step of each stage that are traced, into tensorboard/; (0, 0) none
        }
    )
    config.inference = ConfigDict(
        {
            "chunk": 8,  # the most slices on a device at a time; 0: as many as skip_memory has room for
            "skip_memory": 1.0,  # GiB a device; features are kept between the passes if they fit, else encoded again
        }
    )


def shared_complaints(config: ConfigDict) -> Iterator[str]:
    """Yields one line for every shared key that cannot work, and for `data.crop`, which the network's size limits."""
    translator, mixer, crop = config.model.translator, config.model.mixer, config.data.crop
    yield from one_of("model.mixer.kind", mixer.kind, MIXER_KINDS)
    yield from one_of("model.translator.stem", translator.stem, (1, 2, 4))
    yield from one_of("model.translator.dtype", translator.dtype, DTYPES)
    for name in config.stages:
        yield from one_of("stages", name, STAGES)
    if len(set(config.stages)) < len(config.stages):
        yield f"config.stages: {tuple(config.stages)} names a stage twice (flags given twice are joined)"
    yield from not_empty(config, ("stages", "model.translator.widths"))
    yield from in_order(config, ("log.profile",))
    yield from all_positive(config, _positive_keys(config))
    yield from few_resolutions("model.translator.widths", translator.widths)
    for i, width in enumerate(translator.widths):
        if width % translator.groups:
            yield f"config.model.translator.widths: entry {i}, {width}, is no multiple of groups, {translator.groups}"
    if config.inference.chunk < 0:
        yield f"config.inference.chunk: {config.inference.chunk} must be a number of slices, or 0 for what fits"
    if any(crop) and min(crop) <= 0:
        yield f"config.data.crop: {tuple(crop)} must be positive, or (0, 0) for whole slices"
    multiple = translator.stem * 2 ** (len(translator.widths) - 1)
    for side in crop:
        if side % multiple:
            yield f"config.data.crop: {side} is not a multiple of {multiple}, the network's stem and halvings"
    if "mixer" in config.stages and mixer.kind == "none":
        yield "config.stages: there is a stage mixer, but config.model.mixer.kind is none"
    loss = config.loss
    if not any(weight > 0 for weight in (loss.pixel, loss.similarity, loss.through_plane)):
        yield "config.loss: no term has a weight above 0, so nothing would be trained"
    for name in config.stages:
        stage = config.stage[name]
        if stage.batch % stage.accumulate:
            yield f"config.stage.{name}.accumulate: {stage.accumulate} does not divide the batch of {stage.batch}"
        if stage.translator_rate <= 0 and (stage.mixer_rate <= 0 or mixer.kind == "none"):
            yield f"config.stage.{name}: no part of the network has a learning rate above 0, so nothing would learn"


def _positive_keys(config):
    stage_keys = [f"stage.{name}.{key}" for name in config.stages for key in ("steps", "batch", "window", "accumulate")]
    model_keys = [
        "model.translator.blocks",
        "model.translator.groups",
        "model.mixer.hidden",
        "model.mixer.grid",
        "model.mixer.frequencies",
        "model.mixer.window",
    ]
    return [
        *stage_keys,
        *model_keys,
        *positive_in_every_task(config),
    ]
