"""The foreground of scans with any background, and warnings about parts, copies and other preparations."""

import numpy as np
import pytest
from scipy import ndimage

from lift_jax.data.check import channel_warnings
from lift_jax.data.foreground import background_of, body_mask, fill_holes, find_foreground, subject_foreground
from lift_jax.data.intensity import get_protocol
from lift_jax.data.statistics import compare_statistics, foreground_statistics, summarize_statistics
from lift_jax.data.subject import Subject
from tests.data import scans

NAMES = ("t1n", "t1c", "t2w", "t2f")


def brains():
    return {name: scans.brain(channel) for channel, name in enumerate(NAMES)}


@pytest.mark.parametrize("channel", range(4))
@pytest.mark.parametrize("value", (0, -1, 100))
def test_clean_background_is_exact(channel, value):
    volume = scans.brain(channel) + np.float32(value)
    background = background_of(volume)
    assert (background.value, background.kind, background.signed) == (value, "constant", False)
    np.testing.assert_array_equal(find_foreground(volume), volume > value)


def test_flipped_view_has_the_same_foreground():
    volume = scans.brain(0)
    np.testing.assert_array_equal(find_foreground(volume[::-1, :, ::-1]), find_foreground(volume)[::-1, :, ::-1])


def test_whole_numbers_do_not_wrap_around():
    volume = np.where(scans.brain(0) > 0, scans.brain(0), 200)
    whole = find_foreground(np.clip(volume / 4, 0, 255).astype(np.uint8))
    np.testing.assert_array_equal(whole, find_foreground(np.floor(volume / 4).astype(np.float32)))


@pytest.mark.parametrize("value", (0, 300, -1000))
@pytest.mark.parametrize("spoil", (lambda volume: volume, scans.noisy_air, scans.zscored))
def test_padding_is_background(value, spoil):
    volume = scans.brain(0)
    mask = find_foreground(scans.padded(spoil(volume), value))
    inner = mask[5:-5, 5:-5, 5:-5]
    sure, maybe = scans.dilated_tissue(volume)
    assert mask.sum() == inner.sum()
    assert inner[sure].all()
    assert not inner[~maybe].any()


def test_padding_on_one_side_only():
    volume = np.pad(scans.brain(0), ((0, 6), (0, 0), (0, 0)), constant_values=250)
    np.testing.assert_array_equal(find_foreground(volume)[:-6], scans.brain(0) > 0)
    assert not find_foreground(volume)[-6:].any()


@pytest.mark.parametrize("channel", range(4))
def test_noise_in_the_air_is_no_foreground(channel):
    volume = scans.brain(channel)
    sure, maybe = scans.dilated_tissue(volume)
    for deviation in (0.005, 0.02, 0.05):
        mask = find_foreground(scans.noisy_air(volume, deviation))
        assert mask[sure].mean() > 0.98
        assert mask[~maybe].mean() < 0.001


@pytest.mark.parametrize("channel", range(4))
def test_brain_scaled_to_lie_around_the_noise_is_found(channel):
    volume = scans.brain(channel)
    spoiled = scans.noise_outside(scans.zscored(volume), volume > 0)
    sure, maybe = scans.dilated_tissue(volume)
    assert background_of(spoiled).signed
    mask = find_foreground(spoiled)
    assert mask[sure].mean() > 0.9
    assert mask[~maybe].mean() < 0.001


def test_noise_within_a_round_field_of_view():
    volume = scans.brain(0)
    rows, columns = np.indices(volume.shape[1:]) - (np.array(volume.shape[1:]) - 1)[:, None, None] / 2
    spoiled = np.where(np.hypot(rows, columns) < volume.shape[1] / 2, scans.noisy_air(volume), 0)
    sure, maybe = scans.dilated_tissue(volume)
    mask = find_foreground(spoiled.astype(np.float32))
    assert mask[sure].all()
    assert mask[~maybe].mean() < 0.001


def test_waves_of_a_spline_are_no_foreground():
    volume = scans.ringing(scans.brain(0))
    sure, maybe = scans.dilated_tissue(scans.brain(0))
    mask = find_foreground(volume)
    assert mask[sure].all()
    assert not mask[~maybe].any()


@pytest.mark.parametrize("channel", range(4))
def test_noisy_channel_takes_the_foreground_of_the_others(channel):
    clean = brains()
    name = NAMES[channel]
    for spoiled in (scans.noisy_air(clean[name]), scans.noise_outside(scans.zscored(clean[name]), clean[name] > 0)):
        masks = subject_foreground({**clean, name: spoiled})
        others = np.logical_or.reduce([clean[other] > 0 for other in NAMES if other != name])
        np.testing.assert_array_equal(masks[name], others)
        for other in NAMES:
            if other != name:
                np.testing.assert_array_equal(masks[other], clean[other] > 0)


def test_foregrounds_of_clean_channels_do_not_depend_on_each_other():
    clean = brains()
    half = {**clean, "t2w": np.where(np.arange(clean["t2w"].shape[0])[:, None, None] < 20, clean["t2w"], 0)}
    for name, mask in subject_foreground(half).items():
        np.testing.assert_array_equal(mask, half[name] > 0)


