"""LiFT-C's training loss of a batch of windows."""

from collections.abc import Mapping

import jax

from lift_jax.losses.paired import paired_terms
from lift_jax.models.volume_translator import VolumeTranslator, within_sources
from lift_jax.training.step import LossFunction


def translation_loss(network: VolumeTranslator, loss: Mapping, use_mixer: bool) -> LossFunction:
    """The weighted sum of pixel, similarity and through-plane losses as a `LossFunction`.

    Predictions are background where all sources are, in training as in inference.

    Args:
      network: the network to apply.
      loss: a configuration's section `loss`: weights of the terms, of which those of weight 0 are not computed.
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
            use_mixer=use_mixer,
        )
        prediction = within_sources(prediction, batch["sources"], batch["available"])
        return weighted_sum(prediction, batch["target"], loss)

    return loss_function


def weighted_sum(prediction, target, loss: Mapping, pixel_weights: jax.Array | None = None):
    """The loss of predicted windows, and its terms; see `paired_terms`."""
    terms = paired_terms(prediction, target, loss, pixel_weights=pixel_weights)
    return sum(loss[name] * term for name, term in terms.items()), terms
