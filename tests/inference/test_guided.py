"""Guided upsampling: exact where the prediction is a combination of the sources, and better than interpolation."""

import numpy as np
import pytest
from scipy import ndimage

from lift_jax.data.resample import resample_foreground, resample_within_mask, resampled_grid
from lift_jax.inference import guided
from lift_jax.inference.guided import guided_upsampling

AFFINE = np.diag([1.0, 1.0, 1.0, 1.0])


@pytest.fixture(scope="module")
def sources():
    """Two sources `[24, 28, 26, 2]` with detail, zero outside an ellipsoid."""
    generator = np.random.default_rng(0)
    shape = (24, 28, 26)
    grid = np.stack(np.meshgrid(*(np.linspace(-1, 1, n) for n in shape), indexing="ij"))
    brain = (grid**2).sum(axis=0) < 0.8
    noise = ndimage.gaussian_filter(generator.standard_normal((2, *shape)), (0, 0.8, 0.8, 0.8))
    return np.where(brain[..., None], np.clip(0.5 + 0.4 * np.moveaxis(noise, 0, -1), 0.05, 1), 0).astype(np.float32)


def to_spacing(images, affine, spacing):
    """Images `[D, H, W, C]` in voxels of `spacing` mm, within what any of them shows; and their affine."""
    grid = resampled_grid(images.shape[:3], affine, spacing, (0, 0, 0))
    shown = (images > 0).any(axis=-1)
    moved = [resample_foreground(images[..., c], shown, 0.0, affine, *grid)[0] for c in range(images.shape[-1])]
    return np.stack(moved, axis=-1), grid[1]


def bring_back(coarse, guides, affine, sources):
    """`guided_upsampling` where the foreground is where any source shows something."""
    return guided_upsampling(coarse, guides, (guides > 0).any(-1), affine, sources, (sources > 0).any(-1), AFFINE)


def test_a_combination_of_the_sources_gets_all_its_detail_back(sources, monkeypatch):
    monkeypatch.setattr(guided, "RIDGE", 1e-9)
    guides, affine = to_spacing(sources, AFFINE, 3.0)
    weights, offset = np.array([0.6, -0.3], np.float32), 0.3
    coarse = np.where((guides > 0).any(-1), guides @ weights + offset, 0)
    fine = np.where((sources > 0).any(-1), sources @ weights + offset, 0)
    made = bring_back(coarse, guides, affine, sources)
    assert made.dtype == np.float32
    np.testing.assert_allclose(made, fine, atol=2e-3)


def test_a_curved_map_of_a_source_comes_nearer_than_by_interpolation(sources):
    guides, affine = to_spacing(sources, AFFINE, 2.0)
    truth = sources[..., 0] ** 2
    coarse = guides[..., 0] ** 2
    brain = (sources > 0).any(-1)
    made = bring_back(coarse, guides, affine, sources)
    smooth = resample_within_mask(coarse, (guides > 0).any(-1), affine, brain, AFFINE)
    error, before = (np.sqrt(np.mean((volume - truth)[brain] ** 2)) for volume in (made, smooth))
    assert error < 0.6 * before


def test_flat_sources_give_the_mean_and_the_background_stays_zero(sources):
    flat = np.where(sources > 0, np.float32(0.5), 0)
    guides, affine = to_spacing(flat, AFFINE, 3.0)
    coarse = np.where((guides > 0).any(-1), np.float32(0.25), 0)
    made = bring_back(coarse, guides, affine, flat)
    brain = (flat > 0).any(-1)
    assert not made[~brain].any()
    np.testing.assert_allclose(made[brain], 0.25, atol=1e-4)
