"""LiFT-C's configurations: from volumes of some contrasts to another."""

from collections.abc import Iterator

from ml_collections import ConfigDict

from lift_jax.configuration.checks import DTYPES, all_positive, not_empty, one_of
from lift_jax.data.cases import CONTRASTS
from lift_jax.models.z_mixer import MIXER_KINDS

LAYOUTS = ("phantom", "brats")
STAGES = ("translator", "mixer", "joint")


def missing_mr() -> ConfigDict:
    """Defaults of LiFT-C for missing-modality MR: any contrast from any of the others."""
    config = ConfigDict()
    config.task = "missing_mr"
    config.seed = 0

    config.data = data = ConfigDict()
    data.layout = "phantom"  # phantom, or brats: <root>/<case>/<case>-{t1n,t1c,t2w,t2f}.nii.gz
    data.root = ""  # folder of the cases (brats)
    data.split_file = ""  # JSON {"train": [names], "validation": …, "test": …}; "" splits by a hash of the names
    data.spacing = 0.0  # mm; volumes are resampled to isotropic voxels of this size; 0 keeps the grid they have
    data.shape = (48, 48, 48)  # phantom: slices, rows, columns (D, H, W)
    data.phantom_seed = 0  # phantom: cases are a function of this and their index
    data.cases = ConfigDict({"train": 256, "validation": 8, "test": 32})  # phantom: sizes of the splits
    data.targets = CONTRASTS  # contrasts that are asked for in training and evaluation
    data.cache = ""  # folder of preprocessed volumes, shared between runs if named; "" is <workdir>/cache
    data.crop = (0, 0)  # rows and columns of training slices, cropped at random or padded; (0, 0) takes whole slices
    data.flip = True  # mirror left and right, every other time
    data.source_drop = 0.25  # probability that a source is withheld, one always stays
    data.gamma = 0.0  # sources to the power of e^N(0, gamma²): looks that the data do not hold
    data.threads = 2  # reading ahead

    config.model = model = ConfigDict()
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
            "kind": "gru",  # gru, or none: every slice by itself
            "hidden": 256,  # recurrent state, each direction
            "grid": 1,  # bottlenecks are pooled to grid x grid cells
            "frequencies": 6,  # Fourier features of depth
        }
    )
    model.oracle = False  # tell the network the phantom's true acquisition and gains: the ceiling of what context gives

    config.loss = ConfigDict({"pixel": 1.0, "similarity": 0.5, "through_plane": 0.5})  # weights of the terms
    config.loss.brain_weight = 0.0  # extra weight of voxels in the brain, in pixel and through-plane terms

    config.optimiser = ConfigDict(
        {
            "weight_decay": 0.01,
            "clip": 1.0,  # global gradient norm
            "warmup": 100,  # steps to the full learning rate, cosine to zero from there
            "ema": 0.999,  # decay of the averaged parameters, which inference uses
        }
    )

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
    config.log = ConfigDict({"every": 20, "validate": 500, "validation_cases": 4})  # steps; whole cases translated
    config.inference = ConfigDict(
        {
            "chunk": 8,  # slices on the device at a time
            "skip_memory": 1.0,  # GiB; skips are kept between the passes if they fit, else encoded again
        }
    )
    return config.lock()


def complaints(config: ConfigDict) -> Iterator[str]:
    """Yields one line for every key that cannot work."""
    data, translator, mixer = config.data, config.model.translator, config.model.mixer
    yield from one_of("data.layout", data.layout, LAYOUTS)
    yield from one_of("model.mixer.kind", mixer.kind, MIXER_KINDS)
    yield from one_of("model.translator.stem", translator.stem, (1, 2, 4))
    yield from one_of("model.translator.dtype", translator.dtype, DTYPES)
    for name in config.stages:
        yield from one_of("stages", name, STAGES)
    for name in data.targets:
        yield from one_of("data.targets", name, CONTRASTS)
    yield from not_empty(config, ("stages", "data.targets", "model.translator.widths"))
    yield from all_positive(config, _positive_keys(config))
    if data.layout == "brats" and not data.root:
        yield "config.data.root: not set; give the folder of the cases, --config.data.root=DIR"
    if data.layout == "phantom" and data.spacing <= 0:
        yield "config.data.spacing: the phantom needs its voxel size in mm, such as 4.0"
    if config.model.oracle and data.layout != "phantom":
        yield "config.model.oracle: only the phantom knows its true acquisition; set it to False"
    for i, width in enumerate(translator.widths):
        if width % translator.groups:
            yield f"config.model.translator.widths: entry {i}, {width}, is no multiple of groups, {translator.groups}"
    if any(data.crop) and min(data.crop) <= 0:
        yield f"config.data.crop: {tuple(data.crop)} must be positive, or (0, 0) for whole slices"
    multiple = translator.stem * 2 ** (len(translator.widths) - 1)
    for side in data.crop:
        if side % multiple:
            yield f"config.data.crop: {side} is not a multiple of {multiple}, the network's stem and halvings"
    if "mixer" in config.stages and mixer.kind == "none":
        yield "config.stages: there is a stage mixer, but config.model.mixer.kind is none"
    if not any(weight > 0 for weight in (config.loss.pixel, config.loss.similarity, config.loss.through_plane)):
        yield "config.loss: no term has a weight above 0, so nothing would be trained"
    if not 0 <= data.source_drop < 1:
        yield f"config.data.source_drop: {data.source_drop} is not a probability below 1"
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
    ]
    return [
        *stage_keys,
        *model_keys,
        "optimiser.clip",
        "checkpoint.every",
        "checkpoint.keep",
        "log.every",
        "log.validate",
        "log.validation_cases",
        "inference.chunk",
        "data.threads",
        *(f"data.cases.{split}" for split in config.data.cases),
    ]
