"""The configuration of a run: every key with its default, and what is refused at start.

A config file holds `get_config(variant="") -> ConfigDict`, begins with `missing_mr()` and sets what its experiment
decides. Keys can be overridden on the command line (`--config.stage.joint.steps=100`).
"""

import json

import ml_collections
from ml_collections import ConfigDict

from lift_jax.data.cases import CONTRASTS, ORACLES
from lift_jax.errors import UserError
from lift_jax.models.z_mixer import MIXER_KINDS

LAYOUTS = ("phantom", "brats")
STAGES = ("translator", "mixer", "joint")
DTYPES = ("float32", "bfloat16")


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
    model.oracle = ""  # phantom: tell the network its true gains and shared "acquisition", or tissue "levels"

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


def from_json(text: str, origin: str) -> ConfigDict:
    """A configuration from the JSON of an earlier run.

    Args:
      text: what `to_json` wrote.
      origin: the file's name, for messages.

    Raises:
      UserError: if the text is not JSON, or holds other keys than this version knows.
    """
    try:
        values = json.loads(text)
        config = missing_mr()
        _update(config, values)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UserError(f"{origin}: not a configuration of this version ({_first_line(error)})") from None
    return validate(config)


def to_json(config: ConfigDict) -> str:
    """The configuration as indented JSON; `from_json` gives it back (tuples pass as lists)."""
    return json.dumps(config.to_dict(), indent=2)


def differences(a: ConfigDict, b: ConfigDict) -> list[str]:
    """Dotted keys, with both values, in which two configurations differ."""
    flat_a, flat_b = _flatten(a), _flatten(b)
    return [
        f"{key} ({flat_a.get(key)!r} there, {flat_b.get(key)!r} here)"
        for key in sorted(flat_a | flat_b)
        if flat_a.get(key) != flat_b.get(key)
    ]


def validate(config: ConfigDict) -> ConfigDict:
    """Returns the configuration, or raises UserError naming the first key that cannot work and why."""
    for message in _complaints(config):
        raise UserError(message)
    return config


def _complaints(config):
    """Yields one line for every key that cannot work."""
    data, translator, mixer = config.data, config.model.translator, config.model.mixer

    def one_of(key, value, allowed):
        if value not in allowed:
            yield f"config.{key}: {value!r} is none of {', '.join(map(str, allowed))}"

    yield from one_of("task", config.task, ("missing_mr",))
    yield from one_of("data.layout", data.layout, LAYOUTS)
    yield from one_of("model.mixer.kind", mixer.kind, MIXER_KINDS)
    yield from one_of("model.oracle", config.model.oracle, ORACLES)
    yield from one_of("model.translator.stem", translator.stem, (1, 2, 4))
    yield from one_of("model.translator.dtype", translator.dtype, DTYPES)
    for name in config.stages:
        yield from one_of("stages", name, STAGES)
    for name in data.targets:
        yield from one_of("data.targets", name, CONTRASTS)
    for key, value in (
        ("stages", config.stages),
        ("data.targets", data.targets),
        ("model.translator.widths", translator.widths),
    ):
        if not value:
            yield f"config.{key}: empty; name at least one"
    for key in _positive_keys(config):
        value = _flatten(config)[key]
        if value <= 0:
            yield f"config.{key}: {value} must be positive"
    if data.layout == "brats" and not data.root:
        yield "config.data.root: not set; give the folder of the cases, --config.data.root=DIR"
    if data.layout == "phantom" and data.spacing <= 0:
        yield "config.data.spacing: the phantom needs its voxel size in mm, such as 4.0"
    if config.model.oracle and data.layout != "phantom":
        yield "config.model.oracle: only the phantom knows its true acquisition; set it to ''"
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


def _update(config: ConfigDict, values: dict) -> None:
    """Sets every key of nested `values`, all of which must exist and keep their types; lists become tuples."""
    if set(values) != set(config):
        odd = sorted(set(values) ^ set(config))
        raise KeyError(f"keys {', '.join(odd)} are missing or unknown")
    for key, value in values.items():
        if isinstance(config[key], ConfigDict):
            _update(config[key], value)
        else:
            config[key] = tuple(value) if isinstance(value, list) else value


def _flatten(config: ConfigDict, prefix: str = "") -> dict:
    flat = {}
    for key, value in config.items():
        if isinstance(value, ml_collections.ConfigDict):
            flat |= _flatten(value, f"{prefix}{key}.")
        else:
            flat[prefix + key] = tuple(value) if isinstance(value, list | tuple) else value
    return flat


def _first_line(error: Exception) -> str:
    return str(error).strip("'\"").splitlines()[0] if str(error) else type(error).__name__
