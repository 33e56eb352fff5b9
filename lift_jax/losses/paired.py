"""Losses between a predicted slab of slices and the true one.

All take `prediction` and `target`, `[B, D, H, W]` float32 in network intensities [-1, 1].
"""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np

MS_SSIM_WEIGHTS = (0.0448, 0.2856, 0.3001, 0.2363, 0.1333)
"""Exponents of the five scales, finest first (Wang et al., Asilomar 2003)."""

GAUSSIAN_SIDE, GAUSSIAN_SIGMA = 11, 1.5
"""Side of the Gaussian window and its standard deviation, pixels (Wang et al., IEEE TIP 2004)."""

SSIM_K = (0.01, 0.03)
"""Stabilisers K1, K2, as fractions of the data range (ibid.)."""

FLOOR = 1e-2
"""Least similarity of a scale; below it a scale has no gradient. The slope `w x^(w-1)` of the finest of five scales is
297 at 1e-4, where one slice would outweigh a batch, and 3.6 here."""


@dataclasses.dataclass(frozen=True)
class LossWeights:
    """Weights of the terms of LiFT-C's loss; 0 leaves a term out.

    Attributes:
      pixel: L1.
      structure: L1 once scale and offset are fitted to the target.
      similarity: 1 - MS-SSIM of each slice.
      through_plane: L1 of first differences along z.
      bone: extra weight of voxels of bone in the pixel term, where the target is in HU.
    """

    pixel: float = 1.0
    structure: float = 0.0
    similarity: float = 0.5
    through_plane: float = 0.5
    bone: float = 0.0


def l1_loss(
    prediction: jax.Array,
    target: jax.Array,
    slice_weights: jax.Array | None = None,
    voxel_weights: jax.Array | None = None,
) -> jax.Array:
    """Mean absolute difference, `[B]`.

    Args:
      prediction, target: `[B, D, H, W]`.
      slice_weights: `[B, D]`, multiply the slices' means; not normalized by their sum.
      voxel_weights: `[B, D, H, W]`, multiply each voxel's difference before the mean.
    """
    error = jnp.abs(prediction - target)
    error = error if voxel_weights is None else error * voxel_weights
    return _mean_over_slices(error.mean(axis=(2, 3)), slice_weights)


def structure_loss(prediction: jax.Array, target: jax.Array) -> jax.Array:
    """Mean absolute difference once the prediction's scale and offset are fitted to the target, `[B]`.

    Scale and offset of each slab are those of least squares over voxels with a target above -1, its background.
    """
    inside = (target > -1).astype(prediction.dtype)
    size = jnp.maximum(inside.sum(axis=(1, 2, 3), keepdims=True), 1)

    def mean(values):
        return (values * inside).sum(axis=(1, 2, 3), keepdims=True) / size

    predicted, true = prediction - mean(prediction), target - mean(target)
    scale = mean(predicted * true) / (mean(predicted**2) + 1e-4)
    return (jnp.abs(scale * predicted - true) * inside).mean(axis=(1, 2, 3))


def first_difference_loss(
    prediction: jax.Array, target: jax.Array, delta_z_weights: jax.Array | None = None
) -> jax.Array:
    """Mean absolute difference of the z-differences of adjacent slices (LiFT, arXiv 2605.19060), `[B]`.

    A slab of one slice has no such difference, and no loss.

    Args:
      prediction, target: `[B, D, H, W]`.
      delta_z_weights: `[B, D]`, of the difference of each slice to the one before; the first has no effect.
    """
    error = prediction - target
    if error.shape[1] < 2:
        return jnp.zeros_like(error[:, 0, 0, 0])
    differences = jnp.abs(error[:, 1:] - error[:, :-1]).mean(axis=(2, 3))
    return _mean_over_slices(differences, None if delta_z_weights is None else delta_z_weights[:, 1:])


def ms_ssim_loss(prediction: jax.Array, target: jax.Array) -> jax.Array:
    """One minus multi-scale structural similarity of each slice, `[B, D]`.

    Slabs of slices `[B, D, H, W]` in [-1, 1]. Images too small for five scales use the `fitting_scales`, their
    weights scaled to sum to one.
    """
    b, d, h, w = prediction.shape
    scales = fitting_scales(h, w)
    weights = np.array(MS_SSIM_WEIGHTS[:scales]) / sum(MS_SSIM_WEIGHTS[:scales])
    x, y = _slices_of_unit_range(prediction, target)
    similarity = jnp.ones(())
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
    if side < GAUSSIAN_SIDE:
        raise ValueError(f"structural similarity needs slices of at least {GAUSSIAN_SIDE} pixels a side, not {side}")
    return min(len(MS_SSIM_WEIGHTS), 1 + (side // GAUSSIAN_SIDE).bit_length() - 1)


def paired_terms(
    prediction: jax.Array,
    target: jax.Array,
    weights: LossWeights,
    *,
    slice_weights: jax.Array | None = None,
    delta_z_weights: jax.Array | None = None,
    voxel_weights: jax.Array | None = None,
) -> dict[str, jax.Array]:
    """The mean over the batch of each term that has a weight above 0; the others are not computed.

    Args:
      prediction, target: `[B, D, H, W]`.
      weights: of the terms.
      slice_weights, delta_z_weights: `[B, D]`, see `l1_loss` and `first_difference_loss`.
      voxel_weights: `[B, D, H, W]`, of voxels in the pixel term; None is one each.
    """
    terms = {}
    if weights.pixel > 0:
        terms["pixel"] = l1_loss(prediction, target, slice_weights, voxel_weights)
    if weights.structure > 0:
        terms["structure"] = structure_loss(prediction, target)
    if weights.similarity > 0:
        terms["similarity"] = _mean_over_slices(ms_ssim_loss(prediction, target), slice_weights)
    if weights.through_plane > 0:
        terms["through_plane"] = first_difference_loss(prediction, target, delta_z_weights)
    return {name: term.mean() for name, term in terms.items()}


def _mean_over_slices(values: jax.Array, weights: jax.Array | None) -> jax.Array:
    """The mean of `[B, D]` over D, `[B]`."""
    return (values if weights is None else values * weights).mean(axis=1)


def _slices_of_unit_range(*slabs):
    """`[B, D, H, W]` in [-1, 1] to `[B D, H, W]` in [0, 1]."""
    return ((1 + x.reshape(-1, *x.shape[2:])) / 2 for x in slabs)


def _gaussian_band(side: int) -> np.ndarray:
    """A matrix that filters a signal of `side` samples by the window, where it fits: `[out, side]`.

    A matrix product, because XLA's CPU convolutions are slow on one channel.
    """
    offsets = np.arange(GAUSSIAN_SIDE) - (GAUSSIAN_SIDE - 1) / 2
    window = np.exp(-(offsets**2) / (2 * GAUSSIAN_SIGMA**2))
    band = np.zeros((side - GAUSSIAN_SIDE + 1, side), np.float32)
    for row in range(len(band)):
        band[row, row : row + GAUSSIAN_SIDE] = window / window.sum()
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
