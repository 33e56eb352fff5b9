import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lift_jax.data.splits import SPLITS, check_members, read_split_file, split_cases
from lift_jax.errors import UserError
from scripts.link_brats_split import official_split

case_names = st.lists(st.text(min_size=1, max_size=12), unique=True)


@given(case_names.filter(lambda names: len(names) >= 3), st.randoms())
def test_split_is_a_partition_that_does_not_depend_on_listing_order(names, random):
    split = split_cases(names)
    assert sorted(name for key in SPLITS for name in split[key]) == sorted(names)
    assert all(split[key] for key in SPLITS)
    random.shuffle(names)
    assert split_cases(names) == split


@pytest.mark.parametrize(
    ("count", "sizes"), [(3, (1, 1, 1)), (4, (2, 1, 1)), (20, (16, 1, 3)), (1470, (1176, 73, 221))]
)
def test_split_sizes_are_the_rounded_shares(count, sizes):
    split = split_cases(f"case-{index:05d}" for index in range(count))
    assert tuple(len(split[key]) for key in SPLITS) == sizes


@given(case_names.filter(lambda names: len(names) >= 4))
def test_one_more_case_moves_at_most_one_other_across_each_cut(names):
    assert moved_by_the_last(names) <= 2


def test_both_cuts_moving_at_once_move_one_case_each():
    """At 30 cases the shares of both splits round up."""
    for count in range(4, 400):
        assert moved_by_the_last([f"case-{index}" for index in range(count)]) <= 2, count


def moved_by_the_last(names):
    small, large = split_cases(names[:-1]), split_cases(names)
    before = {name: key for key in SPLITS for name in small[key]}
    after = {name: key for key in SPLITS for name in large[key]}
    return sum(before[name] != after[name] for name in before)


def test_another_salt_is_another_split():
    names = [f"case-{index}" for index in range(100)]
    assert split_cases(names, salt="a") != split_cases(names, salt="b")


def test_split_of_known_names_never_changes():
    """Ranked D, B, A, C by `printf 'lift_jax split 1\\nA' | sha256sum`, and so on."""
    assert split_cases(["A", "B", "C", "D"]) == {"train": ["A", "C"], "validation": ["B"], "test": ["D"]}


@pytest.mark.parametrize("names", [[], ["only"], ["one", "two"]])
def test_fewer_than_three_cases_need_a_split_file(names):
    with pytest.raises(UserError, match="split file"):
        split_cases(names)


def written(folder, content):
    path = folder / "split.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def test_split_file_is_followed_and_may_leave_cases_out(tmp_path):
    split = {"train": ["b", "a"], "validation": [], "test": ["c"]}
    assert read_split_file(written(tmp_path, split), ["a", "b", "c", "d"]) == split


@pytest.mark.parametrize(
    ("content", "told"),
    [
        ({"train": ["a"], "validation": ["z"], "test": ["y"]}, "no case 'z', 'y'"),
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
def test_bad_split_file_is_refused_in_one_line_that_names_it(tmp_path, content, told):
    path = written(tmp_path, content)
    with pytest.raises(UserError) as error:
        read_split_file(path, ["a", "b", "c"])
    assert str(path) in str(error.value) and told in str(error.value) and "\n" not in str(error.value)


def test_a_split_without_cases_is_refused_where_one_is_needed():
    check_members(["a"], "train", "split.json")
    with pytest.raises(UserError, match=r"^split\.json: 'train' holds no case"):
        check_members([], "train", "split.json")


def test_unreadable_split_file_is_refused(tmp_path):
    with pytest.raises(UserError, match="cannot be read"):
        read_split_file(tmp_path / "absent.json", [])
    (tmp_path / "binary.json").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(UserError, match="not JSON"):
        read_split_file(tmp_path / "binary.json", [])


def test_the_official_split_tests_on_the_official_validation_data_and_separates_no_patient():
    training = [f"BraTS-GLI-{patient:05d}-{visit:03d}" for patient in range(60) for visit in range(1 + patient % 3)]
    validation = [f"BraTS-GLI-{patient:05d}-000" for patient in range(100, 107)]
    split = official_split(training, validation)
    assert split["test"] == validation
    assert sorted(split["train"] + split["validation"]) == sorted(training)
    patients = [{name[:-4] for name in split[part]} for part in ("train", "validation")]
    assert not patients[0] & patients[1] and len(patients[1]) == 3
