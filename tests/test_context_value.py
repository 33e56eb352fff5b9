"""The study of context along depth: what its oracle is given."""

import dataclasses

import numpy as np

from experiments.context_value import FACTS, SHARED_PARAMETERS, TakeWindowWithFacts, shared_parameters, slice_facts
from lift_jax.data.cache import cache_cases
from lift_jax.data.phantom import PhantomCases, slice_gains
from lift_jax.data.phantom_acquisition import draw_protocol, draw_relaxation
from lift_jax.data.windows import TakeWindow


def test_shared_parameters_tell_habits_and_nothing_of_one_contrast():
    generators = [np.random.default_rng([11, index]) for index in range(400)]
    subjects = [(draw_relaxation(g), draw_protocol(g)) for g in generators]
    told = np.array([shared_parameters(*subject) for subject in subjects])
    np.testing.assert_allclose(told[:, :5].std(axis=0), 1, atol=0.3)
    np.testing.assert_array_equal(told[:, 5:].sum(axis=1), 1)
    relaxation, protocol = subjects[0]
    other = dataclasses.replace(protocol, t2_echo=50.0, flair_inversion=1.0, gamma=protocol.gamma + 1)
    dosed = dataclasses.replace(relaxation, gadolinium=2 * relaxation.gadolinium)
    np.testing.assert_array_equal(shared_parameters(dosed, other), told[0])


def test_a_window_has_the_facts_of_its_own_slices_as_channels_and_is_else_the_same(tmp_path):
    (case,) = cache_cases(PhantomCases(3, 7, 1, (12, 16, 16), 12.0), tmp_path, threads=1)
    settings = {"window": 5, "size": (16, 16), "targets": (0, 1, 2, 3)}
    for seed in range(5):
        plain, window = (
            take(**settings).random_map(case, np.random.default_rng(seed)) for take in (TakeWindow, TakeWindowWithFacts)
        )
        np.testing.assert_array_equal(window["sources"][..., :4], plain["sources"])
        start = round((float(plain["depth"][0]) + 1) / 2 * 11)
        facts = window["sources"][:, 3, 9, 4:]
        np.testing.assert_array_equal(facts, slice_facts("phantom-3-00007", 12)[start : start + 5])
        gains = slice_gains(3, 7, 12)[start : start + 5]
        np.testing.assert_allclose(1 + facts[:, SHARED_PARAMETERS:] / 10, gains, rtol=1e-5)
        assert window["available"].shape == window["wanted"].shape == (4 + FACTS,)
        assert window["wanted"][4:].sum() == 0 and window["available"][4:].all()
