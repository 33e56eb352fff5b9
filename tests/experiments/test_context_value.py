"""The study of context along depth: what its oracle is given."""

import dataclasses

import numpy as np

from experiments.context_value import (
    SHARED_PARAMETERS,
    SIDE_INFORMATION,
    RandomSlabWithSideInformation,
    shared_parameters,
    slice_side_information,
)
from lift_jax.data.cache import cache_subjects
from lift_jax.data.phantom.brain import slice_gains
from lift_jax.data.phantom.dataset import PhantomSubjects
from lift_jax.data.phantom.mr import draw_protocol
from lift_jax.data.phantom.tissues import draw_relaxation
from lift_jax.data.slabs import RandomSlab
from tests.small_network import MR


def test_shared_parameters_tell_habits_and_nothing_of_one_channel():
    generators = [np.random.default_rng([11, index]) for index in range(400)]
    subjects = [(draw_relaxation(g), draw_protocol(g)) for g in generators]
    parameters = np.array([shared_parameters(*subject) for subject in subjects])
    np.testing.assert_allclose(parameters[:, :5].std(axis=0), 1, atol=0.3)
    np.testing.assert_array_equal(parameters[:, 5:].sum(axis=1), 1)
    relaxation, protocol = subjects[0]
    other = dataclasses.replace(protocol, t2_echo=50.0, flair_inversion=1.0, gamma=protocol.gamma + 1)
    dosed = dataclasses.replace(relaxation, gadolinium=2 * relaxation.gadolinium)
    np.testing.assert_array_equal(shared_parameters(dosed, other), parameters[0])


def test_a_slab_has_the_side_information_of_its_own_slices_as_sources_and_is_else_the_same(tmp_path):
    source = PhantomSubjects("phantom", MR.protocols, 3, 7, 1, (12, 16, 16), 12.0)
    (subject,) = cache_subjects(source, tmp_path, threads=1)
    for seed in range(5):
        plain, slab = (
            draw(5, (16, 16), MR).random_map(subject, np.random.default_rng(seed))
            for draw in (RandomSlab, RandomSlabWithSideInformation)
        )
        np.testing.assert_array_equal(slab["sources"][..., :4], plain["sources"])
        start = np.argmin(abs(np.arange(12) - (float(plain["depth"][0]) + 1) * 6 + 0.5))
        side = slab["sources"][:, 3, 9, 4:]
        np.testing.assert_array_equal(side, slice_side_information("phantom-3-00007", 12)[start : start + 5])
        gains = slice_gains(3, 7, 12)[start : start + 5]
        np.testing.assert_allclose(1 + side[:, SHARED_PARAMETERS:] / 10, gains, rtol=1e-5)
        assert slab["available"].shape == (4 + len(SIDE_INFORMATION),) and slab["available"][4:].all()
        np.testing.assert_array_equal(slab["target_onehot"], plain["target_onehot"])
