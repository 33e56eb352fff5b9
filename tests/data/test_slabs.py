import dataclasses
import itertools

import numpy as np
import pytest

from lift_jax.data.cache import cache_subjects
from lift_jax.data.channels import Channels
from lift_jax.data.intensity import from_network, get_protocol
from lift_jax.data.slabs import (
    RandomSlab,
    batch_subjects,
    draw_start,
    slab_size,
    slab_weights,
    training_batches,
)
from lift_jax.data.subject import Subject
from lift_jax.errors import UserError

DEPTH, HEIGHT, WIDTH = 9, 6, 8
NAMES = ("a", "b", "c", "d")
SLICES = 4
REPLICATED = (HEIGHT, WIDTH)
PROTOCOLS = {name: get_protocol("unit") for name in NAMES}


@dataclasses.dataclass(frozen=True)
class Noise:
    """Subjects of noise, each in its own tenth above 0.1; references are other arrays than images."""

    count: int = 1
    shape: tuple[int, int, int] = (DEPTH, HEIGHT, WIDTH)
    present: tuple[str, ...] = NAMES
    masked: bool = False

    @property
    def names(self):
        return tuple(f"subject-{i}" for i in range(self.count))

    @property
    def protocols(self):
        return PROTOCOLS

    def load(self, index, channels=None):
        generator = np.random.default_rng(index)
        low = 0.1 * (index + 1)
        drawn = generator.uniform(low + 0.01, low + 0.09, (2, 4, *self.shape)).astype(np.float32)
        images, references = (
            {name: volume for name, volume in zip(NAMES, volumes, strict=True) if name in self.present}
            for volumes in drawn
        )
        mask = None
        if self.masked:
            mask = np.zeros(self.shape, bool)
            mask[1:-1, 1:-1, 1:-1] = True
        return Subject(self.names[index], images, np.eye(4), mask, references)

    def fingerprint(self, index):
        return f"{index}-{self.shape}-{self.present}-{self.masked}"


