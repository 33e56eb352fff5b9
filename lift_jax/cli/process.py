"""The process of a command: JAX's environment, devices and hosts; what it prints; Ctrl-C, errors and exit status.

Lines, or a summary as JSON, go to standard output; warnings and errors to standard error.
"""

import argparse
import contextlib
import dataclasses
import json
import os
import pathlib
import shutil
import signal
import sys
import tempfile
import threading
import traceback
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence

from lift_jax.cli.arguments import Parser, natural, positive
from lift_jax.errors import DataWarning, UserError

INTERRUPTED = 130
"""Exit status after Ctrl-C, as shells have it: 128 and the number of SIGINT."""

SIMULATED_DEVICES = "xla_force_host_platform_device_count"
"""The XLA flag that makes several devices of one processor."""

LEAVING_SECONDS = 10
"""For which a process that stops early waits for the others, which may stop for the same reason."""

LOST = "Gloo", "NCCL", "coordination service", "UNAVAILABLE", "DEADLINE_EXCEEDED"
"""Words of the errors in which collectives end when another process is gone."""

PLATFORMS = {"cpu": "cpu", "gpu": "cuda,cpu", "tpu": "tpu,cpu"}
"""Value of --device to JAX_PLATFORMS; the first is where JAX computes."""


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

    def __post_init__(self) -> None:
        if self.quiet:
            os.environ["TQDM_DISABLE"] = "1"  # of this process and of those that it starts

    def say(self, line: object) -> None:
        """Prints a line at once; does nothing where nobody reads it any more (`… | head -1`)."""
        if not self.quiet:
            _print(line, sys.stderr if self.json else sys.stdout)

    def finish(self, summary: Mapping[str, object]) -> None:
        """Prints the summary, if it is asked for."""
        if self.json:
            _print(json.dumps(summary, indent=2, default=str), sys.stdout)


def guarded(command: Callable[[Sequence[str]], int], given: Sequence[str]) -> int:
    """Runs a command and returns its exit status; bad input becomes one line on standard error and status 1."""
    from absl import logging

    logging.set_verbosity(logging.ERROR)  # the libraries' chatter
    warnings.showwarning = _show_warning
    warnings.simplefilter("once", DataWarning)  # a subject that is read twice is warned of once
    try:
        return command(given)
    except BrokenPipeError:
        _close_output()  # whoever read the output has seen enough
        return 0
    except UserError as error:
        return _refuse(str(error))
    except KeyboardInterrupt as stop:
        return _refuse(str(stop) or "stopped; the same command resumes it", INTERRUPTED)
    except Exception as error:
        if not _is_one_of_many():
            raise
        return _refuse(_message_of_many(error))


@contextlib.contextmanager
def saving_interrupts() -> Iterator[Callable[[], bool]]:
    """A context in which the first Ctrl-C asks a run that can save, see `training.preemption`, to save and stop.

    The second Ctrl-C, and any before there is something to save, raises KeyboardInterrupt as ever.

    Yields:
      A function that returns whether there was a Ctrl-C.
    """
    interrupted = False

    def note(number, frame):
        nonlocal interrupted
        interrupted = True
        signal.signal(signal.SIGINT, signal.default_int_handler)
        request = signal.getsignal(signal.SIGTERM)
        if not callable(request):
            raise KeyboardInterrupt
        print("\nsaving after this step; Ctrl-C again stops at once", file=sys.stderr, flush=True)
        request(signal.SIGTERM, frame)

    before = signal.signal(signal.SIGINT, note)
    try:
        yield lambda: interrupted
    finally:
        signal.signal(signal.SIGINT, before)


def run_until_stopped(work: Callable[[], object]) -> str | None:
    """Runs work that Ctrl-C or SIGTERM asks to save and to stop; returns None if it is done, else how to go on.

    Raises:
      KeyboardInterrupt: with the same message, where it was Ctrl-C.
    """
    from lift_jax.training.watchdog import Preempted

    with saving_interrupts() as is_interrupted:
        try:
            work()
        except Preempted as stop:
            message = f"{stop}; the same command resumes from there"
            if is_interrupted():
                raise KeyboardInterrupt(message) from None
            return message
    return None


def prepare_jax(device: str | None = None) -> None:
    """Sets what JAX reads from the environment when it is imported, where the user has not; to be called before that.

    Compiled functions are kept on disk, so that the next process of the same kind starts in seconds. Simulated devices
    may outnumber cores: their collectives wait on threads that XLA counts by `NPROC`.

    Args:
      device: value of --device; None leaves the choice to JAX.
    """
    if device is not None:
        os.environ["JAX_PLATFORMS"] = PLATFORMS[device]
    if "JAX_COMPILATION_CACHE_DIR" not in os.environ and (folder := _writable_cache()):
        os.environ["JAX_COMPILATION_CACHE_DIR"] = str(folder)
    # JAX leaves out what compiles in under a second: a command has dozens of such programs, and here they add up.
    os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0.05")
    os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES", "-1")
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


