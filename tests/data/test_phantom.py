"""The phantom: deterministic, anatomically one head in four channels, and true to the signal equations it states."""

import dataclasses
from importlib import resources

import nibabel as nib
import numpy as np
import pytest

from lift_jax.data.datasets import BRATS_CHANNELS as CHANNELS
from lift_jax.data.intensity import get_protocol
from lift_jax.data.phantom import fields as phantom_fields
from lift_jax.data.phantom import mr as phantom_mr
from lift_jax.data.phantom.brain import (
    head_spacing,
    imaging_of,
    make_head,
    make_phantom,
    session,
    slice_gains,
)
from lift_jax.data.phantom.dataset import PhantomSubjects
from lift_jax.data.phantom.tissues import CORE, CSF, EDEMA, GRAY, RIM, TISSUES, VESSEL, WHITE, draw_relaxation
from lift_jax.errors import UserError

T1N, T1C, T2W, T2F = range(len(CHANNELS))
SHAPE = (28, 32, 30)
SPACING = 6.0
TEMPLATE = resources.files("lift_jax.data") / "template" / "mni_icbm152_tissues.nii.gz"


@pytest.fixture(scope="module")
def phantom():
    return make_phantom(3, 1, SHAPE, SPACING)


@pytest.fixture(scope="module")
def head():
    return make_head(3, 1, SHAPE, SPACING)


@pytest.fixture(scope="module")
def subjects():
    """Relaxation and protocol of 400 subjects."""
    generators = [np.random.default_rng([11, index]) for index in range(400)]
    return [(draw_relaxation(g), phantom_mr.draw_protocol(g)) for g in generators]


def tissue_levels(relaxation, protocol):
    """Noise-free intensities of pure tissues over the largest, `[TISSUES, CHANNELS]`."""
    pure = phantom_mr.signals(relaxation, protocol)
    return (pure / pure.max(axis=0)) ** protocol.gamma


def unclipped(phantom):
    """`[D, H, W, C]`: voxels in the brain that normalization has scaled without clipping."""
    room = 0.999 * imaging_of(3, 1).headroom
    inside = (phantom.sources > 0.02) & (phantom.sources < room) & (phantom.targets > 0.02) & (phantom.targets < room)
    assert inside.sum(axis=(0, 1, 2)).min() > 1000
    return inside


def phantoms(**settings):
    protocols = {channel: get_protocol(protocol) for channel, protocol in CHANNELS.items()}
    settings = {"seed": 3, "first": 1, "count": 1, "shape": SHAPE, "spacing": SPACING} | settings
    return PhantomSubjects("phantom", protocols, **settings)


def assert_same(subject, phantom):
    for i, channel in enumerate(CHANNELS):
        np.testing.assert_array_equal(subject.images[channel], phantom.sources[..., i])
        np.testing.assert_array_equal(subject.references[channel], phantom.targets[..., i])
    np.testing.assert_array_equal(subject.affine, phantom.affine)
    assert subject.name == phantom.name


def test_a_phantom_is_determined_by_seed_and_index_alone(phantom):
    np.random.seed(0)  # noqa: NPY002
    wide, narrow = phantoms(first=0, count=5), phantoms()
    assert_same(wide.load(1), phantom)
    assert_same(narrow.load(0), phantom)
    assert wide.names[1] == narrow.names[0] == phantom.name == "phantom-3-00001"
    assert wide.fingerprint(1) == narrow.fingerprint(0)


@pytest.mark.parametrize("change", [{"seed": 4}, {"first": 2}, {"shape": (28, 32, 31)}, {"spacing": 6.5}])
def test_other_seeds_indices_and_grids_give_other_phantoms_and_fingerprints(phantom, change):
    known = phantoms()
    changed = dataclasses.replace(known, **change)
    assert changed.fingerprint(0) != known.fingerprint(0)
    other = changed.load(0)
    assert not np.array_equal(other.references["t1n"], phantom.targets[..., T1N])


