import dataclasses
import itertools

import numpy as np
import pytest

from lift_jax.data.cache import cache_cases
from lift_jax.data.cases import Case
from lift_jax.data.windows import TakeWindow, batch_cases, slice_size, training_batches
from lift_jax.errors import UserError

DEPTH, HEIGHT, WIDTH, CHANNELS = 9, 6, 8, 4
WINDOW = 4
WHOLE = (HEIGHT, WIDTH)


@dataclasses.dataclass(frozen=True)
class Noise:
    """Cases of noise, each in its own tenth above 0.1; targets are other arrays than sources."""

    count: int = 1
    shape: tuple[int, int, int] = (DEPTH, HEIGHT, WIDTH)
    available: tuple[bool, ...] = (True,) * CHANNELS

    @property
    def names(self):
        return tuple(f"case-{i}" for i in range(self.count))

    def load(self, index):
        generator = np.random.default_rng(index)
        low = 0.1 * (index + 1)
        sources, targets = generator.uniform(low + 0.01, low + 0.09, (2, *self.shape, CHANNELS)).astype(np.float32)
        return Case(
            name=self.names[index],
            sources=sources,
            targets=targets,
            available=np.array(self.available),
            affine=np.eye(4),
        )

    def fingerprint(self, index):
        return f"{index}-{self.shape}-{self.available}"


