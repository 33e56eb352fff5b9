"""Data sets on disk: which files are found as whose channels, and what is refused, all of it at once."""

import os
import sys

import numpy as np
import pytest

from lift_jax.data.datasets import DATASETS, find_subjects, scan
from lift_jax.data.scans import files_of
from lift_jax.errors import DataWarning, UserError
from tests.data.written_scans import T1_FLAIR, brain, section, write

BRATS = dict(DATASETS["brats"].channels)
SYNTHRAD = dict(DATASETS["synthrad2023"].channels)


def touch(root, *paths):
    for path in paths:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(b"")


def names_of(subjects, root):
    """Subject to the relative paths of its files by kind."""
    return {
        subject.name: {kind: path.relative_to(root).as_posix() for kind, path in files_of(subject).items()}
        for subject in subjects
    }


def found(root, **values):
    return scan(section(root=root, **values))


def test_brats_is_found_by_the_names_of_2023_and_of_2018_to_2021(tmp_path):
    new = [f"BraTS-GLI-00002-000/BraTS-GLI-00002-000-{word}.nii.gz" for word in (*BRATS, "seg")]
    old = [f"HGG/Brats18_TCIA/Brats18_TCIA_{word}.nii.gz" for word in ("t1", "t1ce", "t2", "flair", "seg")]
    touch(tmp_path, *new, *old, "HGG/survival.csv", "BraTS2021_1/BraTS2021_1_flair.NII")
    by_name = {subject.name: subject for subject in found(tmp_path, channels=BRATS)}
    assert list(by_name) == sorted(by_name) and len(by_name) == 3
    for name, files in (("BraTS-GLI-00002-000", new), ("Brats18_TCIA", old)):
        subject = by_name[name]
        assert set(subject.channels) == set(BRATS)
        paths = [*(subject.channels[channel] for channel in BRATS), subject.segmentation]
        assert [path.relative_to(tmp_path).as_posix() for path in paths] == files
    assert list(by_name["BraTS2021_1"].channels) == ["t2f"]


def test_synthrad_is_found_in_folders_of_regions_and_strangers_are_no_subjects(tmp_path):
    touch(
        tmp_path, *(f"Task1/brain/1BA001/{kind}.nii.gz" for kind in ("mr", "ct", "mask")), "Task1/brain/overview/a.png"
    )
    touch(tmp_path, *(f"Task2/pelvis/2PA001/{kind}.nii.gz" for kind in ("cbct", "ct")))
    first, second = found(tmp_path, dataset="synthrad2023", channels=SYNTHRAD)
    assert (first.name, set(first.channels), first.mask.name) == ("1BA001", {"mr", "ct"}, "mask.nii.gz")
    assert (second.name, set(second.channels), second.mask) == ("2PA001", {"cbct", "ct"}, None)
    touch(tmp_path / "2025", *(f"Task1/AB/1ABA001/{kind}.mha" for kind in ("mr", "ct", "mask")))
    (subject,) = found(tmp_path / "2025", dataset="synthrad2025", channels=SYNTHRAD)
    assert subject.name == "1ABA001" and subject.channels["ct"].name == "ct.mha"


def test_bids_sessions_are_subjects_and_suffixes_may_hold_entities(tmp_path):
    touch(tmp_path, "sub-01/anat/sub-01_T1w.nii.gz", "sub-01/anat/sub-01_acq-2d_FLAIR.nii.gz")
    touch(
        tmp_path, "sub-02/ses-a/anat/sub-02_ses-a_run-1_T1w.nii.gz", "sub-02/ses-a/anat/sub-02_ses-a_run-2_T1w.nii.gz"
    )
    touch(
        tmp_path,
        "sub-02/ses-b/anat/sub-02_ses-b_run-1_T1w.nii",
        "sub-02/ses-b/anat/sub-02_ses-b_desc-brain_mask.nii.gz",
    )
    touch(tmp_path, "sub-02/ses-b/func/sub-02_ses-b_bold.nii.gz", "dataset_description.json")
    suffixes = {"T1": "run-1_T1w", "mask": "desc-brain_mask"}
    subjects = found(tmp_path, dataset="bids", channels=T1_FLAIR, suffixes=suffixes)
    assert names_of(subjects, tmp_path) == {
        "sub-01": {"FLAIR": "sub-01/anat/sub-01_acq-2d_FLAIR.nii.gz"},
        "sub-02_ses-a": {"T1": "sub-02/ses-a/anat/sub-02_ses-a_run-1_T1w.nii.gz"},
        "sub-02_ses-b": {
            "T1": "sub-02/ses-b/anat/sub-02_ses-b_run-1_T1w.nii",
            "mask": "sub-02/ses-b/anat/sub-02_ses-b_desc-brain_mask.nii.gz",
        },
    }
    with pytest.raises(UserError, match=r"sub-02_ses-a has 2 files of T1 .*run-2"):
        found(tmp_path, dataset="bids", channels=T1_FLAIR, suffixes={"T1": "T1w"})


