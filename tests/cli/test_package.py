"""The package: its version, what importing it costs, and the wheel in an environment of its own."""

import json
import os
import pathlib
import re
import shutil
import site
import subprocess
import sys
import tomllib
import venv

import pytest

import lift_jax
from tests.commands import REPOSITORY, SECONDS

PROJECT = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())
IMPORT_SECONDS = 0.3


def test_public_names_are_there_and_nothing_else():
    for name in lift_jax.__all__:
        assert getattr(lift_jax, name)
    assert set(lift_jax.__all__) <= set(dir(lift_jax))
    with pytest.raises(AttributeError, match="no attribute 'lod'"):
        _ = lift_jax.lod


def test_importing_the_package_is_quick_and_imports_no_library():
    code = "import sys, time; t = time.perf_counter(); import lift_jax; t = time.perf_counter() - t\n"
    code += "print(t, [m for m in ('jax', 'numpy', 'scipy', 'nibabel', 'ml_collections') if m in sys.modules])"
    runs = [subprocess.check_output([sys.executable, "-c", code], cwd=REPOSITORY, text=True) for _ in range(3)]
    assert min(float(run.split()[0]) for run in runs) < IMPORT_SECONDS
    assert runs[0].split(maxsplit=1)[1].strip() == "[]"


def test_the_packages_are_all_folders_with_code():
    folders = {path.parent.relative_to(REPOSITORY) for path in (REPOSITORY / "lift_jax").rglob("*.py")}
    configs = {path.parent.relative_to(REPOSITORY) for path in (REPOSITORY / "configs").rglob("*.py")}
    names = {".".join(folder.parts) for folder in folders} | {
        f"lift_jax.{'.'.join(folder.parts)}" for folder in configs
    }
    assert sorted(PROJECT["tool"]["setuptools"]["packages"]) == sorted(names)


def test_the_extra_for_tests_is_that_of_the_requirements():
    lines = [line.partition("#")[0].strip() for line in (REPOSITORY / "requirements-test.txt").read_text().splitlines()]
    assert PROJECT["project"]["optional-dependencies"]["test"] == [x for x in lines if x and not x.startswith("-r")]


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    """The wheel, built in a copy of what it is built from."""
    source, wheels = tmp_path_factory.mktemp("source"), tmp_path_factory.mktemp("wheels")
    for folder in ("lift_jax", "configs"):
        shutil.copytree(REPOSITORY / folder, source / folder, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE", "requirements.txt"):
        shutil.copy(REPOSITORY / name, source)
    options = ["--quiet", "--no-deps", "--no-build-isolation", "--no-index", f"--wheel-dir={wheels}"]
    subprocess.run([sys.executable, "-m", "pip", "wheel", *options, source], check=True, timeout=SECONDS)
    (built,) = wheels.iterdir()
    assert re.fullmatch(rf"lift_jax-{re.escape(lift_jax.__version__)}-py3-none-any\.whl", built.name)
    return built


@pytest.fixture(scope="module")
def installed(tmp_path_factory, wheel):
    """A function that runs lift-jax from a wheel: read-only packages, no home, an empty folder, libraries of ours."""
    root = tmp_path_factory.mktemp("installed")
    venv.create(root / "venv", with_pip=False)
    python = root / "venv" / "bin" / "python"
    options = ["--quiet", "--no-deps", "--no-index", "--disable-pip-version-check"]
    subprocess.run([sys.executable, "-m", "pip", "--python", python, "install", *options, wheel], check=True)
    (packages,) = (root / "venv" / "lib").glob("python*/site-packages")
    (packages / "libraries.pth").write_text("\n".join(path for path in site.getsitepackages()))
    before = listing(packages)
    for path in (packages, *packages.rglob("*")):
        path.chmod(path.stat().st_mode & ~0o222)
    for name in ("empty", "temporary"):
        (root / name).mkdir()
    (root / "file").write_text("a home below a file cannot be made, not even by root")
    environment = {"PATH": os.environ["PATH"], "HOME": str(root / "file/home"), "TMPDIR": str(root / "temporary")}
    environment |= {"JAX_PLATFORMS": "cpu"}

    def run(*arguments):
        command = [root / "venv" / "bin" / "lift-jax", *map(str, arguments)]
        result = subprocess.run(
            command, cwd=root / "empty", env=environment, timeout=2 * SECONDS, capture_output=True, text=True
        )
        assert listing(packages) == before  # root may write in a read-only folder
        return result

    yield run
    for path in (packages, *(path for path in packages.rglob("*") if path.is_dir())):
        path.chmod(0o755)


def listing(folder: pathlib.Path):
    return sorted((str(path), path.stat().st_size) for path in folder.rglob("*") if path.is_file())


def test_the_wheel_has_configs_templates_and_licenses(wheel):
    names = subprocess.check_output([sys.executable, "-m", "zipfile", "-l", wheel], text=True)
    for name in (
        "lift_jax/py.typed",
        "lift_jax/configs/quickstart.py",
        "lift_jax/configs/sweeps/particles.py",
        "lift_jax/data/template/mni_icbm152_tissues.nii.gz",
        "lift_jax/data/template/MNI_NOTICE.txt",
        "lift_jax/evaluation/report/templates/base.html",
        "lift_jax/evaluation/report/static/niivue.LICENSE.txt",
    ):
        assert name in names
    assert "tests/" not in names and "\nconfigs/" not in names


@pytest.mark.slow
def test_the_wheel_says_where_and_what_it_is(installed):
    result = installed("info", "--json")
    assert result.returncode == 0, result.stderr
    info = json.loads(result.stdout)
    assert info["lift_jax"] == lift_jax.__version__
    assert "site-packages/lift_jax" in info["package"] and "site-packages/lift_jax/configs" in info["configs"]
    assert "temporary" in info["compiled functions"]


@pytest.mark.slow
def test_the_wheel_trains_scores_and_lists_a_mistyped_config(installed):
    result = installed("train", "--config", "quickstart:tiny", "--workdir", "run", "--config.stage.joint.steps=2")
    assert result.returncode == 0, result.stderr
    assert result.stdout == "run: trained; now lift-jax evaluate --workdir run\n"
    scored = installed("evaluate", "--workdir", "run", "--json", "--quiet")
    assert scored.returncode == 0, scored.stderr
    assert json.loads(scored.stdout)["report"].endswith("run/evaluation/report.html")
    type_errors = installed("train", "--config", "quickstrat", "--workdir", "other")
    assert type_errors.returncode == 1 and "near it is quickstart" in type_errors.stderr
