"""Print versions, devices, memory and folders, for bug reports.

usage: lift-jax info [options]

examples:
  lift-jax info
  lift-jax info --json > info.json
"""

import importlib.metadata
import os
import pathlib
import platform
import sys

import lift_jax
from lift_jax.cli.arguments import Parser, add_device_argument
from lift_jax.cli.process import Say, has_nvidia_gpu, prepare_jax, require_devices

PACKAGES = "jax", "jaxlib", "flax", "optax", "orbax-checkpoint", "grain", "numpy", "scipy", "nibabel", "ml-collections"

VARIABLES = "JAX_PLATFORMS", "XLA_FLAGS", "CUDA_VISIBLE_DEVICES", "XLA_PYTHON_CLIENT_MEM_FRACTION"
"""Of the environment, what decides where and how JAX computes."""


def add_arguments(parser: Parser) -> None:
    """The options of the command."""
    add_device_argument(parser)


def run(arguments, say: Say) -> dict:
    """Collects and prints all of it."""
    prepare_jax(arguments.device)
    require_devices(arguments.device)
    info = {
        "lift_jax": lift_jax.__version__,
        "python": f"{platform.python_version()} ({sys.executable})",
        "system": platform.platform(),
        "cpu": f"{os.cpu_count()} cores, {_memory()}",
        **{name: _version(name) for name in PACKAGES},
        "devices": _devices(),
        "nvidia driver": "shows a GPU" if has_nvidia_gpu() else "none",
        **{name: os.environ[name] for name in VARIABLES if name in os.environ},
        "package": str(pathlib.Path(lift_jax.__file__).parent),
        "configs": _configs(),
        "compiled functions": os.environ.get("JAX_COMPILATION_CACHE_DIR", "not kept: no writable folder"),
        "preprocessed volumes": "cache/ in each work directory, or config.data.cache",
    }
    for name, value in info.items():
        for i, entry in enumerate(value if isinstance(value, list) else [value]):
            say(f"{name if not i else '':<22}{entry}")
    return info


def _version(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return "not installed"


def _memory() -> str:
    try:
        return f"{os.sysconf('SC_PAGE_SIZE') * os.sysconf('SC_PHYS_PAGES') / 2**30:.1f} GiB"
    except (ValueError, OSError, AttributeError):  # not on this system
        return "memory unknown"


def _devices() -> list[str]:
    import jax

    entries = []
    for device in jax.local_devices():
        statistics = device.memory_stats() or {}  # None on a CPU
        limit = statistics.get("bytes_limit")
        entries.append(
            f"{device.platform}:{device.id} {device.device_kind}{f', {limit / 2**30:.1f} GiB' if limit else ''}"
        )
    return entries


def _configs() -> str:
    from lift_jax.config.files import config_names, config_roots

    return f"{next(config_roots(), 'none found')}: {', '.join(config_names())}"