def test_indices_outside_the_split_are_refused():
    several = phantoms(count=2)
    for index in (-1, 2):
        with pytest.raises(IndexError):
            several.load(index)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"seed": -1}, "seed=-1"),
        ({"count": 0}, "count=0"),
        ({"shape": (32, 32, 4)}, "shape"),
        ({"spacing": 0.0}, "spacing"),
    ],
)
def test_bad_settings_are_reported_in_one_line(change, message):
    with pytest.raises(UserError, match=message) as raised:
        phantoms(**change)
    assert "\n" not in str(raised.value)


def test_a_phantom_has_the_promised_shapes_and_types(phantom):
    depth, channels = SHAPE[0], len(CHANNELS)
    assert phantom.sources.shape == phantom.targets.shape == (*SHAPE, channels)
    gains = slice_gains(3, 1, depth)
    assert gains.shape == (depth, channels)
    for array in (phantom.sources, phantom.targets, gains):
        assert array.dtype == np.float32
        assert np.isfinite(array).all()
    room = imaging_of(3, 1).headroom
    for volume in (phantom.sources, phantom.targets):
        assert volume.min() == 0
        np.testing.assert_allclose(volume.max(axis=(0, 1, 2)), room, rtol=1e-6)


def test_the_grid_is_ras_centered_and_spaced_as_asked(phantom):
    assert nib.aff2axcodes(phantom.affine) == ("R", "A", "S")
    np.testing.assert_allclose(nib.affines.voxel_sizes(phantom.affine), [SPACING] * 3)
    center = [(size - 1) / 2 for size in reversed(SHAPE)]
    np.testing.assert_allclose(nib.affines.apply_affine(phantom.affine, center), 0, atol=1e-9)


@pytest.mark.parametrize(("shape", "spacing"), [((48,) * 3, 4.0), ((32,) * 3, 6.0), ((155, 240, 240), 1.0)])
def test_the_head_spacing_of_the_usual_grids(shape, spacing):
    assert head_spacing(shape) == spacing


def test_heads_fit_their_field_of_view():
    shape = (24, 24, 24)
    for index in range(15):
        mask = make_head(2, index, shape, head_spacing(shape)).mask
        extents = [np.count_nonzero(mask.any(axis=tuple({0, 1, 2} - {axis}))) for axis in range(3)]
        assert min(extents) > 0.5 * 24
        faces = [mask.take(side, axis=axis).mean() for axis in range(3) for side in (0, -1)]
        assert max(faces) < 0.03


def test_the_background_is_zero_and_the_mask_is_shared_by_the_channels(phantom, head):
    assert not phantom.sources[~head.mask].any()
    assert not phantom.targets[~head.mask].any()
    assert (phantom.targets[head.mask] > 0).all(axis=-1).mean() > 0.95
    assert 0.05 < head.mask.mean() < 0.5


@pytest.mark.parametrize("index", [0, 2])
def test_the_same_subject_is_seen_at_every_resolution(index):
    fine = make_phantom(5, index, (64, 64, 64), 3.0).targets
    coarse = make_phantom(5, index, (32, 32, 32), 6.0).targets
    other = make_phantom(5, index + 1, (32, 32, 32), 6.0).targets
    averaged = fine.reshape(32, 2, 32, 2, 32, 2, 4).mean(axis=(1, 3, 5))
    inside = ((averaged > 0) & (coarse > 0) & (other > 0)).all(axis=-1)

    def correlation(volume, channel):
        return np.corrcoef(averaged[inside, channel], volume[inside, channel])[0, 1]

    for channel in (T1N, T2W, T2F):
        assert correlation(coarse, channel) > 0.75
        assert correlation(coarse, channel) > correlation(other, channel) + 0.3


def test_fractions_sum_to_one_and_none_is_negative():
    seen = np.zeros(len(TISSUES))
    for index in range(12):
        fractions = make_head(7, index, SHAPE, SPACING).fractions
        np.testing.assert_allclose(fractions.sum(axis=1), 1, atol=1e-5)
        assert fractions.min() > -1e-6
        seen += fractions.sum(axis=0)
    assert (seen > 0).all()


