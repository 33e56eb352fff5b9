"""The report over a data set: all of it, whatever is wrong with it, and what a shell learns of it."""

import subprocess
import sys

import nibabel as nib
import numpy as np
import pytest

from lift_jax.cli.check import table
from lift_jax.data.check import check_subjects
from lift_jax.data.datasets import DATASETS, scan
from lift_jax.data.intensity import get_protocol
from tests.commands import REPOSITORY
from tests.data.written_scans import body, brain, ct, section, write

LAS = np.diag([-1.0, 1.0, 2.5, 1.0])
CHANNELS = tuple(DATASETS["brats"].channels)
PROTOCOLS = {channel: get_protocol("mr_quantile") for channel in CHANNELS}


def write_subject(root, name, **replaced):
    """A subject of four channels of 20x18x16 voxels; in `replaced` the bytes of a channel, None for none."""
    (root / name).mkdir(parents=True)
    for seed, channel in enumerate(CHANNELS):
        voxels = brain(seed).astype(np.int16)
        path = root / name / f"{name}-{channel}.nii.gz"
        nib.Nifti1Image(voxels, LAS).to_filename(path)
        content = replaced.get(channel, path.read_bytes())
        path.unlink() if content is None else path.write_bytes(content)


@pytest.fixture
def mixed(tmp_path):
    """A good subject, one with three errors, one that lacks a channel."""
    write_subject(tmp_path, "A-good")
    good = (tmp_path / "A-good" / "A-good-t1n.nii.gz").read_bytes()
    write_subject(tmp_path, "B-bad", t1n=b"", t1c=good[:-200], t2w=b"text")
    write_subject(tmp_path, "C-lacks", t2f=None)
    return tmp_path


def check(*arguments, **options):
    command = [sys.executable, "-m", "lift_jax", "check", *map(str, arguments)]
    return subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=60, **options)


def issues(root, protocols=PROTOCOLS, required=(), dataset="brats", **options):
    subjects = scan(section(root=root, dataset=dataset, channels=dict.fromkeys(protocols, "")))
    return list(check_subjects(subjects, protocols, required, **options))


def test_every_error_is_found_whatever_the_threads(mixed):
    good, bad, lacks = issues(mixed, threads=3)
    assert (good.name, set(good.channels), good.errors, good.warnings) == ("A-good", set(CHANNELS), (), ())
    assert good.grid.shape == (16, 18, 20) and good.grid.spacing == (2.5, 1, 1)
    assert good.size == sum(path.stat().st_size for path in (mixed / "A-good").iterdir())
    for channel in ("t1n", "t1c", "t2w"):
        assert sum(line.startswith(f"{mixed}/B-bad/B-bad-{channel}.nii.gz: ") for line in bad.errors) == 1
    assert len(bad.errors) == 3 and bad.grid.shape == (16, 18, 20)  # of the first file whose header can be read
    assert set(lacks.channels) == set(CHANNELS[:3]) and not lacks.errors
    one_by_one = issues(mixed, threads=1)
    assert [subject.errors for subject in one_by_one] == [subject.errors for subject in (good, bad, lacks)]


def test_headers_alone_do_not_read_voxels(mixed):
    _, bad, lacks = issues(mixed, headers_only=True)
    assert [len(subject.errors) for subject in (bad, lacks)] == [2, 0]


def test_what_is_required_can_be_said(mixed):
    (line,) = issues(mixed, required=("t1n", "t2f"))[2].errors
    assert "C-lacks lacks t2f" in line


def test_a_mask_a_segmentation_or_a_channel_on_another_grid_is_an_error_of_its_own(tmp_path):
    write_subject(tmp_path, "A")
    small = brain(0, (20, 18, 15))
    for kind in ("mask", "seg"):
        write(tmp_path / "A" / f"A-{kind}.nii.gz", small, LAS)
    (subject,) = issues(tmp_path)
    assert len(subject.errors) == 2 and all("shapes differ" in line for line in subject.errors)


def test_copies_half_covered_heads_and_slight_shifts_are_warned_about(tmp_path):
    write_subject(tmp_path, "A")
    path = tmp_path / "A" / "A-t1c.nii.gz"
    path.write_bytes((tmp_path / "A" / "A-t2f.nii.gz").read_bytes())
    half = brain(5)
    half[:10] = 0
    shifted = LAS.copy()
    shifted[0, 3] = 0.03
    write(tmp_path / "A" / "A-t2w.nii.gz", half, shifted)
    (subject,) = issues(tmp_path)
    words = (
        "t2w.nii.gz: lies up to 0.03 mm from the grid of",
        "t2w.nii.gz: lacks 50% of the foreground",
        "is it a copy?",
    )
    assert not subject.errors and len(subject.warnings) == 3
    assert all(any(word in line for line in subject.warnings) for word in words)