@pytest.mark.parametrize(
    ("pattern", "path"),
    [
        ("{subject}/{channel}.nii.gz", "a b/T1.nii.gz"),
        ("{subject}/{subject}_{channel}.nii.gz", "a_b/a_b_T1.nii.gz"),
        ("{subject}_{channel}.nii.gz", "a_b_T1.nii.gz"),
        ("{channel}/IXI{subject}-*-{channel}.nii", "T1/IXI012-HH-1211-T1.nii"),
        ("raw/{subject}/x.{channel}(1).mha", "raw/s/x.T1(1).mha"),
    ],
)
def test_files_are_found_by_a_pattern(tmp_path, pattern, path):
    touch(tmp_path, path, path.replace("T1", "T1w"), "T1.nii.gz")
    (subject,) = found(tmp_path, dataset="files", channels=T1_FLAIR, pattern=pattern)
    assert names_of([subject], tmp_path) == {subject.name: {"T1": path}}
    assert subject.name in ("a b", "a_b", "012", "s")


def test_words_of_a_pattern_can_be_given_for_channels_and_segmentation(tmp_path):
    touch(tmp_path, "a/T1w.nii.gz", "a/GT_W.nii.gz", "a/mask.nii.gz")
    suffixes = {"T1": "T1w", "segmentation": "GT_W"}
    (subject,) = found(
        tmp_path, dataset="files", channels=T1_FLAIR, pattern="{subject}/{channel}.nii.gz", suffixes=suffixes
    )
    assert subject.channels["T1"].name == "T1w.nii.gz"
    assert (subject.segmentation.name, subject.mask.name) == ("GT_W.nii.gz", "mask.nii.gz")


@pytest.mark.parametrize(
    ("pattern", "words"),
    [
        ("", "not set"),
        ("{channel}.nii.gz", r"lacks \{subject\}"),
        ("{subject}.nii.gz", r"lacks \{channel\}"),
        ("{subject}/{contrast}.nii.gz", r"lacks \{channel\} and \{contrast\} is neither"),
        ("{subject}/{channel}.dcm", "does not end in"),
    ],
)
def test_pattern_that_cannot_work_is_refused_in_one_line(tmp_path, pattern, words):
    with pytest.raises(UserError, match=words) as refusal:
        found(tmp_path, dataset="files", channels=T1_FLAIR, pattern=pattern)
    assert "\n" not in str(refusal.value) and str(refusal.value).startswith("config.data.pattern")


def manifest(path, *rows):
    path.write_text("\n".join(rows), encoding="utf-8-sig")
    return path


def test_manifest_gives_files_splits_and_patients(tmp_path):
    touch(tmp_path, "x/1.nii", "x/2.nii", "x/m.nii", "x/s.nii")
    rows = (
        "subject,T1,FLAIR,mask,segmentation,split,patient",
        "a,x/1.nii,x/2.nii,x/m.nii,x/s.nii,train,p",
        "b,x/1.nii,,,,test,p",
    )
    table = manifest(tmp_path / "table.csv", *rows)
    first, second = scan(section(dataset="manifest", manifest=table, channels=T1_FLAIR))
    files = [*first.channels.values(), first.mask, first.segmentation]
    assert [path.name for path in files] == ["2.nii", "1.nii", "m.nii", "s.nii"]
    assert (first.split, second.split, first.patient, second.patient) == ("train", "test", "p", "p")
    assert list(second.channels) == ["T1"]
    elsewhere = manifest(tmp_path / "x" / "table.csv", *rows)
    assert scan(section(dataset="manifest", manifest=elsewhere, root=tmp_path, channels=T1_FLAIR))[0].name == "a"


def test_all_bad_rows_of_a_manifest_are_reported_at_once(tmp_path):
    touch(tmp_path, "1.nii")
    rows = ("a,1.nii,,train", "a,1.nii,,train", "b,absent.nii,1.nii,tset", "c,,,train", "d/e,1.nii,,")
    table = manifest(tmp_path / "table.csv", "subject,T1,FLAIR,split", *rows)
    with pytest.raises(UserError) as refusal:
        scan(section(dataset="manifest", manifest=table, channels=T1_FLAIR))
    words = (
        "subject 'a' is in 2 rows",
        "line 4: the T1 of 'b',",
        "line 4: split 'tset' is none of train",
        "line 5: subject 'c' has no channel",
        "line 6: 'd/e' cannot name a subject",
        "some rows have a split and some have none",
    )
    lines = str(refusal.value).splitlines()
    assert len(lines) == len(words)
    for line, word in zip(lines, words, strict=True):
        assert word in line and line.startswith(str(table))


