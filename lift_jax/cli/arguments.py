"""The one argument parser: argparse, with errors of one line, nearest names, and `--config.KEY=VALUE`."""

import argparse
import textwrap
from collections.abc import Iterable, Sequence
from typing import NoReturn

from lift_jax.errors import UserError, near

OVERRIDE = "--config."

DEVICES = "cpu", "gpu", "tpu"

DTYPES = "float32", "bfloat16"

HELP_WIDTH = 100
"""Width of help."""


class Parser(argparse.ArgumentParser):
    """A parser whose errors are UserError, with the nearest option where one is mistyped.

    Options may be written with - or _ between their words. Abbreviations are refused.

    Attributes:
      takes_overrides: whether the command takes `--config.KEY=VALUE`; its `add_arguments` sets it.
    """

    def __init__(self, prog: str, **options):
        self.takes_overrides = False
        super().__init__(prog, allow_abbrev=False, formatter_class=_formatter, **options)

    def parse(self, given: Sequence[str]) -> argparse.Namespace:
        """The values of options; UserError in one line for what is not understood."""
        arguments, unknown = self.parse_known_args([_with_underscores(word) for word in given])
        if unknown:
            name = unknown[0].partition("=")[0]
            if not name.startswith("-"):
                raise UserError(f"{unknown[0]}: not an option; options begin with --; see {self.prog} --help")
            options = [option for option in self._option_string_actions if option.startswith("--")]
            hint = near(name, options) or f"; see {self.prog} --help"
            raise UserError(f"{name}: no such option{hint}")
        return arguments

    def error(self, message: str) -> NoReturn:
        """What argparse calls for values that do not fit."""
        raise UserError(f"{message.removeprefix('argument ')}; see {self.prog} --help")


def _formatter(prog: str) -> argparse.HelpFormatter:
    return argparse.RawDescriptionHelpFormatter(prog, max_help_position=30, width=HELP_WIDTH)


def _with_underscores(word: str) -> str:
    """An option with _ between the words of its name; anything else unchanged."""
    if not word.startswith("--"):
        return word
    name, separator, value = word.partition("=")
    return f"--{name[2:].replace('-', '_')}{separator}{value}"


def describe(docstring: str) -> dict[str, str]:
    """Usage, description and examples from a command's docstring, as arguments of a parser.

    The docstring is a sentence, `usage: …`, further paragraphs, and `examples:` at its end.
    """
    summary, usage, *rest = textwrap.dedent(docstring).strip().split("\n\n")
    return {
        "usage": usage.removeprefix("usage: "),
        "description": "\n\n".join([summary, *(part for part in rest if not part.startswith("examples:"))]),
        "epilog": "\n\n".join(part for part in rest if part.startswith("examples:")),
    }


def split_overrides(given: Sequence[str]) -> tuple[list[str], dict[str, str]]:
    """Options without `--config.KEY=VALUE` and `--config.KEY VALUE`, and the keys with their texts.

    Raises:
      UserError: if a key has no value.
    """
    rest, overrides = [], {}
    words = iter(given)
    for word in words:
        if not word.startswith(OVERRIDE):
            rest.append(word)
            continue
        key, separator, text = word.removeprefix(OVERRIDE).partition("=")
        value = text if separator else next(words, None)
        if value is None:
            raise UserError(f"{word}: has no value; give {word}=VALUE")
        overrides[key] = value
    return rest, overrides


def add_common_arguments(parser: Parser) -> None:
    """Options of every command."""
    parser.add_argument("--quiet", action="store_true", help="print warnings and errors only")
    parser.add_argument("--json", action="store_true", help="print a summary as JSON instead of lines")


def add_device_argument(parser: Parser) -> None:
    """The option that chooses where JAX computes."""
    parser.add_argument("--device", choices=DEVICES, help="where to compute; default: a GPU or TPU if JAX finds one")


def positive(text: str) -> int:
    """The type of an option that is a whole number of 1 or more."""
    return _at_least(1, text)


def natural(text: str) -> int:
    """The type of an option that is a whole number of 0 or more."""
    return _at_least(0, text)


def _at_least(least: int, text: str) -> int:
    try:
        number = int(text)
    except ValueError:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number") from None
    if number < least:
        raise argparse.ArgumentTypeError(f"{number} must be {least} or more")
    return number


def required(value: str | None, option: str) -> str:
    """The value of an option that must be given."""
    if not value:
        raise UserError(f"{option}: not given; see --help")
    return value


def refuse_given(arguments: argparse.Namespace, names: Iterable[str], where: str) -> None:
    """Raises UserError with a line for each option that was given and does not apply `where`."""
    given = [name for name in sorted(names) if getattr(arguments, name) not in (None, False)]
    if given:
        raise UserError("\n".join(f"--{name}: does not apply {where}; leave it out" for name in given))
