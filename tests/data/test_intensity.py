"""Protocols give one image, whatever unit its scan comes in, or say why they cannot."""

import jax.numpy as jnp
import numpy as np
import pytest

from lift_jax.data.foreground import background_of, find_foreground
from lift_jax.data.intensity import PROTOCOLS, from_network, get_protocol, raw_zero, soft_tissue_peak, to_network
from tests.data import scans

MR = ("mr_quantile", "mr_zscore", "mr_foreground")

SAME = 0.002
"""Mean difference that quantiles and float32 leave, of a range of 1."""


def normalized(name, volume):
    return get_protocol(name).normalize(volume, find_foreground(volume))


def cwdm(volume):
    low, high = np.quantile(np.maximum(volume, 0).astype(np.float64), (0.001, 0.999))
    return (np.clip(volume, low, high) - low) / (high - low)


@pytest.mark.parametrize("channel", range(4))
def test_clean_scan_is_normalized_as_cwdm_does(channel):
    volume = scans.brain(channel)
    np.testing.assert_allclose(normalized("mr_quantile", volume), cwdm(volume), atol=1e-6)


def test_undershoot_of_a_resampling_is_clipped():
    volume = scans.brain(0).copy()
    rim = np.flatnonzero(~find_foreground(volume).ravel())[::2000]
    volume.ravel()[rim] = -0.1 * volume.max()
    assert find_foreground(volume).sum() == find_foreground(scans.brain(0)).sum()
    np.testing.assert_allclose(normalized("mr_quantile", volume), cwdm(np.maximum(volume, 0)), atol=1e-6)


def test_foreground_protocol_divides_by_a_quantile_of_the_foreground():
    mr, _, mask = scans.head_pair()
    expected = np.where(mask, np.clip(mr / np.quantile(mr[mask], 0.995), 0, 1), 0)
    np.testing.assert_allclose(get_protocol("mr_foreground").normalize(mr, mask), expected, atol=1e-6)


AFFINE = {
    "z-scored as a whole by the brain": lambda volume: scans.zscored(volume, None),
    "z-scored as a whole": scans.zscored_everywhere,
    "WhiteStripe of the whole": lambda volume: scans.white_striped(volume, None),
    "scaled to [-1, 1]": scans.minmax,
    "scaled to [0, 1]": lambda volume: volume / volume.max(),
    "constant offset": lambda volume: volume + 100,
    "negative offset": lambda volume: volume - 1000,
    "residue of 1e-14": lambda volume: scans.add_everywhere(volume, 1e-14),
    "residue of 1e-6": lambda volume: scans.add_everywhere(volume, 1e-6),
    "residue of 1e-4": lambda volume: scans.add_everywhere(volume, 1e-4),
    "8 bits": lambda volume: np.round(volume / volume.max() * 255),
}


@pytest.mark.parametrize("name", MR)
@pytest.mark.parametrize("channel", (0, 3))
@pytest.mark.parametrize("kind", AFFINE)
def test_scaled_and_shifted_scan_gives_the_same_image(kind, channel, name):
    volume = scans.brain(channel)
    spoiled = AFFINE[kind](volume).astype(np.float32)
    np.testing.assert_array_equal(find_foreground(spoiled), volume > 0)
    difference = np.abs(normalized(name, spoiled) - normalized(name, volume))
    assert difference[volume > 0].mean() < SAME
    assert not normalized(name, spoiled)[volume == 0].any()


NOISY = {
    "Rayleigh noise in the air": scans.noisy_air,
    "strong noise in the air": lambda volume: scans.noisy_air(volume, 0.1),
    "whole numbers of noise": lambda volume: np.round(scans.noisy_air(volume, 0.01)),
    "z-scored, noise outside": lambda volume: scans.noise_outside(scans.zscored(volume, None), volume > 0),
}


@pytest.mark.parametrize("channel", (0, 3))
@pytest.mark.parametrize("kind", NOISY)
def test_noisy_air_leaves_the_image_as_it_is(kind, channel):
    volume = scans.brain(channel)
    spoiled = NOISY[kind](volume).astype(np.float32)
    for name in ("mr_quantile", "mr_foreground"):
        difference = np.abs(normalized(name, spoiled) - normalized(name, volume))
        assert difference[volume > 0].mean() < SAME
    errors, warnings = get_protocol("mr_quantile").check(spoiled, find_foreground(spoiled))
    assert not errors
    assert any("noise in the air" in warning for warning in warnings)


