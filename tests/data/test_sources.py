"""From the data section to the subjects of a split."""

import json
import os

import pytest

from lift_jax.data.sources import DataSplit, all_subjects, data_split, resolve_paths, subject_source
from lift_jax.data.splits import SPLITS
from lift_jax.errors import DataWarning, UserError
from tests.data.written_scans import T1_FLAIR, brain, section, write

CHANNELS = ("t1n", "t1c", "t2w", "t2f")


def subject(root, name, channels=CHANNELS, shape=(18, 18, 18)):
    for seed, channel in enumerate(channels):
        write(root / name / f"{name}-{channel}.nii.gz", brain(seed, shape))


@pytest.fixture
def brats(tmp_path):
    """Eight subjects of four patients."""
    for patient in range(4):
        for time in range(2):
            subject(tmp_path, f"BraTS-GLI-{patient:05d}-{time:03d}")
    return tmp_path


def test_splits_are_by_patient_and_said(brats):
    split = data_split(section(root=brats))
    assert (
        split.describe()
        == "4 train of 2 patients, 2 validation of 1 patients, 2 test of 1 patients (split by hash of patients)"
    )
    sources = {key: subject_source(section(root=brats), key) for key in SPLITS}
    assert {key: source.names for key, source in sources.items()} == split.subjects
    assert set(sources["train"].patients) == {split.patients[name] for name in split.subjects["train"]}
    assert sources["test"].channels(0) == CHANNELS and tuple(sources["test"].load(0).images) == CHANNELS


def test_the_record_of_a_split_tells_which_subjects_a_run_has_seen(brats):
    split = DataSplit(**json.loads(json.dumps(data_split(section(root=brats)).to_dict())))
    assert split == data_split(section(root=brats)) or split.to_dict() == data_split(section(root=brats)).to_dict()
    train, validation, test = (split.subjects[key] for key in SPLITS)
    later = f"{train[0][:-4]}-009"  # another time point of a patient that trained
    names = [train[1], validation[0], test[0], later, "BraTS-GLI-99999-000"]
    assert split.seen(names) == {"train": [train[1], later], "validation": [validation[0]]}


def test_split_file_is_followed_and_separated_patients_are_said(brats):
    names = [f"BraTS-GLI-{patient:05d}-{time:03d}" for time in range(2) for patient in range(4)]
    path = brats / "split.json"
    path.write_text(json.dumps({"train": names[:4], "validation": [], "test": names[4:]}))
    data = section(root=brats, split_file=str(path))
    with pytest.warns(DataWarning, match="4 patient.s. are in several splits"):
        assert subject_source(data, "test").names == names[4:]
    with pytest.warns(DataWarning):
        assert data_split(data).rule == str(path)


def test_manifest_decides_on_the_split(tmp_path):
    file = write(tmp_path / "x.nii.gz", brain())
    rows = [f"s{i},{file},{file},{split},p{i % 2}" for i, split in enumerate(("train", "train", "test", "validation"))]
    (tmp_path / "t.csv").write_text("\n".join(["subject,T1,FLAIR,split,patient", *rows]))
    data = section(dataset="manifest", manifest=tmp_path / "t.csv", channels=T1_FLAIR)
    with pytest.warns(DataWarning, match="2 patient.s. are in several splits"):
        assert subject_source(data, "train").names == ["s0", "s1"]


def test_incomplete_subjects_are_used_and_a_channel_that_none_has_is_an_error(tmp_path):
    for i, channels in enumerate((CHANNELS[:2], CHANNELS[1:], CHANNELS[2:3], CHANNELS[:1], CHANNELS[3:], CHANNELS[:3])):
        subject(tmp_path, f"s{i}", channels)
    sources = [subject_source(section(root=tmp_path), split) for split in SPLITS]
    assert sum(len(source.names) for source in sources) == 6 and all(source.names for source in sources)
    channels = {name: source.channels(i) for source in sources for i, name in enumerate(source.names)}
    assert channels["s1"] == CHANNELS[1:] and channels["s4"] == CHANNELS[3:]
    chosen = section(root=tmp_path, sources=("t1n",), targets=("t1c",))
    assert {n for split in SPLITS for n in subject_source(chosen, split).names} == {"s0", "s1", "s3", "s5"}
    for i in range(6):
        for path in (tmp_path / f"s{i}").glob("*t2f*"):
            path.unlink()
    with pytest.raises(UserError, match="no subject that trains has the channel t2f"):
        subject_source(section(root=tmp_path), "test")


