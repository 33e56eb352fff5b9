import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from lift_jax.data import intensities


def reference_cwdm(volume):
    """The protocol in plain float64, by np.quantile."""
    magnitudes = np.maximum(volume.astype(np.float64), 0)
    low, high = np.quantile(magnitudes, 0.001), np.quantile(magnitudes, 0.999)
    clipped = np.clip(magnitudes, low, high)
    return (clipped - clipped.min()) / (clipped.max() - clipped.min())


def brain_like(rng, shape=(20, 30, 25)):
    volume = np.zeros(shape, np.float32)
    volume[4:-4, 5:-5, 6:-6] = rng.gamma(2.0, 100.0, np.array(shape) - (8, 10, 12))
    return volume


@pytest.mark.parametrize("zeros", [0.0, 0.0005, 0.001, 0.5, 0.9989])
def test_normalised_volume_equals_the_protocol_in_float64_for_any_share_of_background(zeros):
    rng = np.random.default_rng(0)
    volume = rng.gamma(2.0, 100.0, (13, 17, 19)).astype(np.float32)
    volume.reshape(-1)[: round(zeros * volume.size)] = 0
    np.testing.assert_allclose(intensities.normalise_cwdm(volume), reference_cwdm(volume), rtol=1e-6, atol=1e-7)


@settings(deadline=None)
@given(
    hnp.arrays(
        np.float32,
        st.integers(1, 4000),
        elements=st.one_of(st.just(0.0), st.floats(0, 1e6, width=32)),
        fill=st.floats(0, 10, width=32),
    )
)
def test_quantiles_equal_numpys(magnitudes):
    found = intensities._magnitude_quantiles(magnitudes, (0.001, 0.37, 0.999))
    np.testing.assert_allclose(found, np.quantile(magnitudes.astype(np.float64), (0.001, 0.37, 0.999)), rtol=1e-12)


def test_normalised_volume_spans_zero_to_one_exactly():
    result = intensities.normalise_cwdm(brain_like(np.random.default_rng(1)))
    assert (result.min(), result.max(), result.dtype) == (0.0, 1.0, np.float32)


def test_background_stays_exactly_zero_beside_resampling_undershoot():
    volume = brain_like(np.random.default_rng(2))
    background = volume == 0
    volume[4, 5:15, 6:16] = -75.0
    result = intensities.normalise_cwdm(volume)
    assert (result[background] == 0).all()
    assert not intensities.brain_mask(result[..., None])[background].any()


def test_normalisation_leaves_its_input_alone():
    volume = brain_like(np.random.default_rng(3))
    before = volume.copy()
    intensities.normalise_cwdm(volume)
    np.testing.assert_array_equal(volume, before)


@given(st.floats(1e-3, 1e3))
def test_normalisation_does_not_depend_on_the_scanners_unit(factor):
    volume = brain_like(np.random.default_rng(4))
    scaled = (volume * np.float32(factor)).astype(np.float32)
    np.testing.assert_allclose(intensities.normalise_cwdm(scaled), intensities.normalise_cwdm(volume), atol=1e-5)


@pytest.mark.parametrize("value", [0.0, 7.0, -3.0])
def test_constant_volume_is_refused(value):
    with pytest.raises(ValueError, match="constant"):
        intensities.normalise_cwdm(np.full((4, 4, 4), value))


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_volume_with_a_voxel_that_is_not_finite_is_refused(value):
    volume = brain_like(np.random.default_rng(5))
    volume[10, 10, 10] = value
    with pytest.raises(ValueError, match="not finite"):
        intensities.normalise_cwdm(volume)


def test_brain_is_where_any_source_is_above_zero():
    sources = np.zeros((1, 1, 4, 2))
    sources[0, 0, 1, 0] = sources[0, 0, 2, 1] = 1e-6
    np.testing.assert_array_equal(intensities.brain_mask(sources)[0, 0], [False, True, True, False])


def test_crop_cuts_eight_voxels_off_each_side_in_plane():
    rows, columns = np.meshgrid(np.arange(240), np.arange(240), indexing="ij")
    volume = np.stack([rows, columns], axis=-1)[None]
    cropped = intensities.crop_cwdm(volume)
    assert cropped.shape == (1, 224, 224, 2)
    assert (cropped.min(), cropped.max()) == (8, 231)
    with pytest.raises(ValueError, match="240x240"):
        intensities.crop_cwdm(np.zeros((155, 240, 239)))


def test_background_of_a_prediction_is_zero_where_the_first_source_is_zero_and_the_rest_is_clamped():
    prediction = np.array([-0.5, 0.25, 1.5, 0.75])
    first_source = np.array([0.3, 0.1, 0.2, 0.0])
    result = intensities.apply_cwdm_background(prediction, first_source)
    np.testing.assert_array_equal(result, [0, 0.25, 1, 0])


@given(st.floats(0, 1))
def test_network_intensities_are_minus_one_to_one_and_return(unit):
    network = intensities.to_network(np.float64(unit))
    assert -1 <= network <= 1
    assert intensities.from_network(network) == pytest.approx(unit, abs=1e-15)
