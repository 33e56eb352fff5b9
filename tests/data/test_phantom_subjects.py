"""Phantoms as subjects: the volumes of their makers, bit for bit."""

import numpy as np
import pytest

from lift_jax.data.channels import protocols_of
from lift_jax.data.datasets import BRATS_CHANNELS as CHANNELS
from lift_jax.data.phantom.brain import make_phantom
from lift_jax.data.phantom.head import field_spacing, make_phantom_head
from lift_jax.data.sources import data_split, subject_source
from lift_jax.errors import UserError
from tests.data.written_scans import section

SIZE = (24, 24, 24)


def phantoms(**values):
    return section(**({"dataset": "phantom", "size": SIZE, "spacing": 8.0, "phantom_seed": 3} | values))


def heads(*channels):
    protocols = {"mr": "mr_foreground", "mr_t2": "mr_foreground", "ct": "ct_hu"}
    chosen = {channel: protocols[channel] for channel in channels}
    return phantoms(dataset="phantom_head", spacing=field_spacing(SIZE), channels=chosen)


def test_brains_are_those_that_are_made_in_the_order_of_their_channels():
    subject = subject_source(phantoms(), "validation").load(0)
    made = make_phantom(3, 3, SIZE, 8.0)
    assert (subject.name, tuple(subject.images), subject.mask) == (made.name, tuple(CHANNELS), None)
    for i, channel in enumerate(CHANNELS):
        np.testing.assert_array_equal(subject.images[channel], made.sources[..., i])
        np.testing.assert_array_equal(subject.reference(channel), made.targets[..., i])
    np.testing.assert_array_equal(subject.affine, made.affine)


def test_heads_are_those_that_are_made_with_air_outside():
    subject = subject_source(heads("mr", "ct"), "test").load(1)
    made = make_phantom_head(3, 5, SIZE, field_spacing(SIZE))
    assert (subject.name, tuple(subject.images)) == (made.name, ("mr", "ct"))
    np.testing.assert_array_equal(subject.images["mr"], made.mr)
    np.testing.assert_array_equal(subject.images["ct"], np.where(made.mask, made.ct, np.float32(-1024)))
    np.testing.assert_array_equal(subject.mask, made.mask)


def test_the_second_sequence_shows_the_same_head_otherwise():
    source = subject_source(heads("mr", "mr_t2", "ct"), "train")
    subject = source.load(0)
    assert tuple(subject.images) == ("mr", "mr_t2", "ct")
    t1, t2 = subject.images["mr"], subject.images["mr_t2"]
    np.testing.assert_array_equal(t1, subject_source(heads("mr", "ct"), "train").load(0).images["mr"])
    assert t2.dtype == np.float32 and t2.min() == 0 and t2.max() == 1 and (t2[~subject.mask] == 0).all()
    correlation = np.corrcoef(t1[subject.mask], t2[subject.mask])[0, 1]
    assert correlation < 0.8
    np.testing.assert_array_equal(source.load(0, ("mr_t2",)).images["mr_t2"], t2)


def test_splits_are_disjoint_ranges_and_fingerprints_follow_all_that_matters():
    split = data_split(phantoms())
    names = [name for members in split.subjects.values() for name in members]
    assert len(set(names)) == 6 and split.describe() == "3 train, 1 validation, 2 test (split by index)"
    sections = [
        phantoms(),
        phantoms(phantom_seed=4),
        phantoms(spacing=7.0),
        phantoms(size=(24, 24, 22)),
        phantoms(channels={"t1n": "mr_quantile"}),
        heads("mr", "ct"),
        heads("mr"),
    ]
    prints = [subject_source(data, "train").fingerprint(i) for data in sections for i in (0, 1)]
    assert len(set(prints)) == len(prints)


def test_sources_come_first_in_the_order_of_channels_then_further_targets():
    assert tuple(protocols_of(phantoms())) == tuple(CHANNELS)
    assert tuple(protocols_of(phantoms(sources=("t2f", "t1n"), targets=("t1n", "t2w")))) == ("t2f", "t1n", "t2w")
    assert tuple(protocols_of(phantoms(sources=("t2f",)))) == ("t2f", "t1n", "t1c", "t2w")
    protocols = protocols_of(section(dataset="synthrad2023", sources=("mr",), targets=("ct",), hu_range=(-1000, 8000)))
    assert (protocols["ct"].low, protocols["ct"].high, protocols["mr"].unit) == (-1000, 8000, "[0, 1]")


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"spacing": 0.0}, "spacing"),
        ({"size": (4, 24, 24)}, "8 voxels"),
        ({"phantom_seed": -1}, "seed=-1"),
        ({"channels": {"flair": "mr_quantile"}}, "has only the channels t1n"),
        ({"targets": ("flair",)}, "config.data.targets: 'flair' is no channel"),
        ({"dataset": "dicom"}, "config.data.dataset: 'dicom' is none of"),
        ({"dataset": "files"}, "config.data.channels: not set"),
        ({"hu_range": (3000, -1024)}, "config.data.hu_range"),
    ],
)
def test_sections_that_cannot_work_are_refused_by_their_key(values, words):
    with pytest.raises(UserError, match=words):
        subject_source(phantoms(**values), "train")
