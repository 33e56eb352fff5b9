"""What tests of the three commands share."""

import json
import pathlib
import subprocess
import sys

REPOSITORY = pathlib.Path(__file__).parents[1]
SECONDS = 240  # bound on any wait: far beyond what a slow machine takes


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


def metrics(workdir):
    """The lines of the log without the rates, which no two runs share."""
    lines = [json.loads(line) for line in (workdir / "metrics.jsonl").read_text().splitlines()]
    return [{key: value for key, value in line.items() if not key.endswith("_per_second")} for line in lines]


def snapshot(folder):
    return {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def assert_refused(result, *told):
    """Exit status 1 and one line, which holds all of `told`."""
    assert result.returncode == 1
    assert result.stdout == ""
    (line,) = result.stderr.splitlines()
    for words in told:
        assert str(words) in line