def test_voxels_that_are_not_finite_are_an_error():
    volume = scans.brain(0).copy()
    volume[0, 0, 0] = np.inf
    with pytest.raises(ValueError, match="not finite"):
        find_foreground(volume)


def test_head_in_noise_is_found_by_threshold():
    mr, _, mask = scans.head_pair()
    noisy = scans.noisy_air(mr)
    found = find_foreground(noisy)
    assert (found & mask).sum() / (found | mask).sum() > 0.9
    _, warnings = get_protocol("mr_quantile").check(noisy, found)
    assert any("strip the skull" in warning for warning in warnings)


def test_body_mask_is_one_solid_piece():
    mr, _, mask = scans.head_pair()
    body = body_mask(mr)
    assert ndimage.label(body)[1] == 1
    assert (body & mask).sum() / (body | mask).sum() > 0.9


@pytest.mark.parametrize("noise", (False, True))
def test_body_does_not_depend_on_scale_and_shift(noise):
    mr, _, mask = scans.head_pair()
    raw = scans.noisy_air(mr) if noise else mr
    shifted = body_mask((raw / 300 - 2).astype(np.float32))
    assert (shifted ^ body_mask(raw)).sum() < 0.01 * mask.sum()
    if not noise:
        zscored = body_mask(scans.zscored(raw))
        assert (zscored & mask).sum() / (zscored | mask).sum() > 0.85


def test_fill_holes_is_that_of_scipy():
    mask = np.random.default_rng(0).random((12, 13, 14)) < 0.75
    np.testing.assert_array_equal(fill_holes(mask), ndimage.binary_fill_holes(mask))


def warnings_of(volumes):
    return channel_warnings(volumes, subject_foreground(volumes))


def test_clean_subject_has_no_channel_warnings():
    assert warnings_of(brains()) == {name: [] for name in NAMES}
    assert warnings_of({"t1n": scans.brain(0)}) == {"t1n": []}


def test_half_a_head_is_warned_about():
    volumes = brains()
    volumes["t2w"] = np.where(np.arange(48) < 24, volumes["t2w"], 0)
    found = warnings_of(volumes)
    assert "lacks" in found.pop("t2w")[0]
    assert not any(found.values())


@pytest.mark.parametrize("others", (True, False))
def test_holes_are_warned_about(others):
    volume = scans.brain(2).copy()
    center = tuple(int(index) for index in np.argwhere(volume > 0).mean(axis=0))
    volume[tuple(slice(index - 3, index + 4) for index in center)] = 0
    found = warnings_of({**brains(), "t2w": volume} if others else {"t2w": volume})
    assert "holes" in found["t2w"][0]


def test_copied_channel_is_warned_about():
    volumes = brains()
    for copy in (volumes["t1n"].copy(), np.round(scans.zscored(volumes["t1n"], None) * 1000)):
        found = warnings_of({**volumes, "t1c": copy.astype(np.float32)})
        assert "same image as t1n" in found["t1c"][0]


PROTOCOLS = {name: get_protocol("mr_quantile") for name in NAMES}


def subject(volumes, spacing=4.0):
    masks = subject_foreground(volumes)
    images = {name: PROTOCOLS[name].normalize(volume, masks[name]) for name, volume in volumes.items()}
    return Subject("a", images, np.diag([spacing, spacing, spacing, 1.0]))


def test_statistics_of_a_known_foreground():
    image = np.zeros((10, 12, 14), np.float32)
    image[2:7, 3:7, 4:12] = np.linspace(0.1, 0.9, 5 * 4 * 8).reshape(5, 4, 8)
    found = foreground_statistics(Subject("a", {"t1n": image}, np.diag([3.0, 2.0, 1.0, 1.0])), ("t1n",), PROTOCOLS)
    assert found["volume_ml"] == pytest.approx(5 * 4 * 8 * 6 / 1000)
    assert found["share"] == pytest.approx(5 * 4 * 8 / image.size)
    assert (found["box_d_mm"], found["box_h_mm"], found["box_w_mm"]) == (5, 8, 24)
    assert found["t1n_q0.5"] == pytest.approx(0.5, abs=1e-6)


def test_subjects_unlike_the_training_data_are_warned_about():
    usual = foreground_statistics(subject(brains()), NAMES, PROTOCOLS)
    training = summarize_statistics([usual, {name: 1.02 * value for name, value in usual.items()}])
    assert compare_statistics(training, usual) == []
    mr, _, _ = scans.head_pair()
    head = foreground_statistics(subject({"t1n": mr}, spacing=6.0), ("t1n",), PROTOCOLS)
    assert any("strip the skull" in warning for warning in compare_statistics(training, head))
    swapped = subject({"t1n": scans.brain(2), "t2w": scans.brain(0)})
    found = compare_statistics(training, foreground_statistics(swapped, ("t1n", "t2w"), PROTOCOLS))
    assert any("right contrast" in warning for warning in found)
    assert compare_statistics(training, {}) != []
