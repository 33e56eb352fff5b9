import errno
import os
import time

import numpy as np
import pytest

from lift_jax.data import cache
from lift_jax.data.array_folders import LEFT_AFTER
from lift_jax.data.cache import LAYOUT, cache_cases
from lift_jax.data.cases import Case
from lift_jax.errors import UserError

SHAPE = (5, 4, 3, 4)


class RandomCases:
    """A CaseSource of noise that counts its loads; with `gained`, targets are other arrays than sources."""

    def __init__(self, count=2, gained=False, salt="a"):
        self.names = [f"case-{i}" for i in range(count)]
        self.loads = []
        self._gained, self._salt = gained, salt

    def load(self, index):
        self.loads.append(index)
        generator = np.random.default_rng(index)
        sources = generator.random(SHAPE, np.float32)
        return Case(
            name=self.names[index],
            sources=sources,
            targets=generator.random(SHAPE, np.float32) if self._gained else sources,
            available=np.array([True, True, False, True]),
            affine=np.diag([2.0, 2.0, 3.0, 1.0]),
        )

    def fingerprint(self, index):
        return f"{self._salt}{index}"


def contents(directory):
    return sorted(path.relative_to(directory).as_posix() for path in directory.rglob("*"))


def test_a_cached_case_is_its_source_to_half_precision(tmp_path):
    source = RandomCases(gained=True)
    for index, cached in enumerate(cache_cases(source, tmp_path, threads=2)):
        case = source.load(index)
        for name in ("sources", "targets"):
            array = cached.array(name)
            assert isinstance(array, np.memmap)
            np.testing.assert_array_equal(array, getattr(case, name).astype(np.float16))
            np.testing.assert_allclose(array, getattr(case, name), atol=2**-12)
        assert cached.facts["name"] == case.name
        np.testing.assert_array_equal(cached.facts["available"], case.available)
        np.testing.assert_array_equal(cached.facts["affine"], case.affine)


def test_targets_are_stored_only_where_they_differ_from_the_sources(tmp_path):
    (scanned,) = cache_cases(RandomCases(1), tmp_path, threads=1)
    (gained,) = cache_cases(RandomCases(1, gained=True, salt="b"), tmp_path, threads=1)
    assert contents(scanned.directory) == ["facts.json", "sources.npy"]
    assert contents(gained.directory) == ["facts.json", "sources.npy", "targets.npy"]
    np.testing.assert_array_equal(scanned.array("targets"), scanned.array("sources"))


def test_cases_lie_under_their_fingerprints_in_the_sources_order(tmp_path):
    cached = cache_cases(RandomCases(3), tmp_path / "made" / "here", threads=2)
    assert [case.directory for case in cached] == [tmp_path / "made" / "here" / f"a{i}-{LAYOUT}" for i in range(3)]
    assert [case.facts["name"] for case in cached] == ["case-0", "case-1", "case-2"]


def test_what_is_cached_is_not_made_again(tmp_path):
    cache_cases(RandomCases(2), tmp_path, threads=1)
    before = contents(tmp_path)
    again = RandomCases(3)
    cache_cases(again, tmp_path, threads=1)
    assert again.loads == [2]
    assert set(before) < set(contents(tmp_path))


def test_other_data_or_another_protocol_is_made_anew(tmp_path):
    cache_cases(RandomCases(2), tmp_path, threads=1)
    other = RandomCases(2, salt="b")
    cache_cases(other, tmp_path, threads=1)
    assert sorted(other.loads) == [0, 1]


