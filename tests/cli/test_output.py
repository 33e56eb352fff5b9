"""What a command prints, and its exit status."""

import json
import os
import subprocess
import sys
import warnings

import nibabel as nib
import numpy as np
import pytest

import lift_jax
from lift_jax import cli
from lift_jax.cli import process
from lift_jax.cli.process import Output
from lift_jax.errors import DataWarning, UserError
from tests.commands import REPOSITORY, SECONDS


def raising(error):
    def command(given):
        raise error

    return command


@pytest.fixture(autouse=True)
def no_lasting_changes(monkeypatch):
    """Commands set environment and warnings of their process."""
    monkeypatch.setenv("TQDM_DISABLE", "")
    with warnings.catch_warnings():
        yield


@pytest.mark.parametrize(
    ("error", "status", "line"),
    [
        (UserError("file.nii.gz: is not there"), 1, "file.nii.gz: is not there\n"),
        (KeyboardInterrupt(), 130, "stopped; the same command resumes it\n"),
    ],
)
def test_exit_status_and_what_is_said_of_it(capsys, error, status, line):
    assert process.guarded(raising(error), []) == status
    assert capsys.readouterr().err == line


def test_a_fault_of_the_program_keeps_its_traceback():
    with pytest.raises(ZeroDivisionError):
        process.guarded(raising(ZeroDivisionError()), [])


def test_json_alone_is_on_standard_output(capsys):
    output = Output(json=True)
    output.say("a line")
    output.finish({"done": True})
    captured = capsys.readouterr()
    assert json.loads(captured.out) == {"done": True}
    assert captured.err == "a line\n"


def test_quiet_leaves_out_lines_and_progress(capsys):
    from lift_jax.progress import progress

    output = Output(quiet=True)
    output.say("a line")
    output.finish({"done": True})
    assert list(progress(range(3), description="work", unit="piece")) == [0, 1, 2]
    captured = capsys.readouterr()
    assert captured.out == captured.err == ""


def write_volume(path, scale=1.0):
    voxels = np.random.default_rng(0).uniform(0, scale, (12, 10, 8)).astype(np.float32)
    nib.save(nib.Nifti1Image(voxels, np.diag([2.0, 2.0, 2.0, 1.0])), path)
    return str(path)


def test_view_writes_a_page_and_names_it(tmp_path, capsys):
    files = [write_volume(tmp_path / f"{name}.nii.gz") for name in "ab"]
    page = tmp_path / "page.html"
    assert cli.dispatch(["view", *files, f"--output={page}", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["page"] == str(page)
    assert "<html" in page.read_text()
    with pytest.raises(UserError, match="level and window go together"):
        cli.dispatch(["view", *files, "--level=3"])


def test_check_says_by_its_status_that_subjects_have_errors(tmp_path, capsys):
    (tmp_path / "subject").mkdir()
    write_volume(tmp_path / "subject" / "subject-t2w.nii.gz")
    (tmp_path / "subject" / "subject-t1n.nii.gz").write_bytes(b"")
    assert cli.dispatch(["check", f"--root={tmp_path}", "--dataset=brats", "--json"]) == 1
    summary = json.loads(capsys.readouterr().out)
    assert summary["errors"] >= 1 and "subject-t1n" in summary["subjects"]["subject"]["errors"][0]


def test_info_names_versions_devices_and_folders(environment):
    command = [sys.executable, "-m", "lift_jax", "info", "--json"]
    result = subprocess.run(command, cwd=REPOSITORY, env=environment, timeout=SECONDS, capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    info = json.loads(result.stdout)
    assert info["lift_jax"] == lift_jax.__version__
    assert info["devices"] == ["cpu:0 cpu"]
    assert info["compiled functions"] == environment["JAX_COMPILATION_CACHE_DIR"]
    assert "quickstart" in info["configs"]
    assert all(info[name][0].isdigit() for name in ("jax", "numpy", "scipy", "nibabel"))


@pytest.mark.parametrize("hidden", [{}, {"JAX_PLATFORMS": "cpu"}, {"CUDA_VISIBLE_DEVICES": ""}])
def test_an_nvidia_gpu_that_jax_does_not_use_is_reported_unless_it_is_hidden(monkeypatch, hidden):
    for name in ("JAX_PLATFORMS", "CUDA_VISIBLE_DEVICES"):
        monkeypatch.delenv(name, raising=False)
    for name, value in hidden.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(process, "has_nvidia_gpu", lambda: True)
    if hidden:
        process.require_devices()
    else:
        with pytest.warns(DataWarning, match=r"NVIDIA GPU, but JAX computes on the CPU; pip install 'lift_jax\[cuda12"):
            process.require_devices()


def test_an_nvidia_gpu_is_found_in_the_drivers_folder(tmp_path):
    assert not process.has_nvidia_gpu(tmp_path)
    (tmp_path / "0000:01:00.0").mkdir()
    assert process.has_nvidia_gpu(tmp_path)


def test_a_device_is_chosen_before_jax_is_imported(monkeypatch):
    monkeypatch.setenv("JAX_PLATFORMS", "tpu")
    monkeypatch.setenv("JAX_COMPILATION_CACHE_DIR", "kept")
    process.prepare_jax("gpu")
    assert os.environ["JAX_PLATFORMS"] == "cuda,cpu"
