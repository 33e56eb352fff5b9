"""What the validation of every task shares: checks that yield one line for each key that cannot work."""

from collections.abc import Iterable, Iterator

from ml_collections import ConfigDict

DTYPES = ("float32", "bfloat16")


def one_of(key: str, value, allowed: Iterable) -> Iterator[str]:
    """Complains of a value that is none of the allowed ones."""
    if value not in allowed:
        yield f"config.{key}: {value!r} is none of {', '.join(map(str, allowed))}"


def all_positive(config: ConfigDict, keys: Iterable[str]) -> Iterator[str]:
    """Complains of dotted keys whose numbers, or one of whose numbers, are not above 0."""
    flat = flatten(config)
    for key in keys:
        value = flat[key]
        if not all(number > 0 for number in (value if isinstance(value, tuple) else (value,))):
            yield f"config.{key}: {value} must be positive"


def not_empty(config: ConfigDict, keys: Iterable[str]) -> Iterator[str]:
    """Complains of dotted keys that hold nothing."""
    flat = flatten(config)
    for key in keys:
        if not flat[key]:
            yield f"config.{key}: empty; name at least one"


def flatten(config: ConfigDict, prefix: str = "") -> dict:
    """Dotted keys to values, lists as tuples."""
    flat = {}
    for key, value in config.items():
        if isinstance(value, ConfigDict):
            flat |= flatten(value, f"{prefix}{key}.")
        else:
            flat[prefix + key] = tuple(value) if isinstance(value, list | tuple) else value
    return flat