@pytest.mark.parametrize(
    ("failing", "full"),
    [
        ("sources.npy", OSError(errno.ENOSPC, "No space left on device")),
        ("targets.npy", OSError("1000 requested and 40 written")),  # what NumPy makes of a short write
    ],
)
def test_a_full_disk_is_told_in_one_line_and_leaves_no_half_case(tmp_path, monkeypatch, failing, full):
    save = cache.save_array

    def save_until_full(path, array):
        if path.name == failing and source.loads[-1] == 1:
            path.write_bytes(b"half")
            raise full
        save(path, array)

    source = RandomCases(2, gained=True)
    monkeypatch.setattr(cache, "save_array", save_until_full)
    with pytest.raises(UserError, match=r"No space left|40 written") as refusal:
        cache_cases(source, tmp_path, threads=1)
    assert "\n" not in str(refusal.value)
    assert str(tmp_path / f"a1-{LAYOUT}") in str(refusal.value)
    assert [path.name for path in tmp_path.iterdir()] == [f"a0-{LAYOUT}"]

    monkeypatch.undo()
    again = RandomCases(2, gained=True)
    cache_cases(again, tmp_path, threads=1)
    assert again.loads == [1]


def test_a_writer_that_was_overtaken_by_another_uses_what_that_one_wrote(tmp_path):
    source = RandomCases(1)
    load = source.load

    def load_slowly(index):
        cache_cases(RandomCases(1), tmp_path, threads=1)
        return load(index)

    source.load = load_slowly
    (cached,) = cache_cases(source, tmp_path, threads=1)
    np.testing.assert_array_equal(cached.array("sources"), load(0).sources.astype(np.float16))
    assert [path.name for path in tmp_path.iterdir()] == [f"a0-{LAYOUT}"]


def test_what_killed_processes_left_is_removed_and_what_others_are_writing_is_not(tmp_path):
    ages = {".writing-old": LEFT_AFTER + 60, ".writing-new": LEFT_AFTER - 60, "other": LEFT_AFTER + 60}
    for name, age in ages.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "sources.npy").write_bytes(b"half")
        os.utime(tmp_path / name, (time.time() - age,) * 2)
    cache_cases(RandomCases(1), tmp_path, threads=1)
    assert sorted(path.name for path in tmp_path.iterdir()) == [".writing-new", f"a0-{LAYOUT}", "other"]


def test_a_shared_cache_can_be_read_by_whoever_may_read_its_folder(tmp_path):
    (tmp_path / "ordinary").mkdir()
    (cached,) = cache_cases(RandomCases(1), tmp_path, threads=1)
    assert cached.directory.stat().st_mode == (tmp_path / "ordinary").stat().st_mode


def test_a_case_that_cannot_be_read_is_told_and_those_before_it_stay(tmp_path):
    source = RandomCases(3)
    load = source.load

    def load_but_one(index):
        if index == 1:
            raise UserError("case-1: damaged")
        return load(index)

    source.load = load_but_one
    with pytest.raises(UserError, match="case-1: damaged"):
        cache_cases(source, tmp_path, threads=1)
    assert (tmp_path / f"a0-{LAYOUT}" / "facts.json").exists()
    assert not list(tmp_path.glob(".*"))


def test_a_cache_that_cannot_be_made_is_told_by_its_name(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"file/cache: cannot make the cache .*config\.data\.cache"):
        cache_cases(RandomCases(), tmp_path / "file" / "cache", threads=1)


def remove(path):
    path.unlink()


def empty(path):
    path.write_bytes(b"")


def truncate(path):
    path.write_bytes(path.read_bytes()[:-1])


def garble(path):
    path.write_bytes(b"x" * path.stat().st_size)


@pytest.mark.parametrize(
    "damage",
    [remove, empty, truncate, garble],
)
@pytest.mark.parametrize("name", ["sources.npy", "facts.json"])
def test_a_damaged_file_is_told_by_its_name(tmp_path, name, damage):
    (cached,) = cache_cases(RandomCases(1), tmp_path, threads=1)
    damage(cached.directory / name)
    with pytest.raises(UserError) as refusal:
        cached.array("targets")
    assert str(refusal.value).startswith(f"{cached.directory / name}: damaged or missing")
    assert "\n" not in str(refusal.value)


def test_arrays_are_never_unpickled(tmp_path):
    (cached,) = cache_cases(RandomCases(1), tmp_path, threads=1)
    np.save(cached.directory / "sources.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)
    with pytest.raises(UserError, match=r"sources\.npy: damaged"):
        cached.array("sources")
