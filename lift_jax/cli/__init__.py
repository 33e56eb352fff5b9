"""The command line: `lift-jax train | evaluate | synthesize | sweep | check | view | info`.

Every command is a module of this package with its help as docstring, `add_arguments(parser)` and
`run(arguments, say) -> summary`. None of them imports JAX before it runs.

Exit status: 0 done; 1 bad input, with a line on standard error, or a fault of the program, with its traceback; 130
stopped by Ctrl-C.
"""

import importlib
import sys
from collections.abc import Sequence
from typing import NoReturn

import lift_jax
from lift_jax.cli.arguments import Parser, add_common_arguments, describe, split_overrides
from lift_jax.cli.process import Output, guarded
from lift_jax.errors import UserError, near

COMMANDS = {
    "train": "train a run, or resume it",
    "evaluate": "score a run, or predictions of any method, and write a report",
    "synthesize": "translate subjects, or sample volumes from noise",
    "sweep": "compare variants of a configuration over seeds",
    "check": "list every problem of a data set",
    "view": "show volumes in a browser",
    "info": "print versions, devices and cache folders, for bug reports",
}

HELP = f"""usage: lift-jax COMMAND [options]

LiFT in JAX: 3D medical volumes from 2D networks.

{chr(10).join(f"  {name:<12}{text}" for name, text in COMMANDS.items())}

  lift-jax COMMAND --help    options and examples of a command
  lift-jax --version

examples:
  lift-jax train --config quickstart --workdir runs/quickstart
  lift-jax evaluate --workdir runs/quickstart

exit status: 0 done, 1 bad input or a fault, 130 stopped by Ctrl-C
"""


def main(command: str | None = None) -> NoReturn:
    """Runs the command line of this process and ends it; the first argument names the command unless `command` does."""
    given = sys.argv[1:] if command is None else [command, *sys.argv[1:]]
    sys.exit(guarded(dispatch, given))


def dispatch(given: Sequence[str]) -> int:
    """Runs the command that the first of `given` names with the other ones as options; returns the exit status.

    Raises:
      UserError: bad input.
      SystemExit: after the help of a command.
    """
    if not given or given[0] in ("-h", "--help", "help"):
        print(HELP, end="")
        return 0
    if given[0] == "--version":
        print(lift_jax.__version__)
        return 0
    name, *options = given
    if name not in COMMANDS:
        raise UserError(f"{name}: no such command; there are {', '.join(COMMANDS)}{near(name, COMMANDS)}")
    module = importlib.import_module(f"lift_jax.cli.{name}")
    parser = Parser(f"lift-jax {name}", **describe(module.__doc__ or ""))
    module.add_arguments(parser)
    add_common_arguments(parser)
    options, overrides = split_overrides(options) if parser.takes_overrides else (options, {})
    arguments = parser.parse(options)
    arguments.overrides = overrides
    output = Output(quiet=arguments.quiet, json=arguments.json)
    summary = module.run(arguments, output.say)
    output.finish(summary)
    return 1 if summary.get("errors") else 0
