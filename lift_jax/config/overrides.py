"""Dotted keys of a configuration, set from values (a sweep's variants) or from texts (`--config.KEY=VALUE`)."""

import ast
from collections.abc import Iterator, Mapping

from ml_collections import ConfigDict

from lift_jax.config.checks import FREE_SECTIONS, flatten
from lift_jax.errors import UserError, near

BOOLEANS = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}


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

    A text stays one, quotes included; a boolean is true or false; numbers are Python's, so that 1e4 and 20_000 are
    some; a list is Python's, `(32, 64)`, or its entries with commas between, `32,64` or `t1n,t2w`; a section of named
    channels is Python's dictionary.

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
    """What a key holds; for a name of a section of channels a text, for such a section a dictionary."""
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
