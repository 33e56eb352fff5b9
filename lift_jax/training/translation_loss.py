"""LiFT-C's training loss of a batch of windows."""

from collections.abc import Mapping

import jax
import jax.numpy as jnp

from lift_jax.losses.paired import paired_terms
from lift_jax.losses.residual_drifting import residual_drifting_loss
from lift_jax.models.volume_translator import VolumeTranslator, within_sources
from lift_jax.training.step import LossFunction


def translation_loss(
    network: VolumeTranslator,
    loss: Mapping,
    brain_weight: float,
    use_mixer: bool,
    axis_name: str | None = None,
) -> LossFunction:
    """The weighted sum of pixel, similarity, through-plane and drifting losses as a `LossFunction`.

    Predictions are background where all sources are, in training as in inference.

    Args:
      network: the network to apply.
      loss: a configuration's section `loss`: weights of the terms, of which those of weight 0 are not computed, and
        their kinds.
      brain_weight: what voxels of the brain weigh more than others in the pixel and through-plane terms.
      use_mixer: False trains every slice by itself.
      axis_name: the mapped axis whose devices share the batch; the drifting term sees the residuals of all.

    Returns:
      A function of `(params, batch, key)`, where the batch is what `TakeWindow` makes, stacked: `[B, T, …]`.
    """

    def loss_function(params: dict, batch: dict[str, jax.Array], key: jax.Array):
        del key  # nothing is drawn on the device
        prediction = network.apply(
            {"params": params},
            batch["sources"],
            batch["available"],
            batch["wanted"],
            batch["depth"],
            batch.get("side"),
            use_mixer=use_mixer,
        )
        prediction = within_sources(prediction, batch["sources"], batch["available"])
        voxels = 1 + brain_weight * batch["brain"] if brain_weight > 0 else None
        weights = {"pixel_weights": voxels, "through_plane_weights": voxels}
        reference = mean_source(batch["sources"], batch["available"])
        return weighted_sum(prediction, batch["target"], reference, loss, axis_name, **weights)

    return loss_function


def mean_source(sources: jax.Array, available: jax.Array) -> jax.Array:
    """The mean of the sources that are there, `[B, D, H, W, C]` and `[B, C]` to `[B, D, H, W]`."""
    share = available / jnp.maximum(available.sum(axis=-1, keepdims=True), 1)
    return jnp.einsum("bdhwc,bc->bdhw", sources, share.astype(sources.dtype))


def weighted_sum(prediction, target, reference, loss: Mapping, axis_name: str | None, **voxel_weights):
    """The loss of predicted windows, and its terms and statistics; see `paired_terms` for `voxel_weights`."""
    terms, stats = paired_terms(prediction, target, loss, **voxel_weights), {}
    if loss["drifting"] > 0:
        terms["drifting"], stats = residual_drifting_loss(
            prediction,
            target,
            reference,
            patch=loss["drifting_patch"],
            temperatures=tuple(loss["drifting_temperatures"]),
            field=loss["drifting_field"],
            axis_name=axis_name,
        )
    return sum(loss[name] * term for name, term in terms.items()), terms | stats
