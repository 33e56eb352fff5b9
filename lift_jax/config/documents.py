"""Configurations as documents: validated, written as JSON, read again, compared."""

import itertools
import json
from collections.abc import Callable, Iterator

from ml_collections import ConfigDict

from lift_jax.config import generation, generation_checks, translation
from lift_jax.config.checks import FREE_SECTIONS, flatten, type_errors
from lift_jax.errors import UserError

TASKS: dict[str, tuple[Callable[[], ConfigDict], Callable[[ConfigDict], Iterator[str]]]] = {
    "translation": (translation.translation, translation.validation_errors),
    "generation": (generation.generation, generation_checks.validation_errors),
}
"""Task to its defaults, and to what yields one line for every key of a configuration that cannot work."""


def validate(config: ConfigDict) -> ConfigDict:
    """Returns the configuration, or raises UserError naming the first key that cannot work and why."""
    if not isinstance(config.get("task"), str) or config.task not in TASKS:
        raise UserError(f"config.task: {config.get('task')!r} is none of {', '.join(TASKS)}")
    defaults, errors = TASKS[config.task]
    for message in itertools.chain(type_errors(config, defaults()), errors(config)):
        raise UserError(message)
    return config


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
        task = values["task"]
        if task not in TASKS:
            raise ValueError(f"task {task!r} is none of {', '.join(TASKS)}")
        config = TASKS[task][0]()
        _update(config, values)
    except (ValueError, KeyError, TypeError, AttributeError, OverflowError, RecursionError) as error:
        raise UserError(f"{origin}: not a configuration of this version ({_first_line(error)})") from None
    return validate(config)


def to_json(config: ConfigDict) -> str:
    """The configuration as indented JSON; `from_json` gives it back (tuples pass as lists)."""
    return json.dumps(config.to_dict(), indent=2)


def differences(a: ConfigDict, b: ConfigDict) -> list[str]:
    """Dotted keys, with both values, in which two configurations differ."""
    flat_a, flat_b = flatten(a), flatten(b)
    return [
        f"{key} ({flat_a.get(key)!r} there, {flat_b.get(key)!r} here)"
        for key in sorted(flat_a | flat_b)
        if flat_a.get(key) != flat_b.get(key)
    ]


def _update(config: ConfigDict, values: dict, section: str = "") -> None:
    """Sets every key of nested `values`, all of which must exist and keep their types; lists become tuples."""
    if set(values) != set(config):
        odd = sorted(set(values) ^ set(config))
        raise KeyError(f"keys {', '.join(odd)} are missing or unknown")
    for key, value in values.items():
        if f"{section}{key}" in FREE_SECTIONS:
            with config[key].unlocked():
                config[key].update(value)
        elif isinstance(config[key], ConfigDict):
            _update(config[key], value, f"{section}{key}.")
        else:
            config[key] = tuple(value) if isinstance(value, list) else value


def _first_line(error: Exception) -> str:
    lines = str(error.args[0] if isinstance(error, KeyError) and error.args else error).splitlines()
    return lines[0] if lines else type(error).__name__
