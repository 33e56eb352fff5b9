import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lift_jax.data.splits import SPLITS, check_members, patient_of, read_split_file, separated_patients, split_patients
from lift_jax.errors import DataWarning, UserError

names_of_subjects = st.lists(st.text(min_size=1, max_size=12), unique=True)


def alone(names):
    """Every subject a patient of its own."""
    return {name: name for name in names}


@given(names_of_subjects.filter(lambda names: len(names) >= 3), st.randoms())
def test_split_is_a_partition_that_does_not_depend_on_listing_order(names, random):
    split = split_patients(alone(names))
    assert sorted(name for key in SPLITS for name in split[key]) == sorted(names)
    assert all(split[key] for key in SPLITS)
    random.shuffle(names)
    assert split_patients(alone(names)) == split


@given(st.dictionaries(st.text(min_size=1, max_size=5), st.integers(0, 20)), st.booleans())
def test_no_patient_is_separated(patients, few):
    patients = {name: str(patient) for name, patient in patients.items()}
    if len(set(patients.values())) < 3:
        return
    split = split_patients(patients, few_validate=few)
    assert sorted(name for key in SPLITS for name in split[key]) == sorted(patients)
    parts = [{patients[name] for name in split[key]} for key in SPLITS]
    assert sum(map(len, parts)) == len(set.union(*parts)) and all(parts)
    assert not list(separated_patients(split, patients))


def test_time_points_of_brats_patients_stay_together():
    """180 of 1,470 names, as in BraTS 2023, where a hash of whole names separated 175 of 180 test patients."""
    names = [f"BraTS-GLI-{i // 3:05d}-{i % 3:03d}" for i in range(1470)]
    split = split_patients({name: patient_of(name) for name in names})
    held_out = {name[:-4] for key in ("validation", "test") for name in split[key]}
    assert not held_out & {name[:-4] for name in split["train"]}
    assert 0.13 < len(split["test"]) / len(names) < 0.17


@pytest.mark.parametrize(
    ("name", "patient"),
    [
        ("BraTS-GLI-00012-000", "BraTS-GLI-00012"),
        ("BraTS-GLI-00012-101", "BraTS-GLI-00012"),
        ("BraTS-MET-00012-000", "BraTS-MET-00012"),
        ("BraTS2021_00012", "BraTS2021_00012"),
        ("BraTS20_Training_001", "BraTS20_Training_001"),
        ("sub-01", "sub-01"),
        ("sub-01_ses-02", "sub-01"),
        ("1BA001", "1BA001"),
        ("case_0", "case_0"),
        ("12345-123", "12345-123"),
    ],
)
def test_patients_by_the_names_of_subjects(name, patient):
    assert patient_of(name) == patient


@pytest.mark.parametrize(
    ("count", "few", "sizes"),
    [
        (3, False, (1, 1, 1)),
        (4, False, (2, 1, 1)),
        (6, False, (4, 1, 1)),
        (20, False, (16, 1, 3)),
        (1470, False, (1176, 73, 221)),
        (3, True, (1, 1, 1)),
        (6, True, (4, 1, 1)),
        (180, True, (140, 4, 36)),
    ],
)
def test_split_sizes_are_the_rounded_shares(count, few, sizes):
    split = split_patients(alone(f"case-{index:05d}" for index in range(count)), few_validate=few)
    assert tuple(len(split[key]) for key in SPLITS) == sizes


@given(names_of_subjects.filter(lambda names: len(names) >= 4))
def test_one_more_patient_moves_at_most_one_other_across_each_cut(names):
    assert moved_by_the_last(names) <= 2


def test_both_cuts_moving_at_once_move_one_patient_each():
    """At 30 patients the shares of both splits round up."""
    for count in range(4, 400):
        assert moved_by_the_last([f"case-{index}" for index in range(count)]) <= 2, count


def moved_by_the_last(names):
    small, large = split_patients(alone(names[:-1])), split_patients(alone(names))
    before = {name: key for key in SPLITS for name in small[key]}
    after = {name: key for key in SPLITS for name in large[key]}
    return sum(before[name] != after[name] for name in before)


def test_another_salt_is_another_split():
    names = alone(f"case-{index}" for index in range(100))
    assert split_patients(names, salt="a") != split_patients(names, salt="b")


def test_split_of_known_names_never_changes():
    """Ranked D, B, A, C by `printf 'lift_jax split 1\\nA' | sha256sum`, and so on."""
    assert split_patients(alone("ABCD")) == {"train": ["A", "C"], "validation": ["B"], "test": ["D"]}


@pytest.mark.parametrize("patients", [{}, {"a": "p"}, {"a": "p", "b": "q"}, {"a": "p", "b": "q", "c": "q"}])
def test_fewer_than_three_patients_need_a_split_file(patients):
    with pytest.raises(UserError, match="split_file"):
        split_patients(patients)


def written(folder, content):
    path = folder / "split.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def test_split_file_is_followed_and_may_leave_subjects_out(tmp_path):
    split = {"train": ["b", "a"], "validation": [], "test": ["c"]}
    assert read_split_file(written(tmp_path, split), alone("abcd")) == split


def test_split_file_that_separates_a_patient_is_warned_about(tmp_path):
    split = {"train": ["a1", "b1"], "validation": ["b2"], "test": ["a2", "c"]}
    patients = {name: name[0] for name in ("a1", "a2", "b1", "b2", "c")}
    with pytest.warns(DataWarning, match=r"split\.json: 2 patient.s. are in .*'a' in train and test"):
        assert read_split_file(written(tmp_path, split), patients) == split


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"train": ["a"], "validation": ["z"], "test": ["y"]}, "no subject 'z', 'y'"),
        ({"train": ["a"], "validation": ["b"], "test": ["a"]}, "'a' is listed in 'train' and in 'test'"),
        ({"train": ["a", "a"], "validation": [], "test": []}, "listed in 'train' and in 'train'"),
        ({"train": ["a"], "test": []}, '"validation"'),
        ({"train": ["a"], "validation": [], "test": [], "tset": []}, "not a split file"),
        ({"train": "a", "validation": [], "test": []}, "'train' is not a list"),
        ({"train": [1], "validation": [], "test": []}, "'train' is not a list"),
        (["a"], "not a split file"),
        ("{", "not JSON"),
        ("[" * 100_000, "not JSON"),
    ],
)
def test_bad_split_file_is_refused_in_one_line_that_names_it(tmp_path, content, message):
    path = written(tmp_path, content)
    with pytest.raises(UserError) as error:
        read_split_file(path, alone("abc"))
    assert str(path) in str(error.value) and message in str(error.value) and "\n" not in str(error.value)


def test_a_split_without_subjects_is_refused_where_one_is_needed():
    check_members(["a"], "train", "split.json")
    with pytest.raises(UserError, match=r"^split\.json: 'train' holds no subject"):
        check_members([], "train", "split.json")


def test_unreadable_split_file_is_refused(tmp_path):
    with pytest.raises(UserError, match="cannot be read"):
        read_split_file(tmp_path / "absent.json", {})
    (tmp_path / "binary.json").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UserError, match="not JSON"):
        read_split_file(tmp_path / "binary.json", {})
