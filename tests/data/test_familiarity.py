"""Scans that differ from the training data in voxel size or slice axis are noticed, equal ones are not."""

import numpy as np
import pytest

from lift_jax.data.channels import Channels
from lift_jax.data.familiarity import describe_training, slice_axis, unfamiliar
from lift_jax.data.intensity import get_protocol
from lift_jax.data.subject import Subject
from lift_jax.data.volumes import new_geometry

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


@pytest.fixture
def training():
    pairs = [subject(spacing) for spacing in ((1.0, 1.0, 1.0), (1.2, 1.0, 1.0))]
    return describe_training([grid for grid, _ in pairs], [made for _, made in pairs], CHANNELS)


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


def test_another_foreground_is_warned_about_unless_the_training_data_were_made(training):
    grid, made = subject((1.0, 1.0, 1.0), level=0.05)
    assert any("T1" in line for line in unfamiliar(training, grid, made, ("T1",), CHANNELS))
    assert unfamiliar(training, grid, made, ("T1",), CHANNELS, made=True) == []


def test_the_axis_of_slices_is_that_of_the_long_side_of_voxels():
    assert [slice_axis(sides) for sides in ((5, 1, 1), (1, 5, 1), (1, 1, 5), (1.2, 1, 1))] == [0, 1, 2, None]
