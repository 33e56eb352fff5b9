"""What the three commands share: how they start, and how they tell a user of bad input."""

import os
import pathlib
import sys
import tempfile
import threading
import traceback
import warnings
from collections.abc import Callable

from absl import app, flags, logging
from ml_collections import ConfigDict
from tqdm import tqdm

from lift_jax.errors import DataWarning, UserError

SIMULATED_DEVICES = "xla_force_host_platform_device_count"
"""The XLA flag that makes several devices of one processor."""

LEAVING_SECONDS = 10
"""For which a process that stops early waits for the others, which may stop for the same reason."""

LOST = "Gloo", "NCCL", "coordination service", "UNAVAILABLE", "DEADLINE_EXCEEDED"
"""Words of the errors in which collectives end when another process is gone."""


def run(main: Callable[[], None]) -> None:
    """Runs a command; bad input becomes one line on standard error and exit status 1."""

    def guarded(arguments):
        if len(arguments) > 1:
            _refuse(f"{arguments[1]}: not understood; all options begin with --")
        try:
            main()
        except BrokenPipeError:
            _close_output()  # whoever read the output has seen enough
        except UserError as error:
            _refuse(str(error))
        except KeyboardInterrupt:
            _refuse("stopped; the same command goes on from where it was")
        except Exception as error:
            if not _is_one_of_many():
                raise
            _refuse(_told_of_many(error))

    logging.set_verbosity(logging.ERROR)  # the libraries' chatter
    warnings.showwarning = _show_warning
    warnings.simplefilter("once", DataWarning)  # a case that is read twice is told of once
    app.run(guarded, flags_parser=_parse_flags)


def prepare_jax() -> None:
    """Sets what JAX reads from the environment when it is imported, where the user has not; to be called before that.

    Compiled functions are kept on disk, so that the next process of the same kind starts in seconds. Simulated devices
    may outnumber cores: their collectives wait on threads that XLA counts by `NPROC`.
    """
    if "JAX_COMPILATION_CACHE_DIR" not in os.environ and (folder := _writable_cache()):
        os.environ["JAX_COMPILATION_CACHE_DIR"] = str(folder)
    if SIMULATED_DEVICES in os.environ.get("XLA_FLAGS", ""):
        os.environ.setdefault("NPROC", "32")


def _writable_cache() -> pathlib.Path | None:
    """A folder for compiled functions: the user's cache, or, where that cannot be written, a private temporary one."""
    user = pathlib.Path(os.environ.get("XDG_CACHE_HOME") or pathlib.Path(os.path.expanduser("~")) / ".cache")
    temporary = pathlib.Path(tempfile.gettempdir()) / f"lift_jax-{os.getuid()}"
    for root in (user, temporary):
        folder = root / "lift_jax" / "compiled"
        try:
            root.mkdir(mode=0o700, parents=True, exist_ok=True)
            if root == temporary and root.stat().st_uid != os.getuid():
                continue  # another user's folder under our name
            folder.mkdir(parents=True, exist_ok=True)
            with tempfile.TemporaryFile(dir=folder):
                return folder
        except OSError:
            continue
    return None


def say(line: object) -> None:
    """Prints a line of output at once; goes on in silence where nobody reads it any more (`… | head -1`)."""
    try:
        print(line, flush=True)
    except BrokenPipeError:
        _close_output()


def _close_output() -> None:
    """Sends what is still printed nowhere, so that neither printing nor the interpreter's end meets a closed pipe."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)


def check_devices() -> None:
    """Asks JAX for its devices, which starts its backend; to be called after `join_processes`.

    Raises:
      UserError: JAX finds no device of the kind that JAX_PLATFORMS names.
    """
    import jax

    try:
        jax.devices()
    except (RuntimeError, AssertionError) as error:
        asked = os.environ.get("JAX_PLATFORMS", "")
        reason = " ".join(str(error).split())[:200]
        reason = f" ({reason})" if reason else ""
        raise UserError(
            f"JAX_PLATFORMS={asked}: JAX finds no such device{reason}; install its plugin and driver, "
            "or set JAX_PLATFORMS=cpu"
        ) from None


def define_host_flags() -> None:
    """Defines the flags by which the processes of a run find each other."""
    flags.DEFINE_string("coordinator", None, "HOST:PORT of process 0, for a run of several processes")
    flags.DEFINE_integer("processes", None, "how many processes there are; 1: alone, whatever the environment shows", 1)
    flags.DEFINE_integer("process", None, "number of this one, from 0", 0)
    flags.DEFINE_integer("join_seconds", 300, "seconds to wait for the other processes", 1)
    flags.DEFINE_integer("heartbeat_seconds", 100, "seconds of silence after which a process counts as dead", 1)
    flags.DEFINE_integer("hang_seconds", 1800, "seconds without a step after which a process of many is ended", 1)


def join_processes() -> None:
    """Makes this process one of a run of many, if flags or environment say so; to be called before JAX is used.

    A coordinator that does not answer in time ends the process with a line that names it.
    """
    from lift_jax import hosts

    values = flags.FLAGS
    coordinator, seconds = values.coordinator or "the cluster's coordinator", values.join_seconds

    def give_up():
        print(f"{coordinator}: not all processes met there in {seconds} s; see --join_seconds", file=sys.stderr)
        os._exit(1)  # the main thread waits in JAX, which would end in a stack trace

    timer = threading.Timer(seconds, give_up)
    timer.start()
    try:
        hosts.join(
            values.coordinator,
            values.processes,
            values.process,
            seconds=seconds + LEAVING_SECONDS,
            heartbeat=values.heartbeat_seconds,
            hang=values.hang_seconds,
        )
    finally:
        timer.cancel()
    check_devices()


def is_first() -> bool:
    """Whether this process speaks for all."""
    from lift_jax import hosts

    return hosts.is_first()


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
    if _is_one_of_many():
        import jax

        message = f"process {jax.process_index()}: {message}"
        # JAX waits for all processes at exit, which others that wait for this one would never reach.
        timer = threading.Timer(LEAVING_SECONDS, os._exit, [1])
        timer.daemon = True
        timer.start()
    print(message, file=sys.stderr, flush=True)
    sys.exit(1)


def _is_one_of_many() -> bool:
    return "jax" in sys.modules and sys.modules["jax"].distributed.is_initialized()


def _told_of_many(error: Exception) -> str:
    """A line where another process is gone, else the traceback."""
    text = " ".join(str(error).split())
    if any(word in text for word in LOST):
        return (
            f"lost another process ({text[:200]}); start all again: the same command goes on from the last checkpoint"
        )
    return "".join(traceback.format_exception(error))
