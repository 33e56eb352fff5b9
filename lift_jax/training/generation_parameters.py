"""What the stages of LiFT-U hold, and what they hand on."""

import jax
import numpy as np
from ml_collections import ConfigDict

from lift_jax.models.encoders import initial_encoder_parameters
from lift_jax.models.generation import GenerationNetworks, autoencoder
from lift_jax.models.slice_autoencoder import initial_coder_parameters, mirrored_coder, slice_codes, take_in_moments

NEEDED = {
    "decoder": ("encoder", "generator", "coder"),
    "generator": ("encoder", "generator"),
    "mapper": ("encoder", "generator", "mapper"),
}
"""Stage to the networks that it holds."""


def stage_parameters(name: str, params: dict, networks: GenerationNetworks, config: ConfigDict) -> dict:
    """What a stage's state and checkpoints hold: what it trains, and what it trains that through."""
    if name == "encoder":
        return {"autoencoder": fresh_autoencoder(networks, config)}
    if name == "decoder":
        params = params | {"coder": fresh_coder(networks, config)}
    return {group: params[group] for group in NEEDED[name]}


def with_trained(
    params: dict, trained: dict, networks: GenerationNetworks, volumes: np.ndarray, config: ConfigDict
) -> dict:
    """Parameters of the three networks, with what later stages need of those that a stage has trained.

    Args:
      params: before.
      trained: as a checkpoint of the stage holds them.
      networks: theirs.
      volumes: `[V, D, H, W]` in [0, 1], of whose slices the codes are measured if the generator was trained to decode.
      config: of the run.
    """
    if "autoencoder" in trained:
        return params | {"encoder": trained["autoencoder"]["encoder"]}
    if "coder" in trained:
        coder, noise = mirrored_coder(networks.generator), config.stage.decoder.noise
        codes = slice_codes(coder, trained["coder"], volumes, chunk=config.inference.chunk)
        trained = trained | {"generator": take_in_moments(trained["generator"], codes, noise)}
    return params | {group: trained[group] for group in params if group in trained}


def fresh_autoencoder(networks: GenerationNetworks, config: ConfigDict) -> dict:
    """Random parameters of the encoder with its decoder."""
    return initial_encoder_parameters(autoencoder(networks), jax.random.fold_in(jax.random.key(config.seed), 3))


def fresh_coder(networks: GenerationNetworks, config: ConfigDict) -> dict:
    """Random parameters of what codes slices for the generator to decode."""
    key = jax.random.fold_in(jax.random.key(config.seed), 4)
    return initial_coder_parameters(mirrored_coder(networks.generator), networks.generator.size, key)
