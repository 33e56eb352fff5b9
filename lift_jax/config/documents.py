"""Configurations as documents: validated, overridden, written as JSON, read again, compared."""

import ast
import itertools
import json
from collections.abc import Callable, Iterator, Mapping

from ml_collections import ConfigDict

from lift_jax.config import generation, translation
from lift_jax.config.common import FREE_SECTIONS, flatten, type_errors
from lift_jax.errors import UserError, near

BOOLEANS = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}

TASKS: dict[str, tuple[Callable[[], ConfigDict], Callable[[ConfigDict], Iterator[str]]]] = {
    "translation": (translation.translation, translation.validation_errors),
    "generation": (generation.generation, generation.validation_errors),
}
"""Task to its defaults, and to the function that yields one line for every key that cannot work."""


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


def override(config: ConfigDict, texts: Mapping[str, str]) -> ConfigDict:
    """A locked copy of a configuration with keys set from texts, as the command line gives them.

    Args:
      config: what is overridden.
      texts: dotted keys, without `config.`, to texts; see `parse_value`.

    Raises:
      UserError: a line for every key that is unknown, or whose text does not fit its type.
    """
    config = config.copy_and_resolve_references().lock()
    known = flatten(config)
    errors = []
    for key, text in texts.items():
        try:
            value = parse_value(text, _default(config, known, key))
        except ValueError as error:
            errors.append(f"config.{key}: {error}")
        else:
            errors += set_key(config, key, value)
    if errors:
        raise UserError("\n".join(errors))
    return config.lock()


def parse_value(text: str, default: object) -> object:
    """The value of a text, of the type of the default.

    A text keeps its quotes; a boolean is true or false; numbers are Python's, such as 1e4 and 20_000; a list is
    Python's, `(32, 64)`, or its entries with commas between, `32,64` or `t1n,t2w`; a section of named channels is a
    dictionary.

    Raises:
      ValueError: if the text is none of that type.
    """
    if isinstance(default, str):
        return text
    if isinstance(default, bool):
        if text.lower() not in BOOLEANS:
            raise ValueError(f"{text!r} is neither true nor false")
        return BOOLEANS[text.lower()]
    if isinstance(default, tuple | list):
        return _list(text, default)
    value = _literal(text)
    if isinstance(default, int) and isinstance(value, float) and value.is_integer():
        return int(value)
    if isinstance(default, int | float) and (isinstance(value, bool) or not isinstance(value, int | float)):
        raise ValueError(f"{text!r} is not a number, as {default!r} is")
    return value


def set_key(config: ConfigDict, key: str, value: object) -> Iterator[str]:
    """Sets a dotted key of a locked configuration in place, or yields why it cannot be set.

    A section of named channels takes new names, and a dictionary in place of all of them.
    """
    known = flatten(config)
    *sections, last = key.split(".")
    section = ".".join(sections)
    if key in FREE_SECTIONS and isinstance(value, Mapping):
        with _parent(config, sections).unlocked() as holder:
            holder[last] = ConfigDict(dict(value))
    elif section in FREE_SECTIONS and isinstance(value, str):
        with _parent(config, sections).unlocked() as holder:
            holder[last] = value
    elif key not in known:
        inner = [name for name in known if name.startswith(f"{key}.")]
        hint = f"is a section; name a key in it, such as {inner[0]}" if inner else "there is no such key"
        yield f"config.{key}: {hint}{'' if inner else near(key, known)}"
    else:
        try:
            _parent(config, sections)[last] = value
        except (TypeError, ValueError):
            yield f"config.{key}: {value!r} is no {type(known[key]).__name__}, as {known[key]!r} is"


def _parent(config: ConfigDict, sections: list[str]) -> ConfigDict:
    for section in sections:
        config = config[section]
    return config


def _default(config: ConfigDict, known: Mapping[str, object], key: str) -> object:
    """The value of a key; a text for a name in a section of named channels, a dictionary for such a section."""
    if key in FREE_SECTIONS:
        return {}
    if key.rpartition(".")[0] in FREE_SECTIONS:
        return ""
    return known.get(key, "")


def _literal(text: str) -> object:
    try:
        return ast.literal_eval(text.strip())
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        raise ValueError(f"{text!r} is not understood; give a number or a Python literal") from None


def _list(text: str, default: tuple | list) -> tuple:
    try:
        value = ast.literal_eval(text.strip())
    except (ValueError, SyntaxError, TypeError, MemoryError, RecursionError):
        value = tuple(part.strip() for part in text.split(",") if part.strip())
    value = tuple(value) if isinstance(value, tuple | list) else (value,)
    if default and not isinstance(default[0], str) and any(isinstance(entry, str) for entry in value):
        raise ValueError(f"{text!r} is no list like {tuple(default)!r}")
    return value
