"""Commands of the README and of how-to pages run as they are written, with the tiny variant of each configuration."""

import os
import pathlib
import re
import shlex
import subprocess
import sys

import pytest

from tests.commands import SECONDS
from tests.docs.pages import DOCS, REPOSITORY, command_blocks, name

PAGES = [
    REPOSITORY / "README.md",
    DOCS / "get_started.md",
    DOCS / "your_data.md",
    DOCS / "cloud.md",
    *sorted((DOCS / "how_to").glob("*.md")),
]
WITH_COMMANDS = [page for page in PAGES if command_blocks(page)]
LONG = {"compare.md", "sampling.md", "mr_to_ct.md"}
"""Pages whose commands take more than a minute."""


def tiny(words: list[str]) -> list[str]:
    """A command with the tiny variant of its configuration or sweep."""
    changed = list(words)
    for i, word in enumerate(words[:-1]):
        if word in ("--config", "--sweep") and not words[i + 1].startswith("-"):
            changed[i + 1] = re.sub(r":\w+$", "", words[i + 1]) + ":tiny"
    return changed


def process(words: list[str]) -> list[str]:
    """A command as this interpreter runs it."""
    program, *arguments = words
    if program == "lift-jax":
        return [sys.executable, "-m", "lift_jax", *arguments]
    assert program == "python", f"{program}: mark the block, <!-- needs: ... -->"
    return [sys.executable, *arguments]


@pytest.mark.parametrize(
    "page",
    [pytest.param(page, marks=pytest.mark.slow if page.name in LONG else ()) for page in WITH_COMMANDS],
    ids=name,
)
def test_commands_run(page, environment, tmp_path):
    surroundings = environment | {"PYTHONPATH": str(REPOSITORY), "PATH": os.environ["PATH"]}
    for block in command_blocks(page):
        for line in block:
            words = process(tiny(shlex.split(line)))
            result = subprocess.run(
                words, cwd=tmp_path, env=surroundings, capture_output=True, text=True, timeout=2 * SECONDS
            )
            assert result.returncode == 0, f"{line}\n{result.stderr}"


def test_tiny_replaces_the_variant_alone():
    assert tiny(["lift-jax", "train", "--config", "quickstart", "--workdir", "x"])[3] == "quickstart:tiny"
    assert tiny(["lift-jax", "sweep", "--sweep", "particles:order"])[3] == "particles:tiny"


def test_python_blocks_compile():
    for page in PAGES:
        for block in re.findall(
            r"^```python\n(.*?)^```$", pathlib.Path(page).read_text(), flags=re.DOTALL | re.MULTILINE
        ):
            compile(block, name(page), "exec")