@pytest.fixture(scope="module")
def cached(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cache")
    return lambda *args, **options: cache_subjects(Noise(*args, **options), folder, threads=1)


def random_slab(subject, seed=0, *, slices=SLICES, size=REPLICATED, targets=NAMES, sources=NAMES, **options):
    channels = Channels(sources, targets, PROTOCOLS)
    return RandomSlab(slices, size, channels, **options).random_map(subject, np.random.default_rng(seed))


def start_of(element, depth=DEPTH):
    """First slice of a slab, from where it says that it lies: depths are even from -1 to 1."""
    return round((float(element["depth"][0]) + 1) / 2 * (depth - 1))


def half(images):
    """Protocol intensities as they come out of the cache, in network units."""
    return 2 * np.stack(list(images.values()), axis=-1).astype(np.float16).astype(np.float32) - 1


def given(slab, sources):
    """The sources `[T, H, W, S]` as the slab has them: background where they are not given."""
    return np.where(slab["available"] > 0, sources, -1)


def batches(subjects, *, seed=0, batch=2, threads=2, **options):
    transform = RandomSlab(SLICES, REPLICATED, Channels(NAMES, NAMES, PROTOCOLS))
    return training_batches(subjects, transform, seed=seed, batch=batch, threads=threads, **options)


def some(iterator, count):
    return list(itertools.islice(iterator, count))


def assert_equal(a, b):
    assert a.keys() == b.keys()
    for name in a:
        np.testing.assert_array_equal(a[name], b[name], err_msg=name)


def digest(slab):
    return slab["sources"].tobytes() + slab["target_image"].tobytes() + slab["available"].tobytes()


def test_a_slab_is_float32_of_the_given_shapes(cached):
    (subject,) = cached()
    shapes = {name: array.shape for name, array in random_slab(subject).items()}
    assert shapes == {
        "sources": (SLICES, HEIGHT, WIDTH, 4),
        "available": (4,),
        "target_image": (SLICES, HEIGHT, WIDTH),
        "target_onehot": (4,),
        "depth": (SLICES,),
        "foreground": (SLICES, HEIGHT, WIDTH),
        "slice_weights": (SLICES,),
        "delta_z_weights": (SLICES,),
    }
    assert all(array.dtype == np.float32 for array in random_slab(subject).values())


def test_a_slab_holds_consecutive_slices_of_its_subject_at_the_depths_it_tells(cached):
    (subject,), truth = cached(), Noise().load(0)
    starts = set()
    for seed in range(60):
        slab = random_slab(subject, seed, flip=False)
        start = start_of(slab)
        starts.add(start)
        np.testing.assert_allclose(slab["depth"], np.linspace(-1, 1, DEPTH)[start : start + SLICES], atol=1e-6)
        np.testing.assert_array_equal(slab["sources"], given(slab, half(truth.images)[start : start + SLICES]))
        target_channel = np.flatnonzero(slab["target_onehot"]).item()
        target = half(truth.references)[start : start + SLICES, ..., target_channel]
        np.testing.assert_array_equal(slab["target_image"], target)
    assert starts == set(range(DEPTH - SLICES + 1))


def test_a_flip_mirrors_left_and_right_of_sources_and_target_alike(cached):
    (subject,), truth = cached(), Noise().load(0)
    mirrored = []
    for seed in range(60):
        slab = random_slab(subject, seed)
        rows = slice(start_of(slab), start_of(slab) + SLICES)
        sources = given(slab, half(truth.images)[rows])
        target = half(truth.references)[rows, ..., np.flatnonzero(slab["target_onehot"]).item()]
        mirrored.append(not np.array_equal(slab["sources"], sources))
        if mirrored[-1]:
            sources, target = sources[:, :, ::-1], target[:, :, ::-1]
        np.testing.assert_array_equal(slab["sources"], sources)
        np.testing.assert_array_equal(slab["target_image"], target)
    assert 15 < sum(mirrored) < 45  # binomial(60, 1/2) beyond 3.9 standard deviations: once in ten thousand


@pytest.mark.parametrize("source_drop", [0.0, 0.25, 0.99])
def test_some_source_is_always_there_and_never_the_target_channel(cached, source_drop):
    (subject,) = cached()
    for seed in range(100):
        slab = random_slab(subject, seed, source_drop=source_drop)
        assert slab["target_onehot"].sum() == 1
        assert set(slab["available"]) <= {0, 1}
        assert not (slab["available"] * slab["target_onehot"]).any()
        assert 1 <= slab["available"].sum() <= 4 - 1
        assert source_drop > 0 or slab["available"].sum() == 4 - 1


def test_sources_are_withheld_as_often_as_is_said(cached):
    (subject,) = cached()
    counts = [random_slab(subject, seed, slices=1, source_drop=0.25)["available"].sum() for seed in range(2000)]
    # Each of three is kept with probability 3/4, and one comes back where all were withheld.
    assert np.mean(counts) == pytest.approx(3 * 0.75 + 0.25**3, abs=0.07)  # 4 standard errors


def test_only_channels_that_are_asked_for_and_exist_are_targets(cached):
    (subject,) = cached(1, (DEPTH, HEIGHT, WIDTH), ("a", "b", "d"))
    slabs = [random_slab(subject, seed, targets=("b", "c", "d")) for seed in range(40)]
    assert {np.flatnonzero(each["target_onehot"]).item() for each in slabs} == {0, 2}
    assert not any(each["available"][2] for each in slabs)


def test_a_subject_of_one_source_and_one_target_is_used(cached):
    (subject,) = cached(1, (DEPTH, HEIGHT, WIDTH), ("a", "b"))
    slab = random_slab(subject, sources=("a",), targets=("b",))
    assert slab["sources"].shape[-1] == 1 and slab["available"] == [1] and slab["target_onehot"] == [1]
    np.testing.assert_array_equal(slab["foreground"], 1)


def test_larger_slices_are_cropped_at_random_the_same_for_sources_target_and_brain(cached):
    (subject,), truth = cached(), Noise().load(0)
    size, corners = (4, 4), set()

    def side(start):
        return slice(start, start + 4)

    for seed in range(200):
        slab = random_slab(subject, seed, size=size, flip=False)
        rows = slice(start_of(slab), start_of(slab) + SLICES)
        sources, targets = given(slab, half(truth.images)[rows]), half(truth.references)[rows]
        target_channel = np.flatnonzero(slab["target_onehot"]).item()
        places = itertools.product(range(HEIGHT - 4 + 1), range(WIDTH - 4 + 1))
        i, j = next(c for c in places if np.array_equal(sources[:, *map(side, c)], slab["sources"]))
        corners.add((i, j))
        np.testing.assert_array_equal(slab["target_image"], targets[:, side(i), side(j), target_channel])
    assert corners == set(itertools.product(range(HEIGHT - 4 + 1), range(WIDTH - 4 + 1)))


def test_smaller_slices_are_padded_with_background_around(cached):
    (subject,), truth = cached(), Noise().load(0)
    slab = random_slab(subject, size=(HEIGHT + 3, WIDTH + 2), flip=False)
    inside = (slice(None), slice(1, 1 + HEIGHT), slice(1, 1 + WIDTH))
    rows = slice(start_of(slab), start_of(slab) + SLICES)
    np.testing.assert_array_equal(slab["sources"][inside], given(slab, half(truth.images)[rows]))
    around = np.ones(slab["target_image"].shape, bool)
    around[inside] = False
    assert (slab["sources"][around] == -1).all()
    assert (slab["target_image"][around] == -1).all()


def test_one_side_may_be_cropped_and_the_other_padded(cached):
    (subject,) = cached()
    slab = random_slab(subject, size=(4, 12))
    assert slab["sources"].shape == (SLICES, 4, 12, 4)
    assert (slab["sources"][:, :, :2] == -1).all()
    assert (slab["sources"][:, :, 2:-2, slab["available"] > 0] > -1).all()


def test_a_short_volume_repeats_its_last_slice(cached):
    (subject,), truth = cached(1, (3, HEIGHT, WIDTH)), Noise(1, (3, HEIGHT, WIDTH)).load(0)
    slab = random_slab(subject, slices=5, flip=False)
    index = [0, 1, 2, 2, 2]
    np.testing.assert_array_equal(slab["sources"], given(slab, half(truth.images)[index]))
    np.testing.assert_array_equal(slab["depth"], np.array([-1, 0, 1, 1, 1], np.float32))


@pytest.mark.parametrize("depth, slices", [(9, 4), (155, 48), (5, 4), (4, 4), (3, 5), (7, 1)])
def test_every_slice_and_every_difference_counts_equally(depth, slices):
    """Over all draws, the weights that a slice gets add up to the same for all slices, as do those of differences."""
    rng = np.random.default_rng(0)
    draws = 40_000 if depth < 100 else 150_000
    starts, counts = np.unique([draw_start(depth, slices, rng) for _ in range(draws)], return_counts=True)
    total, total_pairs = np.zeros(depth), np.zeros(depth)
    for start, count in zip(starts, counts, strict=True):
        weights, pairs = slab_weights(depth, slices, int(start))
        inside = np.arange(start, start + slices) < depth
        np.testing.assert_array_equal(weights[~inside], 0)
        np.testing.assert_array_equal(pairs[~inside], 0)
        np.add.at(total, np.arange(start, start + slices)[inside], count * weights[inside] / slices)
        np.add.at(total_pairs, np.arange(start, start + slices)[inside], count * pairs[inside] / max(slices - 1, 1))
    np.testing.assert_allclose(total / draws, 1 / depth, rtol=0.05)
    if slices > 1:
        np.testing.assert_allclose(total_pairs[1:] / draws, 1 / (depth - 1), rtol=0.05)
    assert weights.max() <= max(depth + slices - 1, slices) / depth + 1e-6  # no slice counts for many


def test_slabs_of_whole_volumes_have_weights_of_one():
    weights, pairs = slab_weights(4, 4, 0)
    np.testing.assert_array_equal(weights, 1)
    np.testing.assert_array_equal(pairs, [0, 1, 1, 1])


def test_the_foreground_is_that_of_the_given_sources_or_the_mask(cached, tmp_path):
    (plain,), (masked,) = cached(), cached(1, masked=True)
    np.testing.assert_array_equal(random_slab(plain, size=(12, 12))["foreground"].sum(axis=(1, 2)), HEIGHT * WIDTH)
    slab = random_slab(masked, flip=False)
    rows = slice(start_of(slab), start_of(slab) + SLICES)
    np.testing.assert_array_equal(slab["foreground"], Noise(1, masked=True).load(0).mask[rows])


def test_channels_in_hounsfield_units_are_clipped_padded_with_air_and_not_bent(tmp_path):
    protocols = {"mr": get_protocol("unit"), "cbct": get_protocol("ct_hu"), "ct": get_protocol("ct_hu")}
    rng = np.random.default_rng(0)
    images = {"mr": rng.uniform(0.1, 0.9, (5, 6, 6)).astype(np.float32)}
    images |= {name: rng.uniform(-1000, 2900, (5, 6, 6)).astype(np.float32) for name in ("cbct", "ct")}

    class Heads:
        names = ("head",)

        @property
        def protocols(self):
            return protocols

        def load(self, index, channels=None):
            return Subject("head", images, np.eye(4), np.ones((5, 6, 6), bool))

        def fingerprint(self, index):
            return "head"

    (subject,) = cache_subjects(Heads(), tmp_path, threads=1)
    channels = Channels(("mr", "cbct"), ("ct",), protocols)
    transform = RandomSlab(5, (8, 8), channels, flip=False, source_drop=0.0, gamma=0.5)
    slab = transform.random_map(subject, np.random.default_rng(0))
    inside = (slice(None), slice(1, 7), slice(1, 7))
    target = from_network(protocols["ct"], slab["target_image"])
    np.testing.assert_allclose(target[inside], images["ct"], atol=0.51)
    assert (target[:, 0] == -1024).all() and (slab["sources"][:, 0] == -1).all()
    cbct = from_network(protocols["cbct"], slab["sources"][inside][..., 1])
    np.testing.assert_allclose(cbct, images["cbct"], atol=0.51)
    assert np.abs((slab["sources"][inside][..., 0] + 1) / 2 - images["mr"]).max() > 0.01


def test_gamma_bends_each_source_by_a_power_of_its_own_and_no_target(cached):
    (subject,) = cached()
    plain, bent = (random_slab(subject, 3, flip=False, source_drop=0.0, gamma=gamma) for gamma in (0.0, 0.3))
    np.testing.assert_array_equal(bent["target_image"], plain["target_image"])
    np.testing.assert_array_equal(bent["depth"], plain["depth"])
    shown = plain["available"] > 0
    before, after = (np.log((slab["sources"][..., shown].astype(np.float64) + 1) / 2) for slab in (plain, bent))
    powers = np.moveaxis(after / before, -1, 0)
    assert all(np.ptp(power) < 1e-4 for power in powers)
    assert len({round(power.mean(), 3) for power in powers}) == shown.sum() > 1


def test_a_seed_fixes_every_batch_and_another_seed_gives_others(cached):
    subjects = cached(3)
    first, again, other = (some(batches(subjects, seed=seed), 6) for seed in (5, 5, 6))
    for a, b in zip(first, again, strict=True):
        assert_equal(a, b)
    assert not {digest(batch) for batch in first} & {digest(batch) for batch in other}


def test_the_number_of_threads_changes_nothing(cached):
    subjects = cached(3)
    for a, b in zip(some(batches(subjects, threads=1), 6), some(batches(subjects, threads=4), 6), strict=True):
        assert_equal(a, b)


@pytest.mark.parametrize("processes", [2, 4])
def test_the_shares_of_all_processes_one_after_the_other_are_the_batch_of_one(cached, processes):
    subjects = cached(3)
    alone = some(batches(subjects, batch=8), 5)
    shares = [
        some(batches(subjects, batch=8, process_index=index, process_count=processes), 5) for index in range(processes)
    ]
    for step, whole in enumerate(alone):
        joined = {name: np.concatenate([share[step][name] for share in shares]) for name in whole}
        assert_equal(joined, whole)


def test_a_position_of_one_process_is_that_of_many(cached):
    subjects = cached(3)
    alone = batches(subjects, batch=4)
    some(alone, 3)
    second = batches(subjects, batch=4, process_index=1, process_count=2)
    second.set_state(alone.get_state())
    assert_equal(some(second, 1)[0], {name: array[2:] for name, array in some(alone, 1)[0].items()})


def subject_number(slab):
    """Which subject a slab is from, by the tenth that its intensities lie in."""
    return int((slab["target_image"].mean() + 1) / 2 * 10) - 1


def test_every_epoch_visits_each_subject_once_in_another_order_with_other_slabs(cached):
    subjects = cached(5)
    slabs = some(batches(subjects, batch=1), 20)
    epochs = np.array([subject_number(slab) for slab in slabs]).reshape(4, 5)
    np.testing.assert_array_equal(np.sort(epochs), np.tile(np.arange(5), (4, 1)))
    assert len({tuple(epoch) for epoch in epochs}) > 1
    assert len({digest(slab) for slab in slabs}) == 20


@pytest.mark.parametrize("taken", [0, 1, 7])
def test_a_restored_position_goes_on_exactly(cached, taken):
    subjects = cached(3)
    iterator = batches(subjects)
    some(iterator, taken)
    state = iterator.get_state()
    expected = some(iterator, 4)
    fresh = batches(subjects)
    some(fresh, 2)
    fresh.set_state(state)
    for a, b in zip(some(fresh, 4), expected, strict=True):
        assert_equal(a, b)


def test_a_damaged_subject_stops_the_batches_with_its_name(tmp_path):
    subjects = cache_subjects(Noise(2), tmp_path, threads=1)
    for path in subjects[1].directory.glob("image-*.npy"):
        path.write_bytes(b"")
    with pytest.raises(UserError) as refusal:
        some(batches(subjects, batch=1), 4)
    assert str(refusal.value).startswith(f"{subjects[1].directory / 'image-'}") and ": damaged" in str(refusal.value)


def test_slices_take_the_size_all_subjects_share_made_up_to_the_networks_multiple(cached):
    assert slab_size(cached(2), (0, 0), 4) == (8, 8)
    assert slab_size(cached(2), (0, 0), 2) == (HEIGHT, WIDTH)
    assert slab_size(cached(2), (12, 4), 4) == (12, 4)


def test_slices_of_several_sizes_need_a_crop(cached):
    subjects = [*cached(1), *cached(1, (DEPTH, 10, 20))]
    with pytest.raises(UserError, match=r"^config\.data\.crop: slices differ in size \(6x8, 10x20\)"):
        slab_size(subjects, (0, 0), 4)
    assert slab_size(subjects, (8, 8), 4) == (8, 8)


def test_slices_of_boxes_that_differ_a_little_are_padded_to_the_largest(cached):
    assert slab_size([*cached(1), *cached(1, (DEPTH, 10, 12))], (0, 0), 4) == (12, 12)


def test_the_subjects_of_a_batch_are_known_without_making_it(cached):
    subjects = cached(5)  # subject i lies between tenths i + 1 and i + 2
    whole = some(batches(subjects, seed=3, batch=4), 6)
    shares = [some(batches(subjects, seed=3, batch=4, process_index=p, process_count=2), 6) for p in range(2)]
    for number in range(6):
        named = batch_subjects(5, seed=3, batch=4, number=number)

        def shown(batch):
            lowest = np.where(batch["sources"] > -1, (batch["sources"] + 1) / 2, 1).min(axis=(1, 2, 3, 4))
            return [int(10 * low) - 1 for low in lowest]

        assert shown(whole[number]) == named
        assert sorted(shown(shares[0][number]) + shown(shares[1][number])) == sorted(named)