BRAIN_ONLY = {
    "z-scored": scans.zscored,
    "WhiteStripe": scans.white_striped,
    "[-1, 1] in the brain": lambda volume: scans.minmax(volume, 0.0),
    "bright background": lambda volume: np.where(volume > 0, volume, np.float32(1000)),
}


@pytest.mark.parametrize("kind", BRAIN_ONLY)
@pytest.mark.parametrize("channel", range(4))
def test_brain_scaled_without_its_background_keeps_all_of_the_brain(kind, channel):
    volume = scans.brain(channel)
    spoiled = BRAIN_ONLY[kind](volume)
    np.testing.assert_array_equal(find_foreground(spoiled), volume > 0)
    inside = volume > 0
    same = normalized("mr_zscore", spoiled) - normalized("mr_zscore", volume)
    assert np.abs(same).max() < 1e-4
    # The raw zero is lost: the darkest tissue stands for it, and costs as much as it lies above zero.
    darkest = volume[inside].min() / volume.max()
    difference = np.abs(normalized("mr_quantile", spoiled) - normalized("mr_quantile", volume))[inside]
    assert difference.mean() < darkest + SAME
    assert (normalized("mr_quantile", spoiled)[inside] == 0).mean() < 0.01
    _, warnings = get_protocol("mr_quantile").check(spoiled, find_foreground(spoiled))
    assert any("mr_zscore" in warning for warning in warnings)


def test_zscored_scan_with_a_dark_rim_gives_the_same_image():
    volume = scans.brain(2).copy()
    inside = np.flatnonzero(volume > 0)
    volume.ravel()[inside[::97]] *= 0.05  # partial volume with air, as every scan has at its rim
    spoiled = scans.zscored(volume)
    difference = normalized("mr_quantile", spoiled) - normalized("mr_quantile", volume)
    assert np.abs(difference)[volume > 0].mean() < 0.01


def test_single_low_voxel_is_no_zero():
    volume = scans.zscored(scans.brain(3)).copy()
    clean = normalized("mr_quantile", volume)
    volume.ravel()[np.flatnonzero(volume)[5000]] = -1000
    assert np.abs(normalized("mr_quantile", volume) - clean).mean() < 0.05
    foreground = find_foreground(volume)
    assert raw_zero(volume, foreground, background_of(volume)) > -20


@pytest.mark.parametrize("name", MR)
def test_background_is_exactly_zero_in_padding_of_any_value(name):
    volume = scans.brain(1)
    result = normalized(name, scans.padded(volume, 300))
    inner = result[5:-5, 5:-5, 5:-5]
    assert np.count_nonzero(result) == np.count_nonzero(inner)
    # Quantiles of the whole volume, as cWDM defines them, depend on the field of view.
    expected = cwdm(scans.padded(volume, 0)) if name == "mr_quantile" else np.pad(normalized(name, volume), 5)
    np.testing.assert_allclose(result, expected, atol=1e-6)


@pytest.mark.parametrize("name", MR)
def test_what_cannot_be_normalized_is_an_error(name):
    protocol, volume = get_protocol(name), scans.brain(0)
    for bad in (np.full_like(volume, 7), np.zeros_like(volume)):
        with pytest.raises(ValueError, match=r"foreground|constant"):
            protocol.normalize(bad, find_foreground(bad))
        assert protocol.check(bad, find_foreground(bad))[0]
    holed = volume.copy()
    holed[3, 3, 3] = np.nan
    with pytest.raises(ValueError, match="not finite"):
        protocol.normalize(holed, volume > 0)
    assert "not finite" in protocol.check(holed, volume > 0)[0][0]


@pytest.mark.parametrize("name", MR)
def test_clean_scan_has_no_warning(name):
    for channel in range(4):
        volume = scans.brain(channel)
        assert get_protocol(name).check(volume, find_foreground(volume)) == ([], [])