@pytest.fixture(scope="module")
def cached(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cache")
    return lambda *args, **options: cache_cases(Noise(*args, **options), folder, threads=1)


def take(case, seed=0, **options):
    settings = {"window": WINDOW, "size": WHOLE, "targets": (0, 1, 2, 3)} | options
    return TakeWindow(**settings).random_map(case, np.random.default_rng(seed))


def start_of(element, depth=DEPTH):
    """First slice of a window, from where it says that it lies: depths are even from -1 to 1."""
    return round((float(element["depth"][0]) + 1) / 2 * (depth - 1))


def half(array):
    """Protocol intensities as they come out of the cache, in network units."""
    return 2 * array.astype(np.float16).astype(np.float32) - 1


def batches(cases, *, seed=0, batch=2, threads=2, **options):
    take_window = TakeWindow(WINDOW, WHOLE, (0, 1, 2, 3))
    return training_batches(cases, take_window, seed=seed, batch=batch, threads=threads, **options)


def some(iterator, count):
    return list(itertools.islice(iterator, count))


def assert_equal(a, b):
    assert a.keys() == b.keys()
    for name in a:
        np.testing.assert_array_equal(a[name], b[name], err_msg=name)


def digest(window):
    return window["sources"].tobytes() + window["target"].tobytes() + window["available"].tobytes()


def test_a_window_is_float32_of_the_shapes_told(cached):
    (case,) = cached()
    shapes = {name: array.shape for name, array in take(case).items()}
    assert shapes == {
        "sources": (WINDOW, HEIGHT, WIDTH, CHANNELS),
        "target": (WINDOW, HEIGHT, WIDTH),
        "available": (CHANNELS,),
        "wanted": (CHANNELS,),
        "depth": (WINDOW,),
    }
    assert all(array.dtype == np.float32 for array in take(case).values())


def test_a_window_holds_consecutive_slices_of_its_case_at_the_depths_it_tells(cached):
    (case,), truth = cached(), Noise().load(0)
    starts = set()
    for seed in range(60):
        window = take(case, seed, flip=False)
        start = start_of(window)
        starts.add(start)
        np.testing.assert_allclose(window["depth"], np.linspace(-1, 1, DEPTH)[start : start + WINDOW], atol=1e-6)
        np.testing.assert_array_equal(window["sources"], half(truth.sources[start : start + WINDOW]))
        wanted = np.flatnonzero(window["wanted"]).item()
        np.testing.assert_array_equal(window["target"], half(truth.targets[start : start + WINDOW, ..., wanted]))
    assert starts == set(range(DEPTH - WINDOW + 1))


def test_a_flip_mirrors_left_and_right_of_sources_and_target_alike(cached):
    (case,), truth = cached(), Noise().load(0)
    mirrored = []
    for seed in range(60):
        window = take(case, seed)
        rows = slice(start_of(window), start_of(window) + WINDOW)
        sources = half(truth.sources[rows])
        target = half(truth.targets[rows, ..., np.flatnonzero(window["wanted"]).item()])
        mirrored.append(not np.array_equal(window["sources"], sources))
        if mirrored[-1]:
            sources, target = sources[:, :, ::-1], target[:, :, ::-1]
        np.testing.assert_array_equal(window["sources"], sources)
        np.testing.assert_array_equal(window["target"], target)
    assert 15 < sum(mirrored) < 45  # binomial(60, 1/2) beyond 3.9 standard deviations: once in ten thousand


@pytest.mark.parametrize("source_drop", [0.0, 0.25, 0.99])
def test_some_source_is_always_there_and_never_the_wanted_contrast(cached, source_drop):
    (case,) = cached()
    for seed in range(100):
        window = take(case, seed, source_drop=source_drop)
        assert window["wanted"].sum() == 1
        assert set(window["available"]) <= {0, 1}
        assert not (window["available"] * window["wanted"]).any()
        assert 1 <= window["available"].sum() <= CHANNELS - 1
        assert source_drop > 0 or window["available"].sum() == CHANNELS - 1


def test_sources_are_withheld_as_often_as_is_said(cached):
    (case,) = cached()
    counts = [take(case, seed, window=1, source_drop=0.25)["available"].sum() for seed in range(2000)]
    # Each of three is kept with probability 3/4, and one comes back where all were withheld.
    assert np.mean(counts) == pytest.approx(3 * 0.75 + 0.25**3, abs=0.07)  # 4 standard errors


def test_only_contrasts_that_are_asked_for_and_exist_are_wanted(cached):
    (case,) = cached(1, (DEPTH, HEIGHT, WIDTH), (True, True, False, True))
    wanted = {np.flatnonzero(take(case, seed, targets=(1, 2, 3))["wanted"]).item() for seed in range(40)}
    assert wanted == {1, 3}
    assert not any(take(case, seed)["available"][2] for seed in range(40))


def test_larger_slices_are_cropped_at_random_the_same_for_sources_target_and_brain(cached):
    (case,), truth = cached(), Noise().load(0)
    size, corners = (4, 4), set()

    def side(start):
        return slice(start, start + 4)

    for seed in range(200):
        window = take(case, seed, size=size, flip=False)
        rows = slice(start_of(window), start_of(window) + WINDOW)
        sources, targets = half(truth.sources[rows]), half(truth.targets[rows])
        wanted = np.flatnonzero(window["wanted"]).item()
        places = itertools.product(range(HEIGHT - 4 + 1), range(WIDTH - 4 + 1))
        i, j = next(c for c in places if np.array_equal(sources[:, *map(side, c)], window["sources"]))
        corners.add((i, j))
        np.testing.assert_array_equal(window["target"], targets[:, side(i), side(j), wanted])
    assert corners == set(itertools.product(range(HEIGHT - 4 + 1), range(WIDTH - 4 + 1)))


def test_smaller_slices_are_padded_with_background_around(cached):
    (case,), truth = cached(), Noise().load(0)
    window = take(case, size=(HEIGHT + 3, WIDTH + 2), flip=False)
    inside = (slice(None), slice(1, 1 + HEIGHT), slice(1, 1 + WIDTH))
    rows = slice(start_of(window), start_of(window) + WINDOW)
    np.testing.assert_array_equal(window["sources"][inside], half(truth.sources[rows]))
    around = np.ones(window["target"].shape, bool)
    around[inside] = False
    assert (window["sources"][around] == -1).all()
    assert (window["target"][around] == -1).all()


def test_one_side_may_be_cropped_and_the_other_padded(cached):
    (case,) = cached()
    window = take(case, size=(4, 12))
    assert window["sources"].shape == (WINDOW, 4, 12, CHANNELS)
    assert (window["sources"][:, :, :2] == -1).all()
    assert (window["sources"][:, :, 2:-2] > -1).all()


def test_a_short_volume_repeats_its_last_slice(cached):
    (case,), truth = cached(1, (3, HEIGHT, WIDTH)), Noise(1, (3, HEIGHT, WIDTH)).load(0)
    window = take(case, window=5, flip=False)
    index = [0, 1, 2, 2, 2]
    np.testing.assert_array_equal(window["sources"], half(truth.sources[index]))
    np.testing.assert_array_equal(window["depth"], np.array([-1, 0, 1, 1, 1], np.float32))


def test_gamma_bends_each_source_by_a_power_of_its_own_and_no_target(cached):
    (case,) = cached()
    plain, bent = take(case, 3, flip=False), take(case, 3, flip=False, gamma=0.3)
    np.testing.assert_array_equal(bent["target"], plain["target"])
    np.testing.assert_array_equal(bent["depth"], plain["depth"])
    before, after = (np.log((window["sources"].astype(np.float64) + 1) / 2) for window in (plain, bent))
    powers = [(after / before)[..., c] for c in range(CHANNELS)]
    assert all(np.ptp(power) < 1e-4 for power in powers)
    assert len({round(power.mean(), 3) for power in powers}) == CHANNELS


def test_a_seed_fixes_every_batch_and_another_seed_gives_others(cached):
    cases = cached(3)
    first, again, other = (some(batches(cases, seed=seed), 6) for seed in (5, 5, 6))
    for a, b in zip(first, again, strict=True):
        assert_equal(a, b)
    assert not {digest(batch) for batch in first} & {digest(batch) for batch in other}


def test_the_number_of_threads_changes_nothing(cached):
    cases = cached(3)
    for a, b in zip(some(batches(cases, threads=1), 6), some(batches(cases, threads=4), 6), strict=True):
        assert_equal(a, b)


@pytest.mark.parametrize("processes", [2, 4])
def test_the_shares_of_all_processes_one_after_the_other_are_the_batch_of_one(cached, processes):
    cases = cached(3)
    alone = some(batches(cases, batch=8), 5)
    shares = [
        some(batches(cases, batch=8, process_index=index, process_count=processes), 5) for index in range(processes)
    ]
    for step, whole in enumerate(alone):
        joined = {name: np.concatenate([share[step][name] for share in shares]) for name in whole}
        assert_equal(joined, whole)


def test_a_position_of_one_process_is_that_of_many(cached):
    cases = cached(3)
    alone = batches(cases, batch=4)
    some(alone, 3)
    second = batches(cases, batch=4, process_index=1, process_count=2)
    second.set_state(alone.get_state())
    assert_equal(some(second, 1)[0], {name: array[2:] for name, array in some(alone, 1)[0].items()})


def case_number(window):
    """Which case a window is from, by the tenth that its intensities lie in."""
    return int((window["sources"].mean() + 1) / 2 * 10) - 1


def test_every_epoch_visits_each_case_once_in_another_order_with_other_windows(cached):
    cases = cached(5)
    windows = some(batches(cases, batch=1), 20)
    epochs = np.array([case_number(window) for window in windows]).reshape(4, 5)
    np.testing.assert_array_equal(np.sort(epochs), np.tile(np.arange(5), (4, 1)))
    assert len({tuple(epoch) for epoch in epochs}) > 1
    assert len({digest(window) for window in windows}) == 20


@pytest.mark.parametrize("taken", [0, 1, 7])
def test_a_restored_position_goes_on_exactly(cached, taken):
    cases = cached(3)
    iterator = batches(cases)
    some(iterator, taken)
    state = iterator.get_state()
    expected = some(iterator, 4)
    fresh = batches(cases)
    some(fresh, 2)
    fresh.set_state(state)
    for a, b in zip(some(fresh, 4), expected, strict=True):
        assert_equal(a, b)


def test_a_damaged_case_stops_the_batches_with_its_name(tmp_path):
    cases = cache_cases(Noise(2), tmp_path, threads=1)
    (cases[1].directory / "sources.npy").write_bytes(b"")
    with pytest.raises(UserError) as refusal:
        some(batches(cases, batch=1), 4)
    assert str(refusal.value).startswith(f"{cases[1].directory / 'sources.npy'}: damaged")


def test_slices_take_the_size_all_cases_share_made_up_to_the_networks_multiple(cached):
    assert slice_size(cached(2), (0, 0), 4) == (8, 8)
    assert slice_size(cached(2), (0, 0), 2) == (HEIGHT, WIDTH)
    assert slice_size(cached(2), (12, 4), 4) == (12, 4)


def test_slices_of_several_sizes_need_a_crop(cached):
    cases = [*cached(1), *cached(1, (DEPTH, 10, 12))]
    with pytest.raises(UserError, match=r"^config\.data\.crop: slices differ in size \(6x8, 10x12\)"):
        slice_size(cases, (0, 0), 4)
    assert slice_size(cases, (8, 8), 4) == (8, 8)


def test_the_cases_of_a_batch_are_known_without_making_it(cached):
    cases = cached(5)  # case i lies between tenths i + 1 and i + 2
    whole = some(batches(cases, seed=3, batch=4), 6)
    shares = [some(batches(cases, seed=3, batch=4, process_index=p, process_count=2), 6) for p in range(2)]
    for number in range(6):
        named = batch_cases(5, seed=3, batch=4, number=number)

        def shown(batch):
            lowest = np.where(batch["sources"] > -1, (batch["sources"] + 1) / 2, 1).min(axis=(1, 2, 3, 4))
            return [int(10 * low) - 1 for low in lowest]

        assert shown(whole[number]) == named
        assert sorted(shown(shares[0][number]) + shown(shares[1][number])) == sorted(named)
