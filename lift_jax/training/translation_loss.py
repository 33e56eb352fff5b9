"""LiFT-C's training loss of a batch of windows."""

from collections.abc import Mapping

import jax

from lift_jax.losses.paired import pixel_loss, similarity_loss, through_plane_loss
from lift_jax.models.volume_translator import VolumeTranslator, within_sources
from lift_jax.training.step import LossFunction


def translation_loss(
    network: VolumeTranslator, weights: Mapping[str, float], brain_weight: float, use_mixer: bool
) -> LossFunction:
    """The weighted sum of pixel, similarity and through-plane losses as a `LossFunction`.

    Predictions are background where all sources are, in training as in inference.

    Args:
      network: the network to apply.
      weights: weight of each term, `pixel`, `similarity` and `through_plane`; a term of weight 0 is not computed.
      brain_weight: what voxels of the brain weigh more than others in the pixel and through-plane terms.
      use_mixer: False trains every slice by itself.

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
        voxel_weights = 1 + brain_weight * batch["brain"] if brain_weight > 0 else None
        terms = {}
        if weights["pixel"] > 0:
            terms["pixel"] = pixel_loss(prediction, batch["target"], voxel_weights)
        if weights["similarity"] > 0:
            terms["similarity"] = similarity_loss(prediction, batch["target"])
        if weights["through_plane"] > 0:
            terms["through_plane"] = through_plane_loss(prediction, batch["target"], voxel_weights)
        terms = {name: term.mean() for name, term in terms.items()}
        return sum(weights[name] * term for name, term in terms.items()), terms

    return loss_function