def test_segmentation_instead_of_an_image_is_warned_about():
    volume = scans.brain(0)
    labels = np.digitize(volume, (1, 300, 500)).astype(np.float32)
    _, warnings = get_protocol("mr_quantile").check(labels, find_foreground(labels))
    assert any("segmentation" in warning for warning in warnings)


def test_ct_is_clipped_and_air_outside():
    _, ct, mask = scans.head_pair()
    result = get_protocol("ct_hu", (-1000.0, 2000.0)).normalize(ct, mask)
    np.testing.assert_array_equal(result, np.where(mask, ct.clip(-1000, 2000), -1000).astype(np.float32))


CT = {
    "8 bits": (lambda ct, mask: np.round((ct + 1024) / 4024 * 255), "spans"),
    "0 to 4095": (lambda ct, mask: np.clip(ct + 1024, 0, 4095), "subtract 1024"),
    "in [0, 1]": (lambda ct, mask: (ct + 1024) / 4024, "spans"),
    "offset with lower padding": (lambda ct, mask: np.where(mask, ct + 1024, -2000), "subtract 1024"),
}


@pytest.mark.parametrize("kind", CT)
def test_ct_in_other_units_is_an_error_with_the_remedy(kind):
    _, ct, mask = scans.head_pair()
    spoil, message = CT[kind]
    spoiled = spoil(ct, mask).astype(np.float32)
    for foreground in (mask, find_foreground(spoiled)):
        errors, _ = get_protocol("ct_hu").check(spoiled, foreground)
        assert len(errors) == 1
        assert message in errors[0]


@pytest.mark.parametrize("shift, warned", [(0, False), (150, False), (-100, False), (450, True)])
def test_ct_is_checked_by_its_soft_tissue(shift, warned):
    _, ct, mask = scans.head_pair()
    errors, warnings = get_protocol("ct_hu").check(ct + shift, mask)
    assert not errors
    assert bool(warnings) == warned
    assert abs(soft_tissue_peak(ct[mask] + shift) - shift - 35) < 25


def test_unit_clips_a_small_overshoot_and_refuses_other_units():
    volume = scans.brain(0) / scans.brain(0).max()
    inside = volume > 0
    protocol = get_protocol("unit")
    assert protocol.check(volume, inside) == ([], [])
    np.testing.assert_array_equal(protocol.normalize(volume, inside), volume)
    overshoot = volume * np.float32(1.005)
    assert protocol.check(overshoot, inside)[0] == []
    assert "clipped" in protocol.check(overshoot, inside)[1][0]
    assert protocol.normalize(overshoot, inside).max() == 1
    for other in (volume * 255, volume * 2 - 1):
        assert "not from 0 to 1" in protocol.check(other, other > other.min())[0][0]


@pytest.mark.parametrize("numpy", (np, jnp))
def test_network_units(numpy):
    unit, ct = get_protocol("mr_quantile"), get_protocol("ct_hu")
    x = numpy.asarray(np.linspace(0, 1, 33, dtype=np.float32))
    np.testing.assert_array_equal(to_network(unit, x), x * 2 - 1)
    np.testing.assert_allclose(from_network(unit, to_network(unit, x)), x, atol=1e-7)
    np.testing.assert_array_equal(from_network(unit, numpy.asarray([-1.5, 1.5])), [0, 1])
    numbers = numpy.asarray(np.array([-3000.0, -1024, 0, 988, 3000, 9000], np.float32))
    np.testing.assert_array_equal(to_network(ct, numbers), (numbers.clip(-1024, 3000) - 988) / 2012)
    np.testing.assert_allclose(from_network(ct, to_network(ct, numbers)), numbers.clip(-1024, 3000), atol=1e-3)


def test_protocols_are_hashable_and_named():
    assert {get_protocol(name).name for name in PROTOCOLS} == set(PROTOCOLS)
    assert len({get_protocol(name) for name in PROTOCOLS}) == len(PROTOCOLS)
    wide = get_protocol("ct_hu", (-1024, 8000))
    assert (wide.low, wide.high, wide.background, wide.stored_dtype) == (-1024, 8000, -1024, np.int16)
    with pytest.raises(ValueError, match="choose one of"):
        get_protocol("mr")
