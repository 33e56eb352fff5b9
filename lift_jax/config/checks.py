"""What the validation of every task shares: checks that yield one line for each key that cannot work."""

import math
from collections.abc import Iterable, Iterator

from ml_collections import ConfigDict

from lift_jax.errors import near

DTYPES = ("float32", "bfloat16")

LENGTHS = {"data.size": 3, "data.crop": 2, "data.hu_range": 2, "log.profile": 2}
"""Keys whose lists have a length of their own; the other lists are as long as wanted."""

FREE_SECTIONS = ("data.channels", "data.suffixes")
"""Sections whose keys are the user's, with texts as values."""

MAX_RESOLUTIONS = 12
"""Resolutions of a network, each half the one before: the coarsest pixel of so many is 2048 fine ones wide."""


def type_errors(config: ConfigDict, defaults: ConfigDict) -> Iterator[str]:
    """Complains of other keys than the defaults', values of another type, numbers that are none or beyond 64 bits.

    What passes can be compared, divided and printed by all other checks.
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
    """A value of any type as some words of one line."""
    try:
        text = repr(value)
    except ValueError:  # an integer of thousands of digits
        text = "a number"
    return text if len(text) < 60 else f"{text[:57]}..."


def one_of(key: str, value, allowed: Iterable) -> Iterator[str]:
    """Complains of a value that is none of the allowed ones."""
    if value not in allowed:
        yield f"config.{key}: {value!r} is none of {', '.join(map(str, allowed))}{near(value, allowed)}"


def few_resolutions(key: str, widths: tuple) -> Iterator[str]:
    """Complains of a network that halves its images more often than any image can be halved."""
    if len(widths) > MAX_RESOLUTIONS:
        yield f"config.{key}: {len(widths)} resolutions are more than {MAX_RESOLUTIONS}"


def all_positive(config: ConfigDict, keys: Iterable[str]) -> Iterator[str]:
    """Complains of dotted keys whose numbers, or one of whose numbers, are not above 0."""
    flat = flatten(config)
    for key in keys:
        value = flat[key]
        if not all(number > 0 for number in (value if isinstance(value, tuple) else (value,))):
            yield f"config.{key}: {value} must be positive"


def positive_in_every_task(config: ConfigDict) -> list[str]:
    """Dotted keys that configurations of all tasks have, for `all_positive`."""
    return [
        "data.threads",
        *(f"data.subjects.{split}" for split in config.data.subjects),
        "optimizer.clip_norm",
        "optimizer.max_nonfinite_steps",
        "checkpoint.every_steps",
        "checkpoint.max_to_keep",
        "log.every_steps",
        "log.validate_every_steps",
        "log.validation_subjects",
    ]


def in_order(config: ConfigDict, keys: Iterable[str]) -> Iterator[str]:
    """Complains of dotted keys of two numbers of which the second is less than the first, or any below 0."""
    flat = flatten(config)
    for key in keys:
        first, last = flat[key]
        if not 0 <= first <= last:
            yield f"config.{key}: {(first, last)} are no first and last; the second must not be less"


def not_empty(config: ConfigDict, keys: Iterable[str]) -> Iterator[str]:
    """Complains of dotted keys that hold nothing."""
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
