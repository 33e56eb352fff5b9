"""Scans that differ from the training data in voxel size or slice axis are noticed, equal ones are not."""

import numpy as np
import pytest

from lift_jax.data.channels import Channels
from lift_jax.data.geometry import new_geometry
from lift_jax.data.intensity import get_protocol
from lift_jax.data.statistics import describe_training, foreground_statistics, outliers, slice_axis, unfamiliar
from lift_jax.data.subject import Subject

PROTOCOLS = {name: get_protocol("mr_quantile") for name in ("T1", "T2")}
CHANNELS = Channels(("T1", "T2"), ("T2",), PROTOCOLS)


def subject(spacing, side=60.0, level=0.5):
    """A ball of 40 mm in voxels of `spacing` along (D, H, W)."""
    shape = tuple(round(side / step) for step in spacing)
    axes = [(np.arange(n) - (n - 1) / 2) * step for n, step in zip(shape, spacing, strict=True)]
    radius = np.sqrt(sum(axis**2 for axis in np.meshgrid(*axes, indexing="ij")))
    image = np.where(radius < 20, level * (1 + 0.2 * np.sin(radius)), 0).astype(np.float32)
    affine = np.diag([*reversed(spacing), 1.0])
    return new_geometry(shape, affine), Subject("s", {"T1": image, "T2": image}, affine)


def statistics(made):
    return foreground_statistics(made, CHANNELS.sources, PROTOCOLS)


@pytest.fixture
def training():
    pairs = {str(side): subject((side, 1.0, 1.0)) for side in (1.0, 1.2)}
    measured = {name: statistics(made) for name, (_, made) in pairs.items()}
    return describe_training({name: grid for name, (grid, _) in pairs.items()}, measured)


def test_the_like_of_the_training_data_is_not_warned_about(training):
    assert training["spacing_mm"][0] == [1.0, pytest.approx(1.2)]
    grid, made = subject((1.1, 1.0, 1.0))
    assert unfamiliar(training, grid, made, ("T1",), CHANNELS) == []


@pytest.mark.parametrize(
    ("spacing", "words"),
    [((2.0, 2.0, 2.0), "voxels of 2×2×2 mm"), ((1.0, 1.0, 5.0), "sagittal slices"), ((5.0, 1.0, 1.0), "axial slices")],
)
def test_other_voxels_and_other_slices_are_warned_about(training, spacing, words):
    grid, _ = subject(spacing)
    (line,) = unfamiliar(training, grid, subject((1.0, 1.0, 1.0))[1], ("T1",), CHANNELS)
    assert words in line


@pytest.mark.parametrize(
    ("spacing", "words"), [((1.0, 1.0, 1.0), None), ((3.0, 3.0, 3.0), "finer scan"), ((5.0, 1.0, 1.0), "axial")]
)
def test_where_all_are_resampled_only_coarser_voxels_matter(spacing, words):
    training = describe_training({"s": subject((2.0, 2.0, 2.0))[0]}, {})
    lines = unfamiliar(training, subject(spacing)[0], subject((2.0, 2.0, 2.0))[1], ("T1",), CHANNELS, spacing=2.0)
    assert len(lines) == (words is not None) and all(words in line for line in lines)


def test_another_foreground_is_warned_about_unless_the_training_data_were_made(training):
    grid, made = subject((1.0, 1.0, 1.0), level=0.05)
    assert any("T1" in line for line in unfamiliar(training, grid, made, ("T1",), CHANNELS))
    assert unfamiliar(training | {"foreground": {}}, grid, made, ("T1",), CHANNELS) == []


def test_a_subject_unlike_all_others_is_found_if_there_are_enough():
    measured = {f"s{i}": statistics(subject((1.0, 1.0, 1.0), level=0.5 + i / 100)[1]) for i in range(4)}
    assert outliers(measured) == []
    dark = measured | {"dark": statistics(subject((1.0, 1.0, 1.0), level=0.1)[1])}
    assert len(outliers(dark)) == 2 and all(line.startswith("dark: unlike all others, T") for line in outliers(dark))
    few = dict(list(dark.items())[2:])
    assert outliers(few) == []


def test_the_axis_of_slices_is_that_of_the_long_side_of_voxels():
    assert [slice_axis(sides) for sides in ((5, 1, 1), (1, 5, 1), (1, 1, 5), (1.2, 1, 1))] == [0, 1, 2, None]
