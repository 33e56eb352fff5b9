"""What the stages of LiFT-U hold, and what they hand on."""

import jax
import numpy as np
from ml_collections import ConfigDict

from lift_jax.models.encoders.residual_encoder import initial_encoder_parameters
from lift_jax.models.generation.networks import GenerationNetworks, autoencoder
from lift_jax.models.generation.pca_trajectories import pca_trajectories
from lift_jax.models.generation.slice_components import principal_components, with_components

NEEDED = {
    "generator": ("encoder", "prior", "generator"),
    "mapper": ("encoder", "prior", "generator", "mapper"),
}
"""Stage to the networks that it holds, and the prior if there is one."""


def stage_parameters(name: str, params: dict, networks: GenerationNetworks, config: ConfigDict) -> dict:
    """What a stage's state and checkpoints hold: what it trains, and what it trains that through."""
    if name == "encoder":
        return {"autoencoder": fresh_autoencoder(networks, config)}
    return {group: params[group] for group in NEEDED[name] if group in params}


def with_trained(params: dict, trained: dict) -> dict:
    """Parameters of networks and prior, with those that a stage has trained, as a checkpoint of it holds them."""
    if "autoencoder" in trained:
        return params | {"encoder": trained["autoencoder"]["encoder"]}
    return params | {group: trained[group] for group in params if group in trained}


def with_principal(params: dict, networks: GenerationNetworks, volumes: np.ndarray) -> dict:
    """Parameters with generator and prior that are principal components of real volumes `[V, D, H, W]` in [0, 1]."""
    components = principal_components(volumes, networks.generator.slice_latent_dim)
    prior = pca_trajectories(volumes, components, networks.volume_latent_dim)
    return params | {"prior": prior, "generator": with_components(params["generator"], components)}


def fresh_autoencoder(networks: GenerationNetworks, config: ConfigDict) -> dict:
    """Random parameters of the encoder with its decoder."""
    return initial_encoder_parameters(autoencoder(networks), jax.random.fold_in(jax.random.key(config.seed), 3))
