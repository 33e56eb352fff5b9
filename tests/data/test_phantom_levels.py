"""Phantoms cover what was measured on scans: levels in the brain, what channels share, and tumors.

The numbers are of 14 scans of three sites (3 with multiple sclerosis, 1 after a stroke, 10 gliomas), skull-stripped,
normalized by the cWDM protocol at 1 mm and averaged to 4 mm: docs/studies/real_scans.md.
"""

import numpy as np
import pytest

from lift_jax.data.datasets import BRATS_CHANNELS as CHANNELS
from lift_jax.data.phantom.brain import make_head, make_phantom
from lift_jax.data.phantom.tissues import CORE, EDEMA, RIM

SHAPE, SPACING = (39, 48, 48), 4.0

MEDIANS = {"t1n": (0.53, 0.77), "t1c": (0.47, 0.54), "t2w": (0.31, 0.36), "t2f": (0.35, 0.72)}
"""Lowest and highest median of the brain over scans."""

UPPER_TAIL = {"t1n": (0.81, 0.94), "t1c": (0.61, 0.64), "t2w": (0.52, 0.67), "t2f": (0.56, 0.85)}
"""Lowest and highest 0.95 quantile of the brain."""

SPREADS = {
    ("t1n", "t1c"): (0.08, 0.12),
    ("t1n", "t2w"): (0.15, 0.21),
    ("t1n", "t2f"): (0.08, 0.17),
    ("t2w", "t1n"): (0.15, 0.19),
    ("t2f", "t1n"): (0.10, 0.21),
}
"""Lowest and highest standard deviation of the second channel within octiles of the first, mean over octiles and in
parts of its median, outside tumors; but for the stroke, at 0.3."""

TUMOR_CM3 = (26.5, 89.0, 212.0)
"""Smallest, median and largest whole tumor of the ten gliomas."""

TUMOR_OVER_HEALTHY = {"t1n": (0.80, 1.05), "t2f": (1.45, 2.3)}
"""Lowest and highest ratio of a tumor's median to that of the rest of the brain."""


@pytest.fixture(scope="module")
def phantoms():
    """By phantom: voxels of the brain `[N, CHANNELS]`, and the share of tumor and lesions in each `[N]`."""
    found = []
    for index in range(60):
        head = make_head(99, index, SHAPE, SPACING)
        images = make_phantom(99, index, SHAPE, SPACING).targets[head.mask]
        found.append((images, head.fractions[:, (CORE, RIM, EDEMA)].sum(axis=1)))
    return found


@pytest.mark.parametrize("channel", CHANNELS)
def test_levels_of_the_brain_cover_those_of_scans(phantoms, channel):
    levels = np.array([np.quantile(images[:, list(CHANNELS).index(channel)], (0.5, 0.95)) for images, _ in phantoms])
    low, high = MEDIANS[channel]
    assert levels[:, 0].min() <= low and levels[:, 0].max() >= high
    assert np.quantile(levels[:, 0], 0.1) < (low + high) / 2 < np.quantile(levels[:, 0], 0.9)
    assert np.quantile(levels[:, 1], 0.1) < np.mean(UPPER_TAIL[channel]) < np.quantile(levels[:, 1], 0.9)


@pytest.mark.parametrize("pair", SPREADS, ids=">".join)
def test_channels_leave_each_other_as_uncertain_as_in_scans(phantoms, pair):
    first, second = (list(CHANNELS).index(channel) for channel in pair)
    spreads = []
    for images, tumor in phantoms:
        x, y = images[tumor < 0.02][:, (first, second)].T
        octile = np.clip(np.searchsorted(np.quantile(x, np.arange(1, 8) / 8), x), 0, 7)
        spreads.append(np.mean([y[octile == i].std() for i in range(8)]) / np.median(y))
    low, high = SPREADS[pair]
    assert np.quantile(spreads, 0.05) < np.mean((low, high)) < np.quantile(spreads, 0.95)


def test_tumors_are_as_large_as_gliomas(phantoms):
    volumes = np.array([(tumor > 0.5).sum() * SPACING**3 / 1000 for _, tumor in phantoms])
    smallest, median, largest = TUMOR_CM3
    large = volumes[volumes > 5]
    assert len(large) > 0.5 * len(volumes)
    assert np.quantile(large, 0.15) < smallest and large.max() > 0.9 * largest
    assert np.quantile(large, 0.4) < median < np.quantile(large, 0.8)


@pytest.mark.parametrize("channel", TUMOR_OVER_HEALTHY)
def test_tumors_differ_from_the_brain_as_gliomas_do(phantoms, channel):
    ratios = []
    for images, tumor in phantoms:
        if (tumor > 0.5).sum() * SPACING**3 > 20_000:
            levels = images[:, list(CHANNELS).index(channel)]
            ratios.append(np.median(levels[tumor > 0.5]) / np.median(levels[tumor < 0.02]))
    low, high = TUMOR_OVER_HEALTHY[channel]
    assert np.quantile(ratios, 0.1) < np.mean((low, high)) < np.quantile(ratios, 0.95)
    assert np.quantile(ratios, 0.2) > low - 0.1