def test_pairs_are_checked_by_the_protocol_of_each_channel(tmp_path):
    protocols = {"mr": get_protocol("mr_foreground"), "ct": get_protocol("ct_hu")}
    for name, mask in (("good", body()), ("empty", 0 * body())):
        for kind, array in (("mr", brain()), ("ct", ct()), ("mask", mask)):
            write(tmp_path / name / f"{kind}.nii.gz", array)
    write(tmp_path / "nomask" / "mr.nii.gz", brain())
    empty, good, without = issues(tmp_path, protocols, dataset="synthrad2023")
    assert good.errors == good.warnings == () and set(good.channels) == {"mr", "ct", "mask"}
    assert len(empty.errors) == 1 and "mask.nii.gz: the mask is empty" in empty.errors[0]
    assert not without.errors and "the body was found by threshold" in without.warnings[0]


def test_command_prints_a_row_for_each_subject_its_problems_and_a_summary(mixed):
    result = check("--root", mixed, "--dataset", "brats", "--threads", 2)
    assert result.returncode == 1
    heads, *rows, summary = result.stdout.splitlines()
    assert heads.split("  ")[0] == "subject"
    subjects = [row for row in rows if not row.startswith(" ")]
    assert [row.split()[0] for row in subjects] == ["A-good", "B-bad", "C-lacks"]
    assert set(subjects[0].split()[1:5]) == set(CHANNELS)
    assert subjects[0].split()[5:] == ["20x18x16", "1x1x2.5", "LAS", "none"]
    assert [row.split()[-1] for row in subjects[1:]] == ["3", "none"]
    assert sum(row.startswith(f"  error: {mixed}") for row in rows) == 3
    assert summary.startswith("3 subjects, 11 files, ") and "3 errors in 1 subjects, 0 warnings" in summary


def test_errors_in_names_are_reported_with_those_of_the_files(mixed):
    (mixed / "A-good" / "A-good_t1.nii").write_bytes(b"")
    (mixed / "C-lacks" / "C-lacks-T2F.mgz").write_bytes(b"")
    result = check("--root", mixed)
    *_, error, warning = result.stdout.splitlines()
    assert result.returncode == 1 and "3 errors in 1 subjects" in result.stdout
    assert error.startswith("error: ") and "A-good has 2 files of t1n" in error
    assert warning.startswith("warning: ") and "C-lacks-T2F.mgz: is not named" in warning


def test_own_names_and_protocols_can_be_given(tmp_path):
    for name in ("a", "b"):
        write(tmp_path / name / "T1w.nii.gz", brain())
    options = ("--pattern", "{subject}/{channel}.nii.gz", "--channels", "T1=mr_zscore", "--suffixes", "T1=T1w")
    result = check("--root", tmp_path, "--dataset", "files", *options)
    assert result.returncode == 0 and "2 subjects, 2 files" in result.stdout


def test_a_reader_that_closes_early_leaves_no_traceback(mixed):
    command = f"{sys.executable} -m lift_jax check --root {mixed} | head -1"
    result = subprocess.run(command, shell=True, cwd=REPOSITORY, capture_output=True, text=True, timeout=60)
    assert result.stdout.startswith("subject") and "Traceback" not in result.stderr and "Error" not in result.stderr


def test_summary_counts_a_bad_subject_that_comes_first(mixed):
    _, bad, _ = issues(mixed, headers_only=True)
    *_, summary = table([bad])
    assert summary.startswith("1 subjects") and "2 errors in 1 subjects" in summary


def test_command_says_by_its_status_that_all_is_well_and_sends_no_escapes(tmp_path):
    write_subject(tmp_path, "A\x1b[31m\nB")
    result = check("--root", tmp_path, "--headers_only")
    assert result.returncode == 0 and "\x1b" not in result.stdout
    assert [line.split()[0] for line in result.stdout.splitlines()] == ["subject", r"A\x1b[31m\nB", "1"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "--root: not given"),
        (("--root", "absent"), "absent: no such folder"),
        (("--root", ".", "--dataset", "dicom"), "dicom"),
        (("--root", ".", "--required", "flair"), "--required: 'flair' is none of"),
        (("--root", ".", "--threads", "0"), "threads"),
        (("--root", ".", "--dataset", "files"), "config.data.channels: not set"),
        (("--dataset", "files", "--root", ".", "--channels", "T1"), "--channels: give NAME=VALUE"),
        (("--dataset", "files", "--root", ".", "--channels", "T1=ct"), "'ct' is no protocol"),
        (("--dataset", "manifest", "--channels", "T1=unit"), "config.data.manifest: not set"),
    ],
)
def test_command_that_cannot_work_is_refused_in_one_line(mixed, arguments, message):
    arguments = [mixed if argument == "." else argument for argument in arguments]
    result = check(*arguments)
    assert result.returncode == 1 and result.stdout == ""
    (line,) = result.stderr.splitlines()
    assert message in line


def test_check_needs_no_accelerator_library(mixed):
    code = "import sys, lift_jax.cli.check; sys.exit('jax' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], cwd=REPOSITORY, timeout=60).returncode == 0
