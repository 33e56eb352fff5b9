"""Losses between a predicted window of slices and the true one, and their registries.

All take `prediction` and `target`, `[B, D, H, W]` float32 in network intensities [-1, 1], and return one number a
window, `[B]`: the caller reduces over the batch, so that the global batch is a plain mean over devices.
`weights`, `[B, D, H, W]`, multiply each voxel's term before the mean and are not normalised by their sum, which would
couple the windows of a batch.
"""

from collections.abc import Callable, Mapping

import jax
import jax.numpy as jnp

from lift_jax.losses.differences import (
    first_difference_loss,
    gradient_loss,
    multi_gap_loss,
    second_difference_loss,
)
from lift_jax.losses.similarity import ms_ssim_loss, ssim_loss

CHARBONNIER_WIDTH = 1e-3
"""Differences below which `charbonnier_loss` is round (Lai et al., arXiv 1710.01992)."""


def l1_loss(prediction: jax.Array, target: jax.Array, weights: jax.Array | None = None) -> jax.Array:
    """Mean absolute difference, `[B]`: drawn to the median of what is possible."""
    return _weighted_mean(jnp.abs(prediction - target), weights)


def l2_loss(prediction: jax.Array, target: jax.Array, weights: jax.Array | None = None) -> jax.Array:
    """Mean squared difference, `[B]`: drawn to the mean of what is possible; what PSNR is of."""
    return _weighted_mean((prediction - target) ** 2, weights)


def charbonnier_loss(prediction: jax.Array, target: jax.Array, weights: jax.Array | None = None) -> jax.Array:
    """Mean of `√(e² + ε²) - ε` (Lai et al., arXiv 1710.01992; ε = `CHARBONNIER_WIDTH`), `[B]`: L1, smooth at nought."""
    width = CHARBONNIER_WIDTH
    return _weighted_mean(jnp.sqrt((prediction - target) ** 2 + width**2) - width, weights)


def _weighted_mean(values, weights):
    return (values if weights is None else values * weights).mean(axis=(1, 2, 3))


PairedLoss = Callable[..., jax.Array]
"""`(prediction, target)`, and for pixel and through-plane losses `weights`, to `[B]`."""

PIXEL_LOSSES: dict[str, PairedLoss] = {"l1": l1_loss, "l2": l2_loss, "charbonnier": charbonnier_loss}
"""Pixel terms by name."""

SIMILARITY_LOSSES: dict[str, PairedLoss] = {"ms_ssim": ms_ssim_loss, "ssim": ssim_loss}
"""Similarity terms by name."""

THROUGH_PLANE_LOSSES: dict[str, PairedLoss] = {
    "first": first_difference_loss,
    "second": second_difference_loss,
    "multi_gap": multi_gap_loss,
    "gradient": gradient_loss,
}
"""Through-plane terms by name."""


def paired_terms(
    prediction: jax.Array,
    target: jax.Array,
    loss: Mapping,
    *,
    pixel_weights: jax.Array | None = None,
    through_plane_weights: jax.Array | None = None,
) -> dict[str, jax.Array]:
    """The mean over the batch of each term that has a weight above 0; the others are not computed.

    Args:
      prediction, target: `[B, D, H, W]`.
      loss: weights of the terms `pixel`, `similarity` and `through_plane`; and `pixel_kind`, `similarity_kind` and
        `through_plane_kind`, names in the registries.
      pixel_weights, through_plane_weights: `[B, D, H, W]`, of voxels in these terms; None is one each.
    """
    terms = {}
    if loss["pixel"] > 0:
        terms["pixel"] = PIXEL_LOSSES[loss["pixel_kind"]](prediction, target, pixel_weights)
    if loss["similarity"] > 0:
        terms["similarity"] = SIMILARITY_LOSSES[loss["similarity_kind"]](prediction, target)
    if loss["through_plane"] > 0:
        differences = THROUGH_PLANE_LOSSES[loss["through_plane_kind"]]
        terms["through_plane"] = differences(prediction, target, through_plane_weights)
    return {name: term.mean() for name, term in terms.items()}
