"""From the model section of a configuration to a network."""

import jax
import jax.numpy as jnp
from ml_collections import ConfigDict

from lift_jax.data.channels import Channels
from lift_jax.models.translation.slice_translator import SliceTranslator
from lift_jax.models.translation.volume_translator import VolumeTranslator


def volume_translator(model: ConfigDict, channels: Channels) -> VolumeTranslator:
    """LiFT-C's network as configured, for some channels; equal configurations give equal (hashable) networks."""
    translator = model.translator.to_dict() | {
        "source_channels": len(channels.sources),
        "target_channels": len(channels.targets),
        "combine": channels.same_unit,
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
    sources, targets = network.translator.source_channels, network.translator.target_channels
    init = jax.jit(network.init)  # compiled, because running every operation by itself takes many times longer
    return init(
        key,
        jnp.zeros((1, 2, side, side, sources)),
        jnp.ones((1, sources)),
        jnp.ones((1, targets)),
        jnp.zeros((1, 2)),
    )["params"]