@pytest.mark.parametrize(
    ("rows", "words"),
    [
        (("subject,T1,FLAIR,age", "a,,,3"), ("column 'age' is none of subject, FLAIR, T1",)),
        (("subject,T1,T1,FLAIR", "a,,,3"), ("column 'T1' is there twice",)),
        (("name;T1", "a;b"), ("column 'name;T1' is none of", "lacks the column 'subject'", "'FLAIR'", "'T1'")),
        (("subject,T1,FLAIR",), ("holds no rows",)),
        (("subject,T1,FLAIR", "a,b,c,d"), ("line 2 has more cells",)),
    ],
)
def test_manifest_whose_columns_cannot_be_used_is_refused(tmp_path, rows, words):
    table = manifest(tmp_path / "table.csv", *rows)
    with pytest.raises(UserError) as refusal:
        scan(section(dataset="manifest", manifest=table, channels=T1_FLAIR))
    for line, word in zip(str(refusal.value).splitlines(), words, strict=True):
        assert word in line and line.startswith(str(table))


def test_manifest_that_cannot_be_read_is_refused(tmp_path):
    (tmp_path / "binary.csv").write_bytes(b"\xff\xfe\x00subject")
    for name, word in (("absent.csv", "cannot be read"), ("binary.csv", "no CSV file"), ("", "not set")):
        path = tmp_path / name if name else ""
        with pytest.raises(UserError, match=word):
            scan(section(dataset="manifest", manifest=path, channels=T1_FLAIR))


def test_two_files_of_a_channel_are_refused_all_of_them_at_once(tmp_path):
    touch(tmp_path, "a/a-t1n.nii", "a/a-t1n.nii.gz", "a/a_t1.nii.gz", "b/b_t2.nii", "x/b/b_t2.nii", "c/c_t2.nii")
    with pytest.raises(UserError) as refusal:
        found(tmp_path, channels=BRATS)
    first, second = str(refusal.value).splitlines()
    assert "a has 3 files of t1n (also" in first and "b has 2 files of t2w" in second


@pytest.mark.parametrize(
    ("files", "dataset", "words"),
    [
        (("a/T1.nii.gz", "a/FLAIR.nii.gz"), "brats", "pattern, perhaps '{subject}/{channel}.nii.gz'"),
        (("a/T1.nii.gz", "a/FLAIR.nii.gz"), "bids", "pattern, perhaps '{subject}/{channel}.nii.gz'"),
        (("a/T1.mgz",), "brats", "only a/T1.mgz; convert them to .nii.gz"),
        (("x/a/a_T1.nii",), "brats", "only x/a/a_T1.nii; .* perhaps '\\*/{subject}/{subject}_{channel}.nii'"),
        (("a/a_t1.nii.gz", "a/a_t2.nii.gz"), "synthrad2023", "named as in config.data.dataset=brats"),
        (("a/a-t1n.nii.gz",), "bids", "named as in config.data.dataset=brats"),
        (("a/mr.mha", "a/ct.mha"), "synthrad2023", "named as in config.data.dataset=synthrad2025"),
        (("a/mr.nii.gz", "a/ct.nii.gz"), "brats", "named as in config.data.dataset=synthrad2023"),
        (("sub-1/anat/sub-1_T1w.nii.gz",), "brats", "named as in config.data.dataset=bids"),
        (("sub-1/anat/sub-1_T1w.nii.gz",), "bids", "config.data.suffixes"),
        (("notes.txt",), "brats", "no volume at all"),
        (("a/1.dcm",), "brats", "only a/1.dcm"),
    ],
)
def test_names_of_another_scheme_are_reported_with_what_they_resemble(tmp_path, files, dataset, words):
    touch(tmp_path, *files)
    channels = T1_FLAIR if dataset == "bids" else dict(DATASETS[dataset].channels)
    with pytest.raises(UserError, match=words.replace("{", r"\{").replace("}", r"\}")) as refusal:
        found(tmp_path, dataset=dataset, channels=channels)
    assert "\n" not in str(refusal.value) and str(refusal.value).startswith(f"{tmp_path}: holds no file named ")


