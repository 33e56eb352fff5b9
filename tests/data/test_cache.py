import errno
import os
import time

import numpy as np
import pytest

from lift_jax.data import cache
from lift_jax.data.cache import CACHE_VERSION, LEFT_AFTER, METADATA, cache_subjects
from lift_jax.data.intensity import get_protocol
from lift_jax.data.subject import Subject
from lift_jax.errors import UserError

SHAPE = (5, 4, 3)
PROTOCOLS = {"mr": get_protocol("mr_foreground"), "t2": get_protocol("unit"), "ct": get_protocol("ct_hu")}


class RandomSubjects:
    """A SubjectSource of noise that counts its loads; `full`, with references, mask and segmentation."""

    protocols = PROTOCOLS

    def __init__(self, count=2, full=False, salt="a"):
        self.names = [f"subject-{i}" for i in range(count)]
        self.loads = []
        self._full, self._salt = full, salt

    def load(self, index):
        self.loads.append(index)
        generator = np.random.default_rng(index)
        images = {"t2": generator.random(SHAPE, np.float32), "ct": generator.normal(0, 900, SHAPE).astype(np.float32)}
        affine = np.diag([2.0, 2.0, 3.0, 1.0])
        if not self._full:
            return Subject(self.names[index], images, affine)
        mask, labels = generator.random(SHAPE) < 0.5, generator.integers(0, 5, SHAPE).astype(np.uint8)
        references = {"t2": images["t2"] / 2, "ct": images["ct"] + 1e-3 * np.sign(images["ct"] % 1 - 0.5)}
        return Subject(self.names[index], images, affine, mask, references, labels)

    def fingerprint(self, index):
        return f"{self._salt}{index}"


def contents(directory):
    return sorted(path.relative_to(directory).as_posix() for path in directory.rglob("*"))


def test_a_cached_subject_is_its_source_to_half_precision_and_whole_hounsfield_units(tmp_path):
    source = RandomSubjects(full=True)
    for index, cached in enumerate(cache_subjects(source, tmp_path, threads=2)):
        subject = source.load(index)
        assert isinstance(cached.image("t2"), np.memmap)
        np.testing.assert_array_equal(cached.image("t2"), subject.images["t2"].astype(np.float16))
        np.testing.assert_allclose(cached.image("t2"), subject.images["t2"], atol=2**-12)
        np.testing.assert_array_equal(cached.reference("t2"), subject.references["t2"].astype(np.float16))
        assert cached.image("ct").dtype == np.int16
        np.testing.assert_array_equal(cached.image("ct"), np.rint(subject.images["ct"]))
        np.testing.assert_array_equal(cached.mask, subject.mask)
        np.testing.assert_array_equal(cached.segmentation, subject.segmentation)
        assert (cached.name, cached.channels, cached.shape) == (subject.name, ("t2", "ct"), SHAPE)
        np.testing.assert_array_equal(cached.affine, subject.affine)
        loaded = cached.load(("t2",))
        assert tuple(loaded.images) == ("t2",) and loaded.images["t2"].dtype == np.float32
        np.testing.assert_array_equal(loaded.reference("t2"), cached.reference("t2"))
        np.testing.assert_array_equal(loaded.mask, subject.mask)
        assert loaded.name == subject.name and loaded.spacing == (3, 2, 2)


def test_references_are_stored_only_where_they_differ_from_the_image_as_stored(tmp_path):
    (plain,) = cache_subjects(RandomSubjects(1), tmp_path, threads=1)
    (full,) = cache_subjects(RandomSubjects(1, full=True, salt="b"), tmp_path, threads=1)
    assert contents(plain.directory) == ["image-ct.npy", "image-t2.npy", METADATA]
    arrays = ("image-ct", "image-t2", "mask", "reference-t2", "segmentation")
    assert contents(full.directory) == sorted([METADATA, *(f"{name}.npy" for name in arrays)])
    np.testing.assert_array_equal(plain.reference("t2"), plain.image("t2"))
    np.testing.assert_array_equal(full.reference("ct"), full.image("ct"))
    assert plain.mask is None and plain.segmentation is None and not plain.load().references


def test_a_channel_that_a_subject_lacks_is_a_fault_of_the_caller(tmp_path):
    (cached,) = cache_subjects(RandomSubjects(1), tmp_path, threads=1)
    with pytest.raises(KeyError, match="image-mr"):
        cached.image("mr")


def test_subjects_lie_under_their_fingerprints_in_the_sources_order(tmp_path):
    cached = cache_subjects(RandomSubjects(3), tmp_path / "made" / "here", threads=2)
    assert [subject.directory for subject in cached] == [
        tmp_path / "made" / "here" / f"a{i}-{CACHE_VERSION}" for i in range(3)
    ]
    assert [subject.name for subject in cached] == ["subject-0", "subject-1", "subject-2"]


