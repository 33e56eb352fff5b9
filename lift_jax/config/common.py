"""What configurations of all tasks share: default sections, and checks that yield one line for each error."""

import math
from collections.abc import Iterable, Iterator

from ml_collections import ConfigDict

from lift_jax.data.channels import protocols_of
from lift_jax.data.datasets import DATASETS
from lift_jax.errors import UserError, near

DTYPES = ("float32", "bfloat16")

PHANTOMS = ("phantom", "phantom_head")
"""Data sets that are simulated on demand."""

LENGTHS = {"data.size": 3, "data.crop": 2, "data.hu_range": 2, "log.profile": 2}
"""Keys whose lists have a fixed length."""

FREE_SECTIONS = ("data.channels", "data.suffixes")
"""Sections whose keys are the user's, with texts as values."""

MAX_RESOLUTIONS = 12
"""Most resolutions of a network, each half the one before."""


def shared_defaults() -> ConfigDict:
    """Defaults of the keys that all tasks have."""
    config = ConfigDict()
    config.task = ""  # translation or generation
    config.seed = 0  # of parameters, data order and all random numbers
    config.start_from = ""  # work directory, or shipped weights, of the same network to begin with; "" begins at random

    config.data = data = ConfigDict()
    data.dataset = "phantom"  # phantom, phantom_head; brats, synthrad2023, synthrad2025, bids, files or manifest
    data.root = ""  # folder of the subjects; of a manifest, what its relative paths start from
    data.pattern = ""  # files: such as "{subject}/{subject}_{channel}.nii.gz"
    data.manifest = ""  # manifest: CSV with the columns subject and one for each channel
    data.suffixes = ConfigDict()  # files, bids: words in file names, such as {"T1": "T1w"}; else the channel's name
    data.channels = ConfigDict()  # channel to intensity protocol; empty: those of the data set
    data.sources = ()  # channels to translate from, in the order of the network; () is all
    data.targets = ()  # channels to predict; () is all
    data.hu_range = (-1024.0, 3000.0)  # of CT and CBCT: what is clipped to, -1 and 1 of the network
    data.spacing = 0.0  # mm; subjects are resampled to isotropic voxels of this size; 0 keeps the grid of the files
    data.size = (0, 0, 0)  # slices, rows, columns (D, H, W) of the grid; zeros keep the field of view
    data.split_file = ""  # JSON {"train": [names], "validation": …, "test": …}; "": by a hash of the patients
    data.phantom_seed = 0  # phantoms are a function of this and their index
    data.subjects = ConfigDict({"train": 256, "validation": 8, "test": 32})  # phantoms: sizes of the splits
    data.cache = ""  # folder of preprocessed volumes, shared between runs if named; "" is <workdir>/cache
    data.threads = 2  # reading ahead

    config.optimizer = ConfigDict(
        {
            "clip_norm": 1.0,  # global gradient norm
            "max_nonfinite_steps": 10,  # steps without a finite loss and gradient, in a row, at which training stops
            "warmup_steps": 100,  # steps to the full learning rate, cosine to zero from there
            "ema_decay": 0.999,  # decay of the averaged parameters, which later stages and inference use
            "shard_state": False,  # divide optimizer state and averages over devices: less memory, the same numbers
        }
    )
    config.checkpoint = ConfigDict(
        {
            "every_steps": 500,  # steps between checkpoints
            "max_to_keep": 2,  # newest checkpoints that are kept
        }
    )
    config.log = ConfigDict(
        {
            "every_steps": 20,  # steps between lines of the log
            "validate_every_steps": 500,  # steps between validations
            "validation_subjects": 4,  # whole subjects of a validation
            "profile": (0, 0),  # first and last step of each stage that are traced, into tensorboard/; (0, 0) none
        }
    )
    return config


def shared_errors(config: ConfigDict) -> Iterator[str]:
    """Yields one line for every shared key that cannot work."""
    keys = (
        *("data.threads", *(f"data.subjects.{split}" for split in config.data.subjects)),
        *("optimizer.clip_norm", "optimizer.max_nonfinite_steps", "checkpoint.every_steps", "checkpoint.max_to_keep"),
        *("log.every_steps", "log.validate_every_steps", "log.validation_subjects"),
    )
    yield from all_positive(config, keys)
    first, last = config.log.profile
    if not 0 <= first <= last:
        yield f"config.log.profile: {(first, last)} are no first and last; the second must not be less"


