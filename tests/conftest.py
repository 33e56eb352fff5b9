"""Eight simulated devices, no silent broadcasting over missing axes, and the commands as processes, for every test.

The environment is set here, before anything imports JAX, which reads it once.
"""

import os
import subprocess

DEVICES = 8

os.environ["JAX_PLATFORMS"] = "cpu"
os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count={DEVICES}".strip()
# Each device blocks a thread in a collective: with as few threads as cores, eight of them on two cores deadlock.
os.environ["NPROC"] = "32"

import jax  # noqa: E402
import pytest  # noqa: E402

from tests.commands import SECONDS, begin_command  # noqa: E402

jax.config.update("jax_numpy_rank_promotion", "raise")


@pytest.fixture(scope="session")
def shared(tmp_path_factory):
    """What the processes share: compiled functions, so that only the first one compiles, and preprocessed volumes."""
    return tmp_path_factory.mktemp("shared")


@pytest.fixture(scope="session")
def environment(shared):
    """The surroundings of a user's shell: nothing of what the tests set for themselves."""
    ours = ("XLA_FLAGS", "NPROC")
    return {name: value for name, value in os.environ.items() if name not in ours} | {
        "JAX_PLATFORMS": "cpu",
        "JAX_COMPILATION_CACHE_DIR": str(shared / "compiled"),
        "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES": "-1",
    }


@pytest.fixture(scope="session")
def begin(environment):
    """Starts a command."""
    return lambda name, *arguments, **extra: begin_command(environment | extra, name, *arguments)


@pytest.fixture(scope="session")
def command(begin):
    """Runs a command to its end."""

    def run(name, *arguments, **extra):
        with begin(name, *arguments, **extra) as process:
            output, errors = process.communicate(timeout=SECONDS)
        return subprocess.CompletedProcess(process.args, process.returncode, output, errors)

    return run
