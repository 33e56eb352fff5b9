"""From the model section of a configuration to a network."""

import jax
import jax.numpy as jnp
from ml_collections import ConfigDict

from lift_jax.data.cases import CONTRASTS
from lift_jax.data.phantom_acquisition import SHARED_PARAMETERS
from lift_jax.data.phantom_tissues import TISSUES
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


def side_features(config: ConfigDict) -> int:
    """Size of the oracle's side information of a slice, 0 where the network is no oracle."""
    if config.task != "missing_mr":
        return 0
    told = {"": 0, "acquisition": SHARED_PARAMETERS, "levels": len(TISSUES) * (1 + len(CONTRASTS))}[config.model.oracle]
    return told + len(CONTRASTS) if told else 0


def initial_parameters(network: VolumeTranslator, key: jax.Array, side_features: int = 0) -> dict:
    """Fresh parameters, `{"translator": …, "mixer": …}` float32 (no `mixer` where the kind is none).

    Args:
      network: the network.
      key: random key.
      side_features: size of the oracle's side information, 0 for none.
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
        jnp.zeros((1, 2, side_features)) if side_features else None,
    )["params"]