def data_errors(data: ConfigDict) -> Iterator[str]:
    """Yields one line for every key of the section `data` that cannot work."""
    try:
        protocols_of(data)
    except UserError as error:
        yield from str(error).splitlines()
    if data.dataset in PHANTOMS:
        if data.spacing <= 0:
            yield "config.data.spacing: a phantom needs its voxel size in mm, such as 4.0"
        if min(data.size) <= 0:
            yield f"config.data.size: {tuple(data.size)}: a phantom needs three sides, such as (48, 48, 48)"
    else:
        if min(data.size) < 0 or 0 < sum(side > 0 for side in data.size) < 3:
            yield f"config.data.size: {tuple(data.size)} must be three sides, or (0, 0, 0) for those of the files"
        if data.spacing < 0:
            yield f"config.data.spacing: {data.spacing} must be a voxel size in mm, or 0 for that of the files"
        if data.dataset == "manifest" and not data.manifest:
            yield "config.data.manifest: not set; give the CSV file, --config.data.manifest=FILE"
        elif data.dataset in DATASETS and data.dataset != "manifest" and not data.root:
            yield "config.data.root: not set; give the folder of the subjects, --config.data.root=DIR"
        if data.dataset == "files" and "{subject}" not in data.pattern:
            yield f"config.data.pattern: {data.pattern!r} has no {{subject}}; give one, {{subject}}_{{channel}}.nii.gz"


def type_errors(config: ConfigDict, defaults: ConfigDict) -> Iterator[str]:
    """Yields a line for other keys than the defaults', values of another type, numbers that are none or beyond 64 bits.

    Without any, all other checks can compare, divide and print the values.
    """
    flat, expected = flatten(config), flatten(defaults)
    for key in [key for key in flat if key.startswith(tuple(f"{section}." for section in FREE_SECTIONS))]:
        value = flat.pop(key)
        if not isinstance(value, str):
            yield f"config.{key}: {_shown(value)} does not fit; give a text"
    odd = sorted(set(flat) ^ set(expected))
    if odd:
        message = f"has other keys than this configuration ({', '.join(odd[:3])}); begin with its defaults"
        yield f"config.task: {config.task!r} {message}"
    for key in expected:
        default, value = expected[key], flat[key]
        if isinstance(default, tuple):
            like = default[0] if default else "t1n"  # lists that are empty by default are of names
            kind = f"a list of values like {like!r}"
            fits = isinstance(value, tuple) and all(_fits(entry, like) for entry in value)
        else:
            kind, fits = f"a value like {default!r}", _fits(value, default)
        if not fits:
            yield f"config.{key}: {_shown(value)} does not fit; give {kind}"
        elif len(value if key in LENGTHS else ()) != LENGTHS.get(key, 0):
            yield f"config.{key}: {value} has {len(value)} entries; give {LENGTHS[key]}"


def _fits(value, default) -> bool:
    if isinstance(default, bool) or isinstance(value, bool):
        return isinstance(default, bool) and isinstance(value, bool)
    if isinstance(default, str):
        return isinstance(value, str) and "\0" not in value
    if isinstance(default, float) and isinstance(value, float):
        return math.isfinite(value)
    return isinstance(value, int) and -(2**63) <= value < 2**63


def _shown(value) -> str:
    """A value of any type in one short line."""
    try:
        text = repr(value)
    except ValueError:  # an integer of thousands of digits
        text = "a number"
    return text if len(text) < 60 else f"{text[:57]}..."


def one_of(key: str, value, allowed: Iterable) -> Iterator[str]:
    """Yields a line if a value is none of the allowed ones."""
    if value not in allowed:
        yield f"config.{key}: {value!r} is none of {', '.join(map(str, allowed))}{near(value, allowed)}"


def width_errors(key: str, widths: tuple) -> Iterator[str]:
    """Yields a line if a network has no resolution, or more than any image can be halved to."""
    if not widths:
        yield f"config.{key}: empty; name at least one"
    if len(widths) > MAX_RESOLUTIONS:
        yield f"config.{key}: {len(widths)} resolutions are more than {MAX_RESOLUTIONS}"


def all_positive(config: ConfigDict, keys: Iterable[str]) -> Iterator[str]:
    """Yields a line for dotted keys whose number, or one of whose numbers, is not above 0."""
    flat = flatten(config)
    for key in keys:
        value = flat[key]
        if not all(number > 0 for number in (value if isinstance(value, tuple) else (value,))):
            yield f"config.{key}: {value} must be positive"


def not_empty(config: ConfigDict, keys: Iterable[str]) -> Iterator[str]:
    """Yields a line for dotted keys with empty lists."""
    flat = flatten(config)
    for key in keys:
        if not flat[key]:
            yield f"config.{key}: empty; name at least one"


def flatten(config: ConfigDict, prefix: str = "") -> dict:
    """Dotted keys to values, lists as tuples."""
    flat: dict[str, object] = {}
    for key, value in config.items():
        if isinstance(value, ConfigDict):
            flat |= flatten(value, f"{prefix}{key}.")
        else:
            flat[prefix + key] = tuple(value) if isinstance(value, list | tuple) else value
    return flat
