"""The report over a data set: all of it, whatever is wrong with it, and what a shell learns of it."""

import subprocess
import sys

import nibabel as nib
import numpy as np
import pytest

from lift_jax.data.cases import CONTRASTS
from lift_jax.data.check import table
from lift_jax.data.findings import check_data_set
from lift_jax.errors import UserError
from tests.commands import REPOSITORY

LAS = np.diag([-1.0, 1.0, 2.5, 1.0])


def write_case(root, name, **replaced):
    """A case of four contrasts of 20x18x16 voxels; in `replaced` the bytes of a contrast, None for none."""
    (root / name).mkdir(parents=True)
    for seed, contrast in enumerate(CONTRASTS):
        voxels = np.random.default_rng(seed).integers(0, 900, (20, 18, 16)).astype(np.int16)
        path = root / name / f"{name}-{contrast}.nii.gz"
        nib.Nifti1Image(voxels, LAS).to_filename(path)
        content = replaced.get(contrast, path.read_bytes())
        path.unlink() if content is None else path.write_bytes(content)


@pytest.fixture
def mixed(tmp_path):
    """A good case, one with three problems, one that lacks a contrast."""
    write_case(tmp_path, "A-good")
    good = (tmp_path / "A-good" / "A-good-t1n.nii.gz").read_bytes()
    write_case(tmp_path, "B-bad", t1n=b"", t1c=good[:-200], t2w=b"text")
    write_case(tmp_path, "C-lacks", t2f=None)
    return tmp_path


def check(*arguments, **options):
    command = [sys.executable, "-m", "lift_jax.data.check", *map(str, arguments)]
    return subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=60, **options)


def test_every_problem_is_found_whatever_the_threads(mixed):
    good, bad, lacks = check_data_set(mixed, "brats", threads=3)
    assert (good.name, good.files, good.problems, good.remarks) == ("A-good", CONTRASTS, (), ())
    assert good.grid.shape == (16, 18, 20) and good.grid.spacing == (2.5, 1, 1)
    assert good.size == sum(path.stat().st_size for path in (mixed / "A-good").iterdir())
    for problem, contrast in zip(bad.problems, ("t1n", "t2w", "t1c"), strict=True):
        assert problem.startswith(str(mixed / "B-bad" / f"B-bad-{contrast}.nii.gz: "))
    assert bad.grid.shape == (16, 18, 20)  # of the first file whose header can be read
    assert lacks.files == CONTRASTS[:3] and len(lacks.problems) == 1
    one_by_one = check_data_set(mixed, "brats", threads=1)
    assert [case.problems for case in one_by_one] == [case.problems for case in (good, bad, lacks)]


def test_headers_alone_do_not_read_voxels(mixed):
    _, bad, lacks = check_data_set(mixed, "brats", headers_only=True)
    assert [len(case.problems) for case in (bad, lacks)] == [2, 1]


def test_what_is_required_can_be_said(mixed):
    assert check_data_set(mixed, "brats", ("t1n",))[2].problems == ()
    with pytest.raises(UserError, match="no such folder"):
        check_data_set(mixed / "absent", "brats")


def test_command_prints_a_row_for_each_case_its_problems_and_a_summary(mixed):
    result = check("--root", mixed, "--layout", "brats", "--threads", 2)
    assert result.returncode == 1 and "3/3" in result.stderr
    heads, *rows, summary = result.stdout.splitlines()
    assert heads.split("  ")[0] == "case"
    cases = [row for row in rows if not row.startswith(" ")]
    assert [row.split()[0] for row in cases] == ["A-good", "B-bad", "C-lacks"]
    assert cases[0].split()[1:] == [*CONTRASTS, "20x18x16", "1x1x2.5", "LAS", "none"]
    assert [row.split()[-1] for row in cases[1:]] == ["3", "1"]
    assert sum(row.startswith(f"  problem: {mixed}") for row in rows) == 4
    assert summary.startswith("3 cases, 11 files, ") and "4 problems in 2 cases, 0 remarks" in summary


def test_summary_counts_a_bad_case_that_comes_first(mixed):
    _, bad, _ = check_data_set(mixed, "brats", headers_only=True)
    *_, summary = table([bad])
    assert summary.startswith("1 cases") and "2 problems in 1 cases" in summary


def test_command_says_by_its_status_that_all_is_well_and_sends_no_escapes(tmp_path):
    write_case(tmp_path, "A\x1b[31m\nB")
    result = check("--root", tmp_path, "--headers_only")
    assert result.returncode == 0 and "\x1b" not in result.stdout
    assert [line.split()[0] for line in result.stdout.splitlines()] == ["case", r"A\x1b[31m\nB", "1"]


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ((), "--root: not given"),
        (("--root", "absent"), "absent: no such folder"),
        (("--root", ".", "--layout", "dicom"), "dicom"),
        (("--root", ".", "--required", "flair"), "--required: 'flair' is none of"),
        (("--root", ".", "--threads", "0"), "threads"),
    ],
)
def test_command_that_cannot_work_is_refused_in_one_line(mixed, arguments, told):
    arguments = [mixed if argument == "." else argument for argument in arguments]
    result = check(*arguments)
    assert result.returncode == 1 and result.stdout == ""
    (line,) = result.stderr.splitlines()
    assert told in line


def test_check_needs_no_accelerator_library(mixed):
    code = "import sys, lift_jax.data.check; sys.exit('jax' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, timeout=60).returncode == 0
