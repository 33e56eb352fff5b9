"""LiFT-C's training loss for MR to CT."""

from collections.abc import Mapping

import jax
import jax.numpy as jnp

from lift_jax.data.hounsfield import hounsfield_to_network
from lift_jax.evaluation.through_plane import BONE_THRESHOLD
from lift_jax.models.slice_translator import BACKGROUND
from lift_jax.models.volume_translator import VolumeTranslator
from lift_jax.training.step import LossFunction
from lift_jax.training.translation_loss import weighted_sum


def ct_loss(network: VolumeTranslator, loss: Mapping, bone_weight: float, use_mixer: bool) -> LossFunction:
    """The weighted sum of pixel, similarity and through-plane losses as a `LossFunction`.

    Predictions are air outside the body, in training as in inference.

    Args:
      network: the network to apply.
      loss: a configuration's section `loss`: weights of the terms, of which those of weight 0 are not computed.
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
        voxels = 1 + bone_weight * (target > threshold) if bone_weight > 0 else None
        return weighted_sum(prediction, target, loss, voxels)

    return loss_function
