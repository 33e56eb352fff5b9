"""LiFT-C's training loss for MR to CT."""

from collections.abc import Mapping

import jax
import jax.numpy as jnp

from lift_jax.data.hounsfield import hounsfield_to_network
from lift_jax.evaluation.through_plane import BONE_THRESHOLD
from lift_jax.losses.paired import pixel_loss, similarity_loss, through_plane_loss
from lift_jax.models.slice_translator import BACKGROUND
from lift_jax.models.volume_translator import VolumeTranslator
from lift_jax.training.step import LossFunction


def ct_loss(
    network: VolumeTranslator, weights: Mapping[str, float], bone_weight: float, use_mixer: bool
) -> LossFunction:
    """The weighted sum of pixel, similarity and through-plane losses as a `LossFunction`.

    Predictions are air outside the body, in training as in inference.

    Args:
      network: the network to apply.
      weights: weight of each term, `pixel`, `similarity` and `through_plane`; a term of weight 0 is not computed.
      bone_weight: what voxels of bone (true CT above `BONE_THRESHOLD`) weigh more than others in the pixel term.
      use_mixer: False trains every slice by itself.

    Returns:
      A function of `(params, batch, key)`, where the batch is what `TakePair` makes, stacked: `[B, T, …]`.
    """
    threshold = float(hounsfield_to_network(jnp.float32(BONE_THRESHOLD)))

    def loss_function(params: dict, batch: dict[str, jax.Array], key: jax.Array):
        del key  # nothing is drawn on the device
        inputs = (batch[name] for name in ("sources", "available", "wanted", "depth"))
        prediction = network.apply({"params": params}, *inputs, use_mixer=use_mixer)
        target = batch["target"]
        prediction = jnp.where(batch["body"] > 0, prediction, BACKGROUND)
        terms = {}
        if weights["pixel"] > 0:
            voxel_weights = 1 + bone_weight * (target > threshold) if bone_weight > 0 else None
            terms["pixel"] = pixel_loss(prediction, target, voxel_weights)
        if weights["similarity"] > 0:
            terms["similarity"] = similarity_loss(prediction, target)
        if weights["through_plane"] > 0:
            terms["through_plane"] = through_plane_loss(prediction, target)
        terms = {name: term.mean() for name, term in terms.items()}
        return sum(weights[name] * term for name, term in terms.items()), terms

    return loss_function
