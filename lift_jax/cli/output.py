"""What a command says: lines, or a summary as JSON, on standard output; warnings and errors on standard error."""

import dataclasses
import json
import os
import sys
import warnings
from collections.abc import Callable, Mapping

from lift_jax.errors import DataWarning

Say = Callable[[object], None]
"""Prints a line of output."""


@dataclasses.dataclass(frozen=True)
class Output:
    """Where the output of a command goes.

    Attributes:
      quiet: leave out lines and progress.
      json: print the summary as JSON, and lines, unless quiet, on standard error.
    """

    quiet: bool = False
    json: bool = False

    def __post_init__(self):
        if self.quiet:
            os.environ["TQDM_DISABLE"] = "1"  # of this process and of those that it starts

    def say(self, line: object) -> None:
        """Prints a line at once; goes on in silence where nobody reads it any more (`… | head -1`)."""
        if not self.quiet:
            _print(line, sys.stderr if self.json else sys.stdout)

    def finish(self, summary: Mapping[str, object]) -> None:
        """Prints the summary, if it is asked for."""
        if self.json:
            _print(json.dumps(summary, indent=2, default=str), sys.stdout)


def _print(line: object, stream) -> None:
    try:
        print(line, file=stream, flush=True)
    except BrokenPipeError:
        close_output()


def close_output() -> None:
    """Sends what is still printed nowhere, so that neither printing nor the interpreter's end meets a closed pipe."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)


def show_warning(message, category, filename, lineno, file=None, line=None) -> None:
    """One line for what a user should look at; what concerns programmers as Python shows it."""
    if issubclass(category, DataWarning):
        from tqdm import tqdm

        # On a terminal above a progress bar, if there is one; in a log tqdm would repeat its line.
        (tqdm.write if sys.stderr.isatty() else print)(f"warning: {message}", file=sys.stderr)
    else:
        print(warnings.formatwarning(message, category, filename, lineno, line), file=file or sys.stderr, end="")
