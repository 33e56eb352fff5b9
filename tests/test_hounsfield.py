"""The one place where CT numbers and network intensities turn into each other, and where the MR is scaled."""

import jax.numpy as jnp
import numpy as np
import pytest

from lift_jax.data.hounsfield import (
    doubts_about_hounsfield,
    hounsfield_to_network,
    network_to_hounsfield,
    normalise_mr,
)


@pytest.mark.parametrize("library", [np, jnp])
def test_hu_come_back_to_half_a_unit_through_both_mappings(library):
    hounsfield = np.linspace(-1024, 3000, 4025, dtype=np.float32)
    there = hounsfield_to_network(library.asarray(hounsfield))
    assert there.dtype == np.float32
    np.testing.assert_allclose([there.min(), there.max()], [-1, 1], atol=1e-6)
    np.testing.assert_allclose(network_to_hounsfield(there), hounsfield, atol=0.01)


def test_mapping_is_linear_with_water_where_the_protocol_puts_it_and_clips_beyond_its_range():
    assert hounsfield_to_network(np.float32(0)) == pytest.approx(1024 / 2012 - 1, abs=1e-6)
    np.testing.assert_array_equal(hounsfield_to_network(np.float32([-3000, 9000])), [-1, 1])
    np.testing.assert_array_equal(network_to_hounsfield(np.float32([-1.5, 1.5])), [-1024, 3000])


def test_mr_is_scaled_by_the_body_alone():
    generator = np.random.default_rng(0)
    volume = generator.uniform(50, 400, (6, 7, 8)).astype(np.float32)
    mask = generator.random(volume.shape) < 0.5
    expected = np.where(mask, np.minimum(volume / np.quantile(volume[mask], 0.995), 1), 0)
    np.testing.assert_allclose(normalise_mr(volume, mask), expected, rtol=1e-6)
    np.testing.assert_allclose(normalise_mr(1000 * volume, mask), expected, rtol=1e-5)
    outside = np.where(mask, volume, 1e6).astype(np.float32)
    np.testing.assert_array_equal(normalise_mr(outside, mask), normalise_mr(volume, mask))


@pytest.mark.parametrize(
    "value, inside, told", [(np.nan, True, "not finite"), (1.0, False, "mask is empty"), (-1.0, True, "shows nothing")]
)
def test_mr_that_cannot_be_scaled_is_refused(value, inside, told):
    with pytest.raises(ValueError, match=told):
        normalise_mr(np.full((2, 2, 2), value, np.float32), np.full((2, 2, 2), inside))


@pytest.mark.parametrize("values, doubt", [((0, 3000), "no value below 0"), ((-100, 300), "spans 400 only")])
def test_a_ct_in_other_units_is_doubted(values, doubt):
    assert doubt in doubts_about_hounsfield(np.array(values, np.float32))
    assert doubts_about_hounsfield(np.array([-1000, 1200], np.float32)) is None