def require_devices(device: str | None = None) -> None:
    """Asks JAX for its devices, which starts its backend; to be called after `join_processes`.

    Warns of an NVIDIA GPU that JAX does not use though nobody asked for another device.

    Raises:
      UserError: JAX finds no device of the kind that --device or JAX_PLATFORMS names.
    """
    import jax

    try:
        jax.devices()
    except (RuntimeError, AssertionError) as error:
        asked = f"--device={device}" if device else f"JAX_PLATFORMS={os.environ.get('JAX_PLATFORMS', '')}"
        reason = " ".join(str(error).split())[:200]
        reason = f" ({reason})" if reason else ""
        raise UserError(
            f"{asked}: JAX finds no such device{reason}; install its plugin and driver, "
            "such as pip install 'lift_jax[cuda12]', or choose --device=cpu (JAX_PLATFORMS=cpu)"
        ) from None
    if jax.default_backend() == "cpu" and has_unused_gpu():
        warnings.warn(
            "there is an NVIDIA GPU, but JAX computes on the CPU; pip install 'lift_jax[cuda12]' (or cuda13), "
            "or choose --device=cpu",
            DataWarning,
            stacklevel=2,
        )


def has_unused_gpu() -> bool:
    """Whether there is an NVIDIA GPU that nobody has hidden from JAX by JAX_PLATFORMS or CUDA_VISIBLE_DEVICES."""
    hidden = "JAX_PLATFORMS" in os.environ or os.environ.get("CUDA_VISIBLE_DEVICES", "0") in ("", "-1")
    return not hidden and has_nvidia_gpu()


def has_nvidia_gpu(driver: pathlib.Path = pathlib.Path("/proc/driver/nvidia/gpus")) -> bool:
    """Whether the NVIDIA driver shows a GPU or, where it has no such folder, nvidia-smi is installed."""
    return any(driver.iterdir()) if driver.is_dir() else shutil.which("nvidia-smi") is not None


def add_process_arguments(parser: Parser) -> None:
    """Options by which the processes of a run find each other."""
    parser.add_argument("--coordinator", metavar="HOST:PORT", help="address of process 0, in a run of several")
    parser.add_argument("--processes", type=positive, metavar="N", help="number of processes; 1: run alone")
    parser.add_argument("--process", type=natural, metavar="I", help="index of this process, from 0")
    for name, seconds, text in (
        ("join", 300, "seconds to wait for the other processes"),
        ("heartbeat", 100, "seconds of silence after which a process counts as dead"),
        ("hang", 1800, "seconds without a step after which one of several processes is ended"),
    ):
        option = f"--{name}_seconds"
        parser.add_argument(option, type=positive, default=seconds, metavar="S", help=f"{text} ({seconds})")


def join_processes(arguments: argparse.Namespace) -> None:
    """Makes this process one of a run of many, if options or environment say so; to be called before JAX is used.

    A coordinator that does not answer in time ends the process with a line that names it.
    """
    from lift_jax import hosts

    seconds = arguments.join_seconds
    coordinator = arguments.coordinator or "the cluster's coordinator"

    def give_up():
        print(f"{coordinator}: not all processes met there in {seconds} s; see --join_seconds", file=sys.stderr)
        os._exit(1)  # the main thread waits in JAX, which would end in a stack trace

    timer = threading.Timer(seconds, give_up)
    timer.start()
    try:
        hosts.join(
            arguments.coordinator,
            arguments.processes,
            arguments.process,
            seconds=seconds + LEAVING_SECONDS,
            heartbeat=arguments.heartbeat_seconds,
            hang=arguments.hang_seconds,
        )
    finally:
        timer.cancel()
    require_devices(arguments.device)


def run_folder(workdir: str | None, weights: str | None) -> os.PathLike:
    """The folder of a run: the work directory that was given, or that of weights which come with the package.

    Raises:
      UserError: neither or both were given, or there are no weights of that name.
    """
    from lift_jax.paths import resolve_path

    if workdir and not weights:
        return resolve_path(workdir)
    if weights and not workdir:
        from lift_jax.trained import NOTICE, shipped_folder

        folder = shipped_folder(weights)
        print(f"{weights}: {NOTICE}", file=sys.stderr)
        return folder
    raise UserError(f"--workdir, --weights: {'give only one of them' if workdir else 'give one of them'}; see --help")


def _refuse(message: str, status: int = 1) -> int:
    if _is_one_of_many():
        import jax

        message = f"process {jax.process_index()}: {message}"
        # JAX waits for all processes at exit, which others that wait for this one would never reach.
        timer = threading.Timer(LEAVING_SECONDS, os._exit, [status])
        timer.daemon = True
        timer.start()
    print(message, file=sys.stderr, flush=True)
    return status


def _is_one_of_many() -> bool:
    return "jax" in sys.modules and sys.modules["jax"].distributed.is_initialized()


def _message_of_many(error: Exception) -> str:
    """A line where another process is gone, else the traceback."""
    text = " ".join(str(error).split())
    if any(word in text for word in LOST):
        return (
            f"lost another process ({text[:200]}); start all again: the same command resumes from the last checkpoint"
        )
    return "".join(traceback.format_exception(error))


def _print(line: object, stream) -> None:
    try:
        print(line, file=stream, flush=True)
    except BrokenPipeError:
        _close_output()


def _close_output() -> None:
    """Discards further output, so that neither printing nor the interpreter's end meets a closed pipe."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stdout.fileno())
    os.close(nowhere)


def _show_warning(message, category, filename, lineno, file=None, line=None) -> None:
    """One line for a `DataWarning`; other warnings as Python shows them."""
    if issubclass(category, DataWarning):
        from tqdm import tqdm

        # On a terminal above a progress bar, if there is one; in a log tqdm would repeat its line.
        (tqdm.write if sys.stderr.isatty() else print)(f"warning: {message}", file=sys.stderr)
    else:
        print(warnings.formatwarning(message, category, filename, lineno, line), file=file or sys.stderr, end="")
