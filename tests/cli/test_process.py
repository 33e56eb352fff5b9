import os
import subprocess
import sys

from lift_jax.cli.process import prepare_jax
from tests.commands import REPOSITORY, SECONDS, assert_refused


def test_compiled_functions_are_kept_in_the_users_cache(monkeypatch, tmp_path):
    monkeypatch.setenv("JAX_COMPILATION_CACHE_DIR", "")  # so that its absence is restored afterwards
    monkeypatch.delenv("JAX_COMPILATION_CACHE_DIR")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    prepare_jax()
    assert os.environ["JAX_COMPILATION_CACHE_DIR"] == str(tmp_path / "lift_jax" / "compiled")


SMALL_PROGRAMS = ("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "JAX_PERSISTENT_CACHE_MIN_ENTRY_SIZE_BYTES")


def test_small_programs_are_kept_too_unless_the_user_says_otherwise(monkeypatch):
    for name in SMALL_PROGRAMS:
        monkeypatch.setenv(name, "")  # so that its absence is restored afterwards
        monkeypatch.delenv(name)
    prepare_jax()
    assert [float(os.environ[name]) for name in SMALL_PROGRAMS] == [0.05, -1]
    monkeypatch.setenv(SMALL_PROGRAMS[0], "3")
    prepare_jax()
    assert os.environ[SMALL_PROGRAMS[0]] == "3"


def test_what_the_user_has_set_stays(monkeypatch):
    monkeypatch.setenv("JAX_COMPILATION_CACHE_DIR", "elsewhere")
    monkeypatch.setenv("XLA_FLAGS", "--xla_force_host_platform_device_count=2")
    monkeypatch.setenv("NPROC", "7")
    prepare_jax()
    assert os.environ["JAX_COMPILATION_CACHE_DIR"] == "elsewhere"
    assert os.environ["NPROC"] == "7"


def test_simulated_devices_get_threads_enough(monkeypatch):
    monkeypatch.setenv("XLA_FLAGS", "--xla_force_host_platform_device_count=2")
    monkeypatch.delenv("NPROC", raising=False)
    prepare_jax()
    assert int(os.environ["NPROC"]) >= 32


def test_a_home_that_cannot_be_written_gets_a_private_temporary_cache(monkeypatch, tmp_path):
    monkeypatch.setenv("JAX_COMPILATION_CACHE_DIR", "")
    monkeypatch.delenv("JAX_COMPILATION_CACHE_DIR")
    (tmp_path / "home").write_text("no folder")  # root may write anywhere, but not below a file
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "home"))
    monkeypatch.setattr("tempfile.gettempdir", lambda: str(tmp_path))
    prepare_jax()
    folder = tmp_path / f"lift_jax-{os.getuid()}"
    assert os.environ["JAX_COMPILATION_CACHE_DIR"] == str(folder / "lift_jax" / "compiled")
    assert folder.stat().st_mode & 0o077 == 0


def test_devices_that_are_not_there_are_one_line(command):
    result = command("train", "--config=configs/quickstart.py:tiny", "--workdir=nowhere", JAX_PLATFORMS="cuda")
    assert_refused(result, "JAX_PLATFORMS=cuda", "JAX_PLATFORMS=cpu")


def test_output_that_nobody_reads_to_its_end_is_no_error(environment, tmp_path):
    for i in range(60):
        subject = tmp_path / f"case-{i:03d}-{'x' * 100}"
        subject.mkdir()
        (subject / f"{subject.name}-t1n.nii.gz").write_bytes(b"")
    check = [sys.executable, "-m", "lift_jax", "check", "--root", str(tmp_path), "--dataset", "brats"]
    check = subprocess.Popen(check, cwd=REPOSITORY, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    check.stdout.readline()
    check.stdout.close()
    errors = check.stderr.read()
    check.stderr.close()
    assert b"Error" not in errors
    assert check.wait(SECONDS) == 1  # of the empty files
