"""From the model section of a configuration to a network."""

import jax
import jax.numpy as jnp
from ml_collections import ConfigDict

from lift_jax.data.cases import CONTRASTS
from lift_jax.models.slice_translator import SliceTranslator
from lift_jax.models.volume_translator import VolumeTranslator

SOURCES = {
    "missing_mr": {"contrasts": len(CONTRASTS), "combine": True},
    "mr_to_ct": {"contrasts": 1, "combine": False},
}
"""Task to what its translator is told of its sources."""


def configured_translator(config: ConfigDict) -> VolumeTranslator:
    """LiFT-C's network for the task of a configuration."""
    return volume_translator(config.model, **SOURCES[config.task])


def volume_translator(model: ConfigDict, contrasts: int = len(CONTRASTS), combine: bool = True) -> VolumeTranslator:
    """LiFT-C's network as configured; equal configurations give equal (hashable) networks."""
    translator = model.translator.to_dict() | {
        "contrasts": contrasts,
        "combine": combine,
        "widths": tuple(model.translator.widths),
        "dtype": jnp.dtype(model.translator.dtype),
    }
    mixer = model.mixer.to_dict()
    return VolumeTranslator(SliceTranslator(**translator), mixer.pop("kind"), **mixer)


def initial_parameters(network: VolumeTranslator, key: jax.Array) -> dict:
    """Fresh parameters, `{"translator": …, "mixer": …}` float32 (no `mixer` where the kind is none).

    Args:
      network: the network.
      key: random key.
    """
    side = network.translator.multiple
    contrasts = network.translator.contrasts
    init = jax.jit(network.init)  # compiled, because running every operation by itself takes many times longer
    return init(
        key,
        jnp.zeros((1, 2, side, side, contrasts)),
        jnp.ones((1, contrasts)),
        jnp.ones((1, contrasts)),
        jnp.zeros((1, 2)),
    )["params"]
