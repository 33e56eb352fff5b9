"""What machines do to runs: full and read-only disks, two runs at once, a clock that goes backwards."""

import contextlib
import functools
import os
import resource
import subprocess
import sys
import time

import jax
import numpy as np
import pytest

from lift_jax import run_directory
from lift_jax.checkpoints import finish_saving, open_checkpoints, restore_ema, save_checkpoint
from lift_jax.config import missing_mr
from lift_jax.data.cache import cache_subjects
from lift_jax.errors import UserError
from lift_jax.evaluation.report.page import write_text
from lift_jax.training.run_log import RunLog
from tests.commands import SECONDS
from tests.data.test_cache import RandomSubjects
from tests.training.test_checkpoints import Position, save, state_of

pytestmark = pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")


@contextlib.contextmanager
def full_disk(size):
    """No file may grow beyond `size` bytes, whoever writes it: a write then fails as on a full disk."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def test_on_a_full_disk_no_subject_is_half_cached_and_there_is_one_line(tmp_path):
    with full_disk(100), pytest.raises(UserError, match=r"cannot write the cache .*free space") as error:
        cache_subjects(RandomSubjects(2), tmp_path, threads=1)
    assert "\n" not in str(error.value)
    assert list(tmp_path.iterdir()) == []
    assert cache_subjects(RandomSubjects(2), tmp_path, threads=1)[1].image("ct").ndim == 3


def test_on_a_full_disk_the_checkpoint_before_stays_and_there_is_one_line(tmp_path):
    noise = state_of(size=50_000)
    noise = noise.replace(ema=jax.tree.map(lambda x: jax.random.normal(jax.random.key(0), x.shape), noise.ema))
    save(tmp_path, [3], state=noise)
    manager = open_checkpoints(tmp_path, every=1, keep=10, last=100)
    refusal = pytest.raises(UserError, match=r"cannot save a checkpoint .*free space")
    with manager, full_disk(20_000), refusal as error:
        save_checkpoint(manager, noise, Position(), missing_mr(), 4)
        finish_saving(manager)
    assert "\n" not in str(error.value)
    ema, step = restore_ema(tmp_path, noise.ema)
    assert step == 3
    jax.tree.map(np.testing.assert_array_equal, ema, noise.ema)


def test_on_a_full_disk_a_report_is_not_half_replaced(tmp_path):
    write_text(tmp_path / "report.html", "old")
    with full_disk(1000), pytest.raises(UserError):
        write_text(tmp_path / "report.html", "new" * 1000)
    assert (tmp_path / "report.html").read_text() == "old"
    assert len(list(tmp_path.iterdir())) == 1


def test_a_read_only_work_directory_is_reported_in_one_line(tmp_path):
    workdir = tmp_path / "run"
    workdir.mkdir()
    if os.geteuid() == 0:  # modes do not bind root: a file system that is mounted read-only does
        mount = ["mount", "-t", "tmpfs", "-o", "ro,size=64k", "tmpfs", str(workdir)]
        if subprocess.run(mount, capture_output=True, check=False).returncode:
            pytest.skip("needs another user than root, or the right to mount")
        undo = ["umount", str(workdir)]
    else:
        workdir.chmod(0o500)
        undo = ["chmod", "700", str(workdir)]
    try:
        refused = functools.partial(pytest.raises, UserError, match=r"run: cannot be written .*name another --workdir")
        with refused(), run_directory.workdir_lock(workdir):
            pass
        with refused():
            run_directory.prepare(workdir, missing_mr())
    finally:
        subprocess.run(undo, check=True)


def test_a_work_directory_is_for_one_run_at_a_time(tmp_path):
    workdir = tmp_path / "runs" / "one"
    with run_directory.workdir_lock(workdir):
        run_directory.prepare(workdir, missing_mr())
        refusal = pytest.raises(UserError, match="one: another process trains there")
        with refusal as error, run_directory.workdir_lock(workdir):
            pass
        assert "\n" not in str(error.value)
    with run_directory.workdir_lock(workdir):
        pass


def test_a_lock_ends_with_the_death_of_its_process(tmp_path):
    code = "import pathlib, sys, time; from lift_jax.run_directory import prepare, workdir_lock\n"
    code += f"from lift_jax.config import missing_mr; workdir = pathlib.Path({str(tmp_path)!r})\n"
    code += "with workdir_lock(workdir): prepare(workdir, missing_mr()); print('claimed', flush=True); sys.stdin.read()"
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen([sys.executable, "-c", code], **pipes) as process:
        assert process.stdout.readline() == b"claimed\n"
        with pytest.raises(UserError, match="another process"), run_directory.workdir_lock(tmp_path):
            pass
        process.kill()
        process.wait(SECONDS)
    with run_directory.workdir_lock(tmp_path):
        pass


def test_a_lock_leaves_nothing_where_nothing_was_prepared(tmp_path):
    with pytest.raises(UserError, match="refused"), run_directory.workdir_lock(tmp_path / "runs" / "one"):
        raise UserError("refused")
    assert list(tmp_path.iterdir()) == []


def test_a_clock_that_goes_backwards_hurts_neither_cache_nor_log_nor_checkpoints(tmp_path, monkeypatch):
    cached = cache_subjects(RandomSubjects(1), tmp_path / "cache", threads=1)
    with RunLog(tmp_path, "joint", 0) as log:
        log.scalars(1, {"loss": 1.0})
    save(tmp_path / "joint", [1])
    later = time.time() + 1e6
    for path in tmp_path.rglob("*"):
        os.utime(path, (later, later))  # as if written before the clock was put back
    now = time.time
    monkeypatch.setattr(time, "time", lambda: now() - 1e6)
    written = (cached[0].directory / "image-ct.npy").stat().st_mtime
    assert cache_subjects(RandomSubjects(1), tmp_path / "cache", threads=1) == cached
    assert (cached[0].directory / "image-ct.npy").stat().st_mtime == written
    with RunLog(tmp_path, "joint", 1) as log:
        log.scalars(2, {"loss": 2.0})
    assert len((tmp_path / "metrics.jsonl").read_text().splitlines()) == 2
    save(tmp_path / "joint", [2])
    assert restore_ema(tmp_path / "joint", state_of().ema)[1] == 2
