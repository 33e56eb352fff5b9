"""Notebooks run from the first cell to the last, and hold no outputs."""

import json
import subprocess
import sys

import pytest

from tests.commands import SECONDS
from tests.docs.pages import DOCS, REPOSITORY

NOTEBOOKS = sorted((DOCS / "notebooks").glob("*.ipynb"))
LONG = {"translate_phantom.ipynb"}
"""Notebooks that take more than a minute."""


def cells(path):
    return json.loads(path.read_text(encoding="utf-8"))["cells"]


@pytest.mark.parametrize(
    "path", [pytest.param(p, marks=pytest.mark.slow if p.name in LONG else (), id=p.name) for p in NOTEBOOKS]
)
def test_notebook_runs(path, environment, tmp_path):
    code = "\n\n".join("".join(cell["source"]) for cell in cells(path) if cell["cell_type"] == "code")
    (tmp_path / "notebook.py").write_text(code, encoding="utf-8")
    surroundings = environment | {"MPLBACKEND": "Agg", "PYTHONPATH": str(REPOSITORY)}
    result = subprocess.run(
        [sys.executable, "notebook.py"],
        cwd=tmp_path,
        env=surroundings,
        capture_output=True,
        text=True,
        timeout=2 * SECONDS,
    )
    assert result.returncode == 0, result.stderr
    assert result.stdout


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.name)
def test_notebook_holds_no_outputs(path):
    for cell in cells(path):
        assert not cell.get("outputs") and cell.get("execution_count") is None