def test_tumor_size_varies_from_none_to_large():
    volumes = []
    for index in range(40):
        fractions = make_head(1, index, (24, 24, 24), 8.0).fractions
        volumes.append(fractions[:, (CORE, RIM)].sum() * 8.0**3 / 1000)  # cm³
    assert 0.3 < np.mean(np.array(volumes) > 0.01) < 0.9
    assert min(v for v in volumes if v > 0.01) < 4
    assert max(volumes) > 20


def test_sources_are_targets_times_gains_up_to_one_factor_per_volume(phantom):
    inside = unclipped(phantom)
    gains = slice_gains(3, 1, SHAPE[0])
    for channel in range(len(CHANNELS)):
        voxels = inside[..., channel]
        expected = phantom.targets[..., channel] * gains[:, None, None, channel]
        factors = phantom.sources[..., channel][voxels] / expected[voxels]
        assert np.ptp(factors) < 1e-3 * factors.mean()


def test_gains_fluctuate_by_up_to_eight_per_cent_and_alternate_within_a_volume():
    gains = np.log([phantom_mr.draw_gains(np.random.default_rng(seed), 40) for seed in range(300)])
    by_volume = gains.std(axis=1).ravel()
    assert np.quantile(by_volume, 0.05) < 0.01
    assert 0.06 < np.quantile(by_volume, 0.9) < 0.11
    interleave = (gains[:, 0::2].mean(axis=1) - gains[:, 1::2].mean(axis=1)) / 2
    # A uniform amount from 0 to 1 has a mean square of 1/3.
    assert interleave.std() == pytest.approx(phantom_mr.GAIN_INTERLEAVE / 3**0.5, rel=0.15)


def test_gray_and_white_matter_differ_as_their_noise_free_signals_do():
    shape, spacing = (56, 56, 56), 3.4
    logarithms = []
    for index in range(8):
        phantom, head = make_phantom(9, index, shape, spacing), make_head(9, index, shape, spacing)
        pure = [head.fractions[:, tissue] > 0.97 for tissue in (GRAY, WHITE)]
        assert min(voxels.sum() for voxels in pure) > 100
        gray, white = (np.median(phantom.targets[head.mask][voxels], axis=0) for voxels in pure)
        levels = tissue_levels(*session(9, index))
        free = np.maximum(gray, white) < 0.9
        logarithms.extend(np.log(gray / white * levels[WHITE] / levels[GRAY])[free])
    assert len(logarithms) > 8
    # What is left is the bias field, whose mean over a tissue differs from one in each volume.
    assert np.std(logarithms) < 0.08
    assert abs(np.mean(logarithms)) < 0.03


def recovered(magnetisation, duration, t1):
    """Longitudinal magnetisation after free relaxation, from the Bloch equation."""
    return 1 + (magnetisation - 1) * np.exp(-duration / t1)


def steady_signal(t1, *, repetition, flip=np.pi / 2, inversion=None):
    """|transverse magnetisation| right after the excitation, by playing the sequence until nothing changes."""
    magnetisation = np.ones_like(t1)
    for _ in range(2000):
        if inversion is not None:
            magnetisation = recovered(-magnetisation, inversion, t1)
        excited = magnetisation * np.sin(flip)
        magnetisation = recovered(magnetisation * np.cos(flip), repetition - (inversion or 0), t1)
    return np.abs(excited)


