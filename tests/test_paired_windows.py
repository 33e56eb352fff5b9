"""Pairs in the cache, and the windows that training takes out of them."""

import numpy as np
import pytest

from lift_jax.data.cache import cache_cases
from lift_jax.data.hounsfield import network_to_hounsfield
from lift_jax.data.paired_cases import PairedCase
from lift_jax.data.paired_windows import TakePair
from lift_jax.data.windows import slice_size, training_batches

SHAPE = (6, 8, 10)


class Pairs:
    """A CaseSource of noise."""

    names = ("a", "b")

    def load(self, index):
        generator = np.random.default_rng(index)
        mask = np.zeros(SHAPE, bool)
        mask[1:-1, 1:-1, 1:-1] = True
        return PairedCase(
            self.names[index],
            np.where(mask, generator.random(SHAPE), 0).astype(np.float32),
            generator.uniform(-1024, 2900, SHAPE).astype(np.float32),
            mask,
            np.eye(4),
        )

    def fingerprint(self, index):
        return f"pair{index}"


@pytest.fixture(scope="module")
def cached(tmp_path_factory):
    return cache_cases(Pairs(), tmp_path_factory.mktemp("cache"), threads=1)


def test_the_cache_keeps_hu_to_half_a_unit_and_mr_to_half_precision(cached):
    case = Pairs().load(0)
    np.testing.assert_allclose(cached[0].array("ct"), case.ct, atol=0.5)
    np.testing.assert_allclose(cached[0].array("mr"), case.mr, atol=2**-11)
    np.testing.assert_array_equal(cached[0].array("mask"), case.mask)
    assert cached[0].facts == {"name": "a", "affine": np.eye(4).tolist()}


def test_a_window_is_a_cut_of_the_case_with_air_outside_the_body(cached):
    case = Pairs().load(0)
    window = TakePair(window=3, size=SHAPE[1:], flip=False).random_map(cached[0], np.random.default_rng(0))
    start = round((float(window["depth"][0]) + 1) / 2 * (SHAPE[0] - 1))
    cut = slice(start, start + 3)
    assert {name: array.shape for name, array in window.items()} == {
        "sources": (3, 8, 10, 1),
        "target": (3, 8, 10),
        "available": (1,),
        "wanted": (1,),
        "depth": (3,),
        "counted": (3,),
        "body": (3, 8, 10),
    }
    assert all(array.dtype == np.float32 for array in window.values())
    np.testing.assert_allclose((window["sources"][..., 0] + 1) / 2, case.mr[cut], atol=2**-11)
    expected = np.where(case.mask[cut], case.ct[cut], -1024)
    np.testing.assert_allclose(network_to_hounsfield(window["target"]), expected, atol=0.51)
    np.testing.assert_array_equal(window["body"], case.mask[cut])


def test_flips_mirror_left_and_right_of_all_arrays_alike(cached):
    plain = TakePair(window=6, size=SHAPE[1:], flip=False).random_map(cached[0], np.random.default_rng(0))
    seen = set()
    for seed in range(8):
        drawn = TakePair(window=6, size=SHAPE[1:]).random_map(cached[0], np.random.default_rng(seed))
        mirrored = not np.array_equal(drawn["target"], plain["target"])
        seen.add(mirrored)
        for name in ("sources", "target", "body"):
            expected = plain[name][:, :, ::-1] if mirrored else plain[name]
            np.testing.assert_array_equal(drawn[name], expected)
    assert seen == {True, False}


def test_short_volumes_repeat_their_last_slice_and_small_planes_are_padded_with_air(cached):
    window = TakePair(window=9, size=(12, 12), flip=False).random_map(cached[0], np.random.default_rng(0))
    assert window["target"].shape == (9, 12, 12)
    np.testing.assert_array_equal(window["target"][6:], np.repeat(window["target"][5:6], 3, axis=0))
    np.testing.assert_array_equal(window["counted"], [1] * 6 + [0] * 3)
    assert (window["target"][:, :2] == -1).all() and (window["sources"][:, :2] == -1).all()
    assert (window["body"][:, :2] == 0).all()


def test_gamma_changes_the_mr_alone(cached):
    plain = TakePair(3, SHAPE[1:], flip=False).random_map(cached[0], np.random.default_rng(4))
    bent = TakePair(3, SHAPE[1:], flip=False, gamma=0.5).random_map(cached[0], np.random.default_rng(4))
    np.testing.assert_array_equal(plain["target"], bent["target"])
    inside = plain["body"] > 0
    exponents = np.log((bent["sources"][..., 0][inside] + 1) / 2) / np.log((plain["sources"][..., 0][inside] + 1) / 2)
    assert np.ptp(exponents[np.isfinite(exponents)]) < 0.01 and abs(exponents[0] - 1) > 0.01


def test_batches_are_resumable_and_sized_by_the_slices(cached):
    size = slice_size(cached, (0, 0), 4, array="mr")
    assert size == (8, 12)

    def batches():
        return training_batches(cached, TakePair(2, size), seed=1, batch=2, threads=2)

    first = batches()
    next(first)
    state, expected = first.get_state(), next(first)
    second = batches()
    second.set_state(state)
    for name, array in next(second).items():
        np.testing.assert_array_equal(array, expected[name])
