"""What the three commands share: how they start, and how they tell a user of bad input."""

import os
import pathlib
import sys
import warnings
from collections.abc import Callable

from absl import app, flags, logging
from ml_collections import ConfigDict
from tqdm import tqdm

from lift_jax.errors import DataWarning, UserError

SIMULATED_DEVICES = "xla_force_host_platform_device_count"
"""The XLA flag that makes several devices of one processor."""


def run(main: Callable[[], None]) -> None:
    """Runs a command; bad input becomes one line on standard error and exit status 1."""

    def guarded(arguments):
        if len(arguments) > 1:
            _refuse(f"{arguments[1]}: not understood; all options begin with --")
        try:
            main()
        except UserError as error:
            _refuse(str(error))
        except KeyboardInterrupt:
            _refuse("stopped; the same command goes on from where it was")

    logging.set_verbosity(logging.ERROR)  # the libraries' chatter
    warnings.showwarning = _show_warning
    warnings.simplefilter("once", DataWarning)  # a case that is read twice is told of once
    app.run(guarded, flags_parser=_parse_flags)


def prepare_jax() -> None:
    """Sets what JAX reads from the environment when it is imported, where the user has not; to be called before that.

    Compiled functions are kept on disk, so that the next process of the same kind starts in seconds. Simulated devices
    may outnumber cores: their collectives wait on threads that XLA counts by `NPROC`.
    """
    caches = pathlib.Path(os.environ.get("XDG_CACHE_HOME") or pathlib.Path.home() / ".cache")
    os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(caches / "lift_jax" / "compiled"))
    if SIMULATED_DEVICES in os.environ.get("XLA_FLAGS", ""):
        os.environ.setdefault("NPROC", "32")


def required_path(flag: str) -> str:
    """The value of a flag that must be given."""
    value = flags.FLAGS[flag].value
    if not value:
        raise UserError(f"--{flag}: not given; see --help")
    return value


def loaded_config(flag: flags.FlagHolder) -> ConfigDict:
    """The configuration that a config flag names; a file that cannot be loaded is told by its name."""
    if flag.value is None:
        raise UserError("--config: not given; name a file, such as --config configs/quickstart.py")
    try:
        flag.value.keys()
    except OSError as error:
        raise UserError(f"--config: {str(error).splitlines()[-1].strip()}; name a file in configs/") from None
    return flag.value


def _parse_flags(arguments):
    try:
        return flags.FLAGS(arguments)
    except (flags.Error, AttributeError, KeyError, TypeError, ValueError, OSError) as error:
        _refuse(_told(error, arguments))


def _told(error: Exception, arguments: list[str]) -> str:
    """One line out of a library's message; of a traceback inside it, the exception."""
    text = error.args[0] if isinstance(error, KeyError) and error.args else error
    lines = [line.strip() for line in str(text).replace("\\n", "\n").splitlines() if line.strip()]
    if "Traceback (most recent call last):" in lines:
        return lines[-1].split(": ", 1)[-1]
    if isinstance(error, KeyError | AttributeError):
        return f"--config: unknown key {' '.join(lines)}"
    return " ".join(lines) or type(error).__name__


def _show_warning(message, category, filename, lineno, file=None, line=None) -> None:
    """One line for what a user should look at; what concerns programmers as Python shows it."""
    if issubclass(category, DataWarning):
        tqdm.write(f"warning: {message}", file=sys.stderr)  # above a progress bar, if there is one
    else:
        print(warnings.formatwarning(message, category, filename, lineno, line), file=file or sys.stderr, end="")


def _refuse(message: str) -> None:
    print(message, file=sys.stderr)
    sys.exit(1)
