"""Multi-scale structural similarity of slices as a loss."""

import jax
import jax.numpy as jnp
import numpy as np

MS_SSIM_WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
"""Exponents of the five scales, finest first (Wang et al., Asilomar 2003)."""

SSIM_WINDOW, SSIM_SIGMA = 11, 1.5
"""Side of the Gaussian window and its standard deviation, pixels (Wang et al., IEEE TIP 2004)."""

SSIM_K = (0.01, 0.03)
"""Stabilisers K1, K2, as fractions of the data range (ibid.)."""

FLOOR = 1e-2
"""Least similarity of a scale. Roots of numbers near zero are steep: the slope `w x^(w-1)` of the finest of five scales
is 297 at 1e-4, so that one hopeless slice outweighs a batch, and 3.6 here. A scale below it has no gradient."""


def ms_ssim_loss(prediction: jax.Array, target: jax.Array) -> jax.Array:
    """One minus multi-scale structural similarity of each slice, `[B, D]`.

    Slabs of slices `[B, D, H, W]` in [-1, 1]. Images too small for five scales use the `fitting_scales`, their
    weights scaled to sum to one.
    """
    b, d, h, w = prediction.shape
    scales = fitting_scales(h, w)
    weights = np.array(MS_SSIM_WEIGHTS[:scales]) / sum(MS_SSIM_WEIGHTS[:scales])
    x, y = _slices_of_unit_range(prediction, target)
    similarity = 1.0
    for scale, weight in enumerate(weights):
        luminance, contrast = _ssim_terms(x, y)
        term = contrast if scale < scales - 1 else luminance * contrast
        similarity = similarity * jnp.maximum(term.mean(axis=(1, 2)), FLOOR) ** weight
        x, y = _halve(x), _halve(y)
    return 1 - similarity.reshape(b, d)


def fitting_scales(height: int, width: int) -> int:
    """Number of MS-SSIM scales, at most five, at which the window still fits in an image.

    Raises:
      ValueError: if not even the first does.
    """
    side = min(height, width)
    if side < SSIM_WINDOW:
        raise ValueError(f"structural similarity needs slices of at least {SSIM_WINDOW} pixels a side, not {side}")
    return min(len(MS_SSIM_WEIGHTS), 1 + (side // SSIM_WINDOW).bit_length() - 1)


def _slices_of_unit_range(*slabs):
    """`[B, D, H, W]` in [-1, 1] to `[B D, H, W]` in [0, 1]."""
    return ((1 + x.reshape(-1, *x.shape[2:])) / 2 for x in slabs)


def _gaussian_band(side: int) -> np.ndarray:
    """A matrix that filters a signal of `side` samples by the window, at the places it covers whole: `[out, side]`.

    As a matrix product, because XLA's CPU convolutions are slow on one channel and accelerators like products best.
    """
    offsets = np.arange(SSIM_WINDOW) - (SSIM_WINDOW - 1) / 2
    window = np.exp(-(offsets**2) / (2 * SSIM_SIGMA**2))
    band = np.zeros((side - SSIM_WINDOW + 1, side), np.float32)
    for row in range(len(band)):
        band[row, row : row + SSIM_WINDOW] = window / window.sum()
    return band


def _ssim_terms(x, y):
    """Maps of luminance and of contrast-structure of images in [0, 1]: `[N, H, W] -> [N, H - 10, W - 10]` twice."""
    rows, columns = _gaussian_band(x.shape[1]), _gaussian_band(x.shape[2])
    maps = jnp.stack([x, y, x * x, y * y, x * y])
    mean_x, mean_y, xx, yy, xy = jnp.einsum("ih,snhw,jw->snij", rows, maps, columns, precision="highest")
    c1, c2 = (k**2 for k in SSIM_K)
    luminance = (2 * mean_x * mean_y + c1) / (mean_x**2 + mean_y**2 + c1)
    variance_x, variance_y, covariance = xx - mean_x**2, yy - mean_y**2, xy - mean_x * mean_y
    return luminance, (2 * covariance + c2) / (variance_x + variance_y + c2)


def _halve(x):
    """Means of 2 x 2 pixels; an odd last row or column is left out, as average pooling does."""
    n, h, w = x.shape
    x = x[:, : h // 2 * 2, : w // 2 * 2]
    return x.reshape(n, h // 2, 2, w // 2, 2).mean(axis=(2, 4))