def test_a_channel_of_too_few_subjects_is_a_warning_unless_it_is_a_target_or_the_split_was_chosen(tmp_path):
    for i, channels in enumerate((CHANNELS[:2], CHANNELS[1:3], CHANNELS[2:])):
        subject(tmp_path, f"s{i}", channels)
    with pytest.warns(DataWarning, match="so it is not learned"):
        (name,) = subject_source(section(root=tmp_path), "train").names
    missing = next(c for c in CHANNELS if not (tmp_path / name / f"{name}-{c}.nii.gz").exists())
    with pytest.raises(UserError, match=f"has the channel {missing}"):
        subject_source(section(root=tmp_path, targets=(missing,)), "train")
    path = tmp_path / "split.json"
    path.write_text(json.dumps({"train": ["s0", "s1"], "validation": [], "test": ["s2"]}))
    with pytest.raises(UserError, match="no subject that trains has the channel t2f"):
        subject_source(section(root=tmp_path, split_file=str(path)), "train")


def test_few_subjects_are_split_so_that_training_has_all_channels(tmp_path):
    """The first hash would leave t2f, which only one of five has, out of training for two of these five."""
    for rare in range(5):
        for i in range(5):
            subject(tmp_path / str(rare), f"s{i}", CHANNELS[: 4 if i == rare else 3])
        assert f"s{rare}" in data_split(section(root=tmp_path / str(rare))).subjects["train"]


def test_the_bad_subjects_of_all_splits_are_reported_at_once(brats):
    names = sorted(path.name for path in brats.iterdir())[:3]
    for name in names:
        (brats / name / f"{name}-t1c.nii.gz").write_bytes(b"")
    for split in SPLITS:
        with pytest.raises(UserError) as refusal:
            subject_source(section(root=brats), split)
        first, *lines = str(refusal.value).splitlines()
        assert "3 of 8 subjects cannot be used" in first and len(lines) == 3
        assert all(str(brats / name) in line for name, line in zip(names, lines, strict=True))


def test_all_subjects_of_a_folder_or_the_one_that_it_is(brats):
    name = "BraTS-GLI-00000-000"
    assert len(all_subjects(section(root="/nowhere", spacing=4.0), brats).names) == 8
    one = all_subjects(section(dataset="phantom", spacing=3.0, size=(9, 9, 9)), brats / name)
    assert one.names == [name] and one.load(0).spacing == (3, 3, 3) and one.load(0).shape == (9, 6, 6)
    write(brats / "p" / "1BA" / "mr.nii.gz", brain())
    assert all_subjects(
        section(dataset="phantom_head", channels={"mr": "mr_foreground", "ct": "ct_hu"}), brats / "p"
    ).names == ["1BA"]
    (brats / name / f"{name}-t1n.nii.gz").write_bytes(b"")
    with pytest.raises(UserError, match="1 of 1 subjects"):
        all_subjects(section(), brats / name)
    assert all_subjects(section(), brats / name, check=False).names == [name]


def test_paths_are_made_absolute(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    data = section(root="data", split_file="s.json")
    resolve_paths(data)
    assert (data.root, data.split_file, data.manifest) == (os.path.join(tmp_path, "data"), str(tmp_path / "s.json"), "")
    bucket = section(root="gs://bucket/data")
    resolve_paths(bucket)
    assert bucket.root == "gs://bucket/data"


def test_channels_without_protocol_are_all_listed():
    data = section(dataset="files", channels={"T1": "", "FLAIR": "z", "a/b": "unit"}, sources=("T2",), targets=("PD",))
    with pytest.raises(UserError) as refusal:
        subject_source(data, "train")
    lines = str(refusal.value).splitlines()
    words = ("FLAIR: 'z' is no protocol", "T1: has no protocol", "a/b: name channels", "sources: 'T2'", "targets: 'PD'")
    assert [word in line for word, line in zip(words, lines, strict=True)] == [True] * 5


def test_a_channel_that_is_nowhere_is_reported_with_the_names_that_are_there(tmp_path):
    for name in "abcdef":
        write(tmp_path / name / "T1.nii.gz", brain())
        write(tmp_path / name / "T2_FLAIR.nii.gz", brain())
    files = {"dataset": "files", "pattern": "{subject}/{channel}.nii.gz", "root": tmp_path, "channels": T1_FLAIR}
    message = r"the channel FLAIR \(not used: a/T2_FLAIR\.nii\.gz, .*data\.suffixes\)"
    with pytest.raises(UserError, match=message):
        subject_source(section(**files), "train")
