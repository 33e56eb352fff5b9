"""LiFT-C's training loss of a batch of slabs."""

import jax
import jax.numpy as jnp
import numpy as np

from lift_jax.data.channels import Channels
from lift_jax.data.intensity import to_network
from lift_jax.evaluation.metrics import BONE_THRESHOLD
from lift_jax.losses.paired import LossWeights, paired_terms
from lift_jax.models.translation.slice_translator import BACKGROUND
from lift_jax.models.translation.volume_translator import VolumeTranslator
from lift_jax.training.step import LossFunction

NO_BONE = 2.0
"""A threshold above all network intensities, for targets that show no bone."""


def translation_loss(
    network: VolumeTranslator, channels: Channels, weights: LossWeights, *, use_mixer: bool
) -> LossFunction:
    """The weighted sum of pixel, similarity and through-plane losses as a `LossFunction`.

    Predictions are background outside the foreground, in training as in inference.

    Args:
      network: the network to apply.
      channels: its channels.
      weights: of the terms.
      use_mixer: False trains every slice by itself.

    Returns:
      A function of `(params, batch, key)`, where the batch is what `RandomSlab` makes, stacked: `[B, T, …]`.
    """
    thresholds = bone_thresholds(channels)

    def loss_function(params: dict, batch: dict[str, jax.Array], key: jax.Array):
        del key  # nothing is drawn on the device
        inputs = (batch[name] for name in ("sources", "available", "target_onehot", "depth"))
        prediction = network.apply({"params": params}, *inputs, use_mixer=use_mixer)
        prediction = jnp.where(batch["foreground"] > 0, prediction, BACKGROUND)
        target, voxel_weights = batch["target_image"], None
        if weights.bone > 0:
            threshold = batch["target_onehot"] @ thresholds
            voxel_weights = 1 + weights.bone * (target > threshold[:, None, None, None])
        terms = paired_terms(
            prediction,
            target,
            weights,
            slice_weights=batch["slice_weights"],
            delta_z_weights=batch["delta_z_weights"],
            voxel_weights=voxel_weights,
        )
        return sum(getattr(weights, name) * term for name, term in terms.items()), terms

    return loss_function


def bone_thresholds(channels: Channels) -> np.ndarray:
    """Network intensity above which a voxel of each target is bone, `[T]` float32."""
    protocols = [channels.protocols[target] for target in channels.targets]
    thresholds = [to_network(p, np.float32(BONE_THRESHOLD)) if p.unit == "HU" else NO_BONE for p in protocols]
    return np.array(thresholds, np.float32)