def test_signals_are_those_of_a_sequence_played_to_its_steady_state(subjects):
    seen = set()
    for relaxation, protocol in subjects[:12]:
        seen.add(protocol.t1_sequence)
        shortened = 1 / (1 / relaxation.t1 + 0.0045 * relaxation.gadolinium)
        t1_sequence = {
            "spin echo": {},
            "spoiled": {"flip": protocol.flip},
            "prepared": {"inversion": protocol.t1_inversion},
        }[protocol.t1_sequence] | {"repetition": protocol.t1_repetition}
        longitudinal = (
            (steady_signal(relaxation.t1, **t1_sequence), protocol.t1_echo),
            (steady_signal(shortened, **t1_sequence), protocol.t1_echo),
            (steady_signal(relaxation.t1, repetition=protocol.t2_repetition), protocol.t2_echo),
            (
                steady_signal(relaxation.t1, repetition=protocol.flair_repetition, inversion=protocol.flair_inversion),
                protocol.flair_echo,
            ),
        )
        expected = [relaxation.density * signal * np.exp(-echo / relaxation.t2) for signal, echo in longitudinal]
        np.testing.assert_allclose(
            phantom_mr.signals(relaxation, protocol), np.stack(expected, axis=-1), rtol=1e-6, atol=1e-9
        )
    assert seen == {"spin echo", "spoiled", "prepared"}


@pytest.mark.parametrize(
    ("channel", "brighter", "darker"),
    [
        (T1N, WHITE, GRAY),
        (T1N, GRAY, CSF),
        (T1N, WHITE, EDEMA),
        (T1C, WHITE, CSF),
        (T1C, VESSEL, WHITE),
        (T2W, CSF, GRAY),
        (T2W, GRAY, WHITE),
        (T2W, EDEMA, GRAY),
        (T2F, GRAY, CSF),
        (T2F, WHITE, CSF),
        (T2F, EDEMA, GRAY),
        (T2F, EDEMA, WHITE),
    ],
)
def test_tissues_are_ordered_as_in_scans_in_at_least_95_of_100_subjects(subjects, channel, brighter, darker):
    levels = [tissue_levels(*subject)[:, channel] for subject in subjects]
    assert np.mean([level[brighter] > level[darker] for level in levels]) > 0.95


def test_gadolinium_brightens_the_rim_more_than_the_brain(subjects):
    for relaxation, protocol in subjects:
        pure = phantom_mr.signals(relaxation, protocol)
        gain = pure[:, T1C] / pure[:, T1N]
        assert gain[RIM] > gain[WHITE] > 0.99


def test_site_habits_tie_t2w_and_flair_together(subjects):
    echoes = np.log([(protocol.t2_echo, protocol.flair_echo) for _, protocol in subjects])
    assert np.corrcoef(echoes.T)[0, 1] > 0.5


def test_a_smooth_field_is_the_same_on_every_grid_and_has_unit_variance():
    coarse_axes = phantom_fields.grid_axes((15, 15, 15), 8.0)
    fine_axes = phantom_fields.grid_axes((29, 29, 29), 4.0)
    coarse = phantom_fields.smooth_field(np.random.default_rng(2), coarse_axes, 11.0)
    fine = phantom_fields.smooth_field(np.random.default_rng(2), fine_axes, 11.0)
    np.testing.assert_allclose(fine[::2, ::2, ::2], coarse, atol=1e-5)
    assert coarse.std() == pytest.approx(1, abs=0.1)
    assert abs(np.diff(fine, axis=0)).mean() < 0.4


def test_the_template_is_small_and_its_fractions_sum_to_at_most_one():
    with resources.as_file(TEMPLATE) as path:
        assert path.stat().st_size <= 2_000_000
        image = nib.load(path)
        levels = np.asarray(image.dataobj)
        assert (path.parent / "MNI_NOTICE.txt").read_text().count("McConnell Brain Imaging Centre") == 1
    assert nib.aff2axcodes(image.affine) == ("R", "A", "S")
    assert nib.affines.voxel_sizes(image.affine).tolist() == [1, 1, 1]
    total = levels.astype(int).sum(axis=-1)
    assert set(np.unique(total)) == {0, 15}
    assert 1.2e6 < np.count_nonzero(total) < 2.2e6  # mm³: a brain with its fluid
    left, right = np.array_split(levels[..., WHITE].sum(axis=(1, 2), dtype=int), 2)
    assert left.sum() == pytest.approx(right.sum(), rel=0.05)