def test_root_that_is_no_folder_of_subjects_is_refused(tmp_path):
    touch(tmp_path, "a/a_t1.nii")
    for root, words in (
        ("absent", "no such folder"),
        ("a/a_t1.nii", "is a file"),
        ("a", "is the folder of one subject"),
    ):
        with pytest.raises(UserError, match=f"{root}: {words}"):
            found(tmp_path / root, channels=BRATS)
    with pytest.raises(UserError, match=r"config\.data\.root: not set"):
        found("", channels=BRATS)
    (subject,) = find_subjects(section(root=tmp_path / "a", channels=BRATS), one_subject=True).subjects
    assert subject.channels["t1n"] == tmp_path / "a" / "a_t1.nii"


@pytest.mark.parametrize("name", ["A-T1C.nii.gz", "A-t1c.mgz", "A-t1c.img", "A_t1ce.mha"])
def test_files_that_nearly_fit_are_reported(tmp_path, name):
    touch(tmp_path, "A/A-t1n.nii.gz", f"A/{name}", "A/A-notes.nii.gz", "A/A-T1N.mgz")
    with pytest.warns(DataWarning, match=f"{name}: is not named .*convert it to be t1c") as message:
        (subject,) = found(tmp_path, channels=BRATS)
    assert len(message) == 1 and list(subject.channels) == ["t1n"]


def test_hidden_files_are_passed_over_and_links_to_nowhere_are_not(tmp_path):
    touch(tmp_path, "A/A-t1n.nii.gz", ".B/.B-t1n.nii.gz", "A/.A-t1c.nii.gz")
    assert list(found(tmp_path, channels=BRATS)[0].channels) == ["t1n"]
    (tmp_path / "C").symlink_to("absent")
    (tmp_path / "A" / "circle").symlink_to(tmp_path)
    (tmp_path / "D").symlink_to("D")
    with pytest.raises(UserError) as refusal:
        found(tmp_path, channels=BRATS)
    assert [line.split(": ")[0] for line in str(refusal.value).splitlines()] == [str(tmp_path / name) for name in "CD"]


@pytest.mark.parametrize(
    "name", ["case one", "Über-Fall 患者", "a{kind}b", "-x", "%s", "a;b", "a\nb", os.fsdecode(b"\xff-1")]
)
def test_any_name_of_a_subject_is_accepted(tmp_path, name):
    touch(tmp_path, f"{name}/{name}-t1n.nii.gz")
    assert [subject.name for subject in found(tmp_path, channels=BRATS)] == [name]


def test_mha_without_the_extra_says_what_to_install(tmp_path, monkeypatch):
    from lift_jax.data.sources import subject_source

    for name in "abc":
        touch(tmp_path, f"{name}/mr.mha", f"{name}/ct.mha", f"{name}/mask.mha")
    monkeypatch.setitem(sys.modules, "SimpleITK", None)
    with pytest.raises(UserError) as refusal:
        subject_source(
            section(dataset="synthrad2025", root=tmp_path, channels={"mr": "mr_foreground", "ct": "ct_hu"}), "train"
        )
    first, *lines = str(refusal.value).splitlines()
    assert "3 of 3 subjects" in first and len(lines) == 9
    assert all("pip install 'lift_jax[itk]'" in line for line in lines)


def test_mha_is_read_as_the_nifti_of_the_same_voxels(tmp_path):
    itk = pytest.importorskip("SimpleITK")
    from lift_jax.data.volumes import read_header, read_volume

    rotated = np.array([[0.0, -1.2, 0, 5], [0.8, 0, 0, -7], [0, 0, -1.5, 9], [0, 0, 0, 1]])
    nifti = write(tmp_path / "a.nii.gz", brain(), rotated)
    itk.WriteImage(itk.ReadImage(str(nifti)), str(tmp_path / "a.mha"))
    expected, volume = read_volume(nifti), read_volume(tmp_path / "a.mha")
    np.testing.assert_array_equal(volume.array, expected.array)
    np.testing.assert_allclose(volume.affine, expected.affine, atol=1e-5)
    grid = read_header(tmp_path / "a.mha")
    assert grid.shape == expected.shape and np.array_equal(grid.affine, volume.affine)
    itk.WriteImage(itk.Image([4, 4, 4, 2], itk.sitkFloat32), str(tmp_path / "4d.mha"))
    (tmp_path / "bad.mha").write_bytes(b"no image")
    for name, words in (
        ("4d.mha", "is 4D"),
        ("bad.mha", "cannot be read as MetaImage"),
        ("absent.mha", "no such file"),
    ):
        for read in (read_header, read_volume):
            with pytest.raises(UserError, match=words):
                read(tmp_path / name)
