"""What tests of the three commands share."""

import json
import pathlib
import socket
import subprocess
import sys

REPOSITORY = pathlib.Path(__file__).parents[1]
SECONDS = 240  # bound on any wait: far beyond what a slow machine takes

SMALL_VOLUMES = [
    "--config.data.size=(16, 16, 16)",
    "--config.data.spacing=12.0",
    "--config.inference.chunk=16",
]
SMALL_TRANSLATION = [
    "--config=configs/quickstart.py:tiny",
    *SMALL_VOLUMES,
    "--config.model.translator.widths=(4, 8)",
    "--config.model.translator.condition_features=8",
    "--config.model.mixer.hidden=4",
]
SMALL_GENERATION = [
    "--config=configs/phantom_unconditional.py:tiny",
    *SMALL_VOLUMES,
    "--config.model.encoder.widths=(4, 4)",
    "--config.model.generator.widths=(4, 4)",
    "--config.features.grids=(1,)",
    "--config.features.pixels=0",
    "--config.loss.temperatures=(0.2,)",
    "--config.stage.mapper.positions=3",
]
"""Options of train.py for networks and volumes that take as little time as any."""


def begin_command(environment, name, *arguments):
    """Starts a command in a process of its own."""
    return subprocess.Popen(
        [sys.executable, f"{name}.py", *map(str, arguments)],
        cwd=REPOSITORY,
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def free_port():
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


def metrics(workdir):
    """The lines of the log without the rates, which no two runs share."""
    lines = [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]
    return [{key: value for key, value in line.items() if not key.endswith("_per_second")} for line in lines]


def snapshot(folder):
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def assert_refused(result, *message):
    """Exit status 1 and one line, which holds all of `message`."""
    assert result.returncode == 1
    assert result.stdout == ""
    (line,) = result.stderr.splitlines()
    for words in message:
        assert str(words) in line