def test_what_is_cached_is_not_made_again(tmp_path):
    cache_subjects(RandomSubjects(2), tmp_path, threads=1)
    before = contents(tmp_path)
    again = RandomSubjects(3)
    cache_subjects(again, tmp_path, threads=1)
    assert again.loads == [2]
    assert set(before) < set(contents(tmp_path))


def test_other_data_or_another_protocol_is_made_anew(tmp_path):
    cache_subjects(RandomSubjects(2), tmp_path, threads=1)
    other = RandomSubjects(2, salt="b")
    cache_subjects(other, tmp_path, threads=1)
    assert sorted(other.loads) == [0, 1]


@pytest.mark.parametrize(
    ("failing", "full"),
    [
        ("image-t2.npy", OSError(errno.ENOSPC, "No space left on device")),
        ("mask.npy", OSError("1000 requested and 40 written")),  # what NumPy makes of a short write
    ],
)
def test_a_full_disk_is_reported_in_one_line_and_leaves_no_half_subject(tmp_path, monkeypatch, failing, full):
    save = cache.save_array

    def save_until_full(path, array):
        if path.name == failing and source.loads[-1] == 1:
            path.write_bytes(b"half")
            raise full
        save(path, array)

    source = RandomSubjects(2, full=True)
    monkeypatch.setattr(cache, "save_array", save_until_full)
    with pytest.raises(UserError, match=r"No space left|40 written") as refusal:
        cache_subjects(source, tmp_path, threads=1)
    assert "\n" not in str(refusal.value)
    assert str(tmp_path / f"a1-{CACHE_VERSION}") in str(refusal.value)
    assert [path.name for path in tmp_path.iterdir()] == [f"a0-{CACHE_VERSION}"]

    monkeypatch.undo()
    again = RandomSubjects(2, full=True)
    cache_subjects(again, tmp_path, threads=1)
    assert again.loads == [1]


def test_a_writer_that_was_overtaken_by_another_uses_what_that_one_wrote(tmp_path):
    source = RandomSubjects(1)
    load = source.load

    def load_slowly(index):
        cache_subjects(RandomSubjects(1), tmp_path, threads=1)
        return load(index)

    source.load = load_slowly
    (cached,) = cache_subjects(source, tmp_path, threads=1)
    np.testing.assert_array_equal(cached.image("t2"), load(0).images["t2"].astype(np.float16))
    assert [path.name for path in tmp_path.iterdir()] == [f"a0-{CACHE_VERSION}"]


def test_what_killed_processes_left_is_removed_and_what_others_are_writing_is_not(tmp_path):
    ages = {".writing-old": LEFT_AFTER + 60, ".writing-new": LEFT_AFTER - 60, "other": LEFT_AFTER + 60}
    for name, age in ages.items():
        (tmp_path / name).mkdir()
        (tmp_path / name / "image-t2.npy").write_bytes(b"half")
        os.utime(tmp_path / name, (time.time() - age,) * 2)
    cache_subjects(RandomSubjects(1), tmp_path, threads=1)
    assert sorted(path.name for path in tmp_path.iterdir()) == [".writing-new", f"a0-{CACHE_VERSION}", "other"]


def test_a_shared_cache_can_be_read_by_whoever_may_read_its_folder(tmp_path):
    (tmp_path / "ordinary").mkdir()
    (cached,) = cache_subjects(RandomSubjects(1), tmp_path, threads=1)
    assert cached.directory.stat().st_mode == (tmp_path / "ordinary").stat().st_mode


def test_a_subject_that_cannot_be_read_is_reported_and_those_before_it_stay(tmp_path):
    source = RandomSubjects(3)
    load = source.load

    def load_but_one(index):
        if index == 1:
            raise UserError("subject-1: damaged")
        return load(index)

    source.load = load_but_one
    with pytest.raises(UserError, match="subject-1: damaged"):
        cache_subjects(source, tmp_path, threads=1)
    assert (tmp_path / f"a0-{CACHE_VERSION}" / "metadata.json").exists()
    assert not list(tmp_path.glob(".*"))


def test_a_cache_that_cannot_be_made_is_reported_by_its_name(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match=r"file/cache: cannot make the cache .*config\.data\.cache"):
        cache_subjects(RandomSubjects(), tmp_path / "file" / "cache", threads=1)


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
@pytest.mark.parametrize("name", ["image-t2.npy", "metadata.json"])
def test_a_damaged_file_is_reported_by_its_name(tmp_path, name, damage):
    (cached,) = cache_subjects(RandomSubjects(1), tmp_path, threads=1)
    damage(cached.directory / name)
    with pytest.raises(UserError) as refusal:
        cached.image("t2")
    assert str(refusal.value).startswith(f"{cached.directory / name}: damaged or missing")
    assert "\n" not in str(refusal.value)


def test_arrays_are_never_unpickled(tmp_path):
    (cached,) = cache_subjects(RandomSubjects(1), tmp_path, threads=1)
    np.save(cached.directory / "image-t2.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)
    with pytest.raises(UserError, match=r"image-t2\.npy: damaged"):
        cached.image("t2")
