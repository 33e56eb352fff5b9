"""A coarse prediction on a fine grid: detail from the fine sources, by a guided filter.

He, Sun and Tang, "Guided Image Filtering", IEEE TPAMI 2013, and its fast form (He and Sun, arXiv 1505.00996), in three
dimensions and with several guides: the prediction is written as a linear combination of the sources in small windows
of the coarse grid, and the coefficients, which are smooth, are interpolated and applied to the fine sources.
"""

import numpy as np
from scipy import ndimage

from lift_jax.data.resample import resample_onto

RIDGE = 1e-3
"""Added to the variances of the sources, in [0, 1]²: below it a window counts as flat and takes the mean."""

WINDOW = 3
"""Side of the windows, in voxels of the coarse grid."""


def guided_upsampling(
    prediction: np.ndarray,
    guides: np.ndarray,
    known: np.ndarray,
    affine: np.ndarray,
    sources: np.ndarray,
    inside: np.ndarray,
    fine_affine: np.ndarray,
) -> np.ndarray:
    """A prediction on the grid of its sources, `[D', H', W']` float32 in [0, 1], zero outside the foreground.

    Args:
      prediction: `[D, H, W]` in [0, 1], on the coarse grid.
      guides: `[D, H, W, C]` in [0, 1], the sources on the coarse grid.
      known: `[D, H, W]` bool, the foreground there.
      affine: `[4, 4]` of the coarse grid.
      sources: `[D', H', W', C]`, the same sources on the fine grid, in the same unit.
      inside: `[D', H', W']` bool, the foreground there.
      fine_affine: `[4, 4]` of the fine grid, with axes parallel to those of `affine`.
    """
    both = np.concatenate([_local_fits(prediction, guides, known), known[..., None]], axis=-1).astype(np.float32)
    both = resample_onto(both, affine, sources.shape[:3], fine_affine)
    fine = np.einsum("zyxc,zyxc->zyx", both[..., :-2], sources) + both[..., -2]
    fine /= np.maximum(both[..., -1], np.float32(1e-3))
    return np.where(inside, np.clip(fine, 0, 1), 0).astype(np.float32)


def _local_fits(prediction: np.ndarray, guides: np.ndarray, known: np.ndarray) -> np.ndarray:
    """Weights of the guides and an offset `[D, H, W, C + 1]`, averaged over windows and 0 outside the foreground."""
    share = np.maximum(_window_mean(known.astype(np.float64)), 1e-6)

    def mean(volume):
        return _window_mean(volume * known) / share

    count = guides.shape[-1]
    guides = guides.astype(np.float64)
    means = np.stack([mean(guides[..., c]) for c in range(count)], axis=-1)
    level = mean(prediction)
    covariance = np.empty((*known.shape, count, count))
    with_prediction = np.empty((*known.shape, count))
    for i in range(count):
        with_prediction[..., i] = mean(guides[..., i] * prediction) - means[..., i] * level
        for j in range(i + 1):
            products = mean(guides[..., i] * guides[..., j]) - means[..., i] * means[..., j]
            covariance[..., i, j] = covariance[..., j, i] = products
    covariance += RIDGE * np.eye(count)
    weights = np.zeros_like(with_prediction)
    weights[known] = np.linalg.solve(covariance[known], with_prediction[known][..., None])[..., 0]
    offset = level - (weights * means).sum(axis=-1)
    fits = np.concatenate([weights, offset[..., None]], axis=-1)
    smooth = np.stack([mean(fits[..., c]) for c in range(count + 1)], axis=-1)
    return smooth * known[..., None]


def _window_mean(volume: np.ndarray) -> np.ndarray:
    return ndimage.uniform_filter(volume, WINDOW, mode="constant")
