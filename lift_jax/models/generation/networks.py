"""From the model section of a configuration to LiFT-U's three networks and its prior."""

import dataclasses
import functools

import flax.linen as nn
import jax
import jax.numpy as jnp
from ml_collections import ConfigDict

from lift_jax.data.geometry import slice_centers
from lift_jax.models.depth_encoding import resolved_frequencies
from lift_jax.models.encoders.alexnet import AlexNet
from lift_jax.models.encoders.features import FeatureSet
from lift_jax.models.encoders.masked_autoencoder import MaskedAutoencoder
from lift_jax.models.encoders.residual_encoder import ResidualEncoder, initial_encoder_parameters
from lift_jax.models.encoders.resnet import ResNet18
from lift_jax.models.generation.depth_mapper import DepthMapper
from lift_jax.models.generation.pca_trajectories import independent_codes, no_trajectories, trajectory_codes
from lift_jax.models.generation.slice_generator import SliceGenerator


@dataclasses.dataclass(frozen=True)
class GenerationNetworks:
    """LiFT-U's networks; their parameters live under `encoder`, `generator` and `mapper`, and `prior` if there is one.

    Attributes:
      encoder: frozen, images `[N, H, W, 1]` to feature maps.
      generator: codes `[N, K]` to axial slices `[N, H, W, 1]`.
      mapper: volume codes `[B, Z]` and depths `[D]` to codes `[B, D, K]`, or to a correction of the prior's.
      volume_latent_dim: numbers in a volume's code, Z.
      prior_slices: depths at which the prior is given, one a slice (see `pca_trajectories`); 0: no prior, codes
        are normal numbers.
      features: what is compared of maps and images.
    """

    encoder: nn.Module
    generator: SliceGenerator
    mapper: DepthMapper
    features: FeatureSet
    volume_latent_dim: int
    prior_slices: int

    def encode(self, params: dict, images: jax.Array) -> dict[str, jax.Array]:
        """Images `[N, h, w, 1]` in [-1, 1] to named feature tensors `[N, L, C]` float32."""
        return self.features(self.encoder.apply({"params": params["encoder"]}, images), images)

    def generate(self, params: dict, codes: jax.Array) -> jax.Array:
        """Codes `[N, K]` to slices `[N, H, W]` around [-1, 1]."""
        return self.generator.apply({"params": params["generator"]}, codes)[..., 0]

    def map_depth(self, params: dict, z: jax.Array, depth: jax.Array) -> jax.Array:
        """Volume codes `[B, Z]` and depths `[D]` to slice codes `[B, D, K]`."""
        codes = self.mapper.apply({"params": params["mapper"]}, z, depth)
        return codes + trajectory_codes(params["prior"], z, depth) if self.prior_slices else codes

    def random_codes(self, params: dict, key: jax.Array, count: int, temperature: float = 1.0) -> jax.Array:
        """Codes of slices that know nothing of each other, `[count, K]`: what the generator is trained on.

        With a prior, each is of a random slice of a volume of its own, whose numbers have standard deviation
        `temperature`. Depths are those of slices: between them, codes are blends of two, which vary less.
        """
        if not self.prior_slices:
            return jax.random.normal(key, (count, self.generator.slice_latent_dim))
        key_volume, key_depth = jax.random.split(key)
        z = temperature * jax.random.normal(key_volume, (count, self.volume_latent_dim))
        depth = jax.random.choice(key_depth, slice_centers(self.prior_slices), (count,))
        return independent_codes(params["prior"], z, depth)


def generation_networks(config: ConfigDict, shape: tuple[int, int, int]) -> GenerationNetworks:
    """The networks as configured, for training volumes of `shape` (D, H, W).

    Equal configurations give equal (hashable) networks.
    """
    model, features = config.model, config.features
    prior_slices = shape[0] if model.prior.init == "pca" else 0
    return GenerationNetworks(
        _encoder(model.encoder),
        SliceGenerator(
            size=tuple(shape[1:]),
            slice_latent_dim=model.generator.slice_latent_dim,
            widths=tuple(model.generator.widths),
            blocks=model.generator.blocks,
            depth_to_space=model.generator.depth_to_space,
            groups=model.generator.groups,
            remat=model.generator.remat,
            dtype=jnp.dtype(model.generator.dtype),
        ),
        DepthMapper(
            slice_latent_dim=model.generator.slice_latent_dim,
            hidden=model.mapper.hidden,
            layers=model.mapper.layers,
            frequencies=resolved_frequencies(shape[0]),
            residual=prior_slices > 0,
            normalize=model.mapper.normalize,
        ),
        FeatureSet(tuple(features.grids), features.local, features.pixels, tuple(features.gradients)),
        model.mapper.volume_latent_dim,
        prior_slices,
    )


def autoencoder(networks: GenerationNetworks) -> MaskedAutoencoder:
    """What the encoder is trained as a part of; its parameters are under `encoder` there as well."""
    return MaskedAutoencoder(networks.encoder)


def fresh_parameters(networks: GenerationNetworks, config: ConfigDict) -> dict:
    """Random parameters of all three networks, and a prior of noughts."""
    key_encoder, key_generator, key_mapper = jax.random.split(jax.random.key(config.seed), 3)
    model = config.model
    prior = no_trajectories(networks.volume_latent_dim, networks.prior_slices, networks.generator.slice_latent_dim)
    return ({"prior": prior} if networks.prior_slices else {}) | {
        "encoder": initial_encoder_parameters(networks.encoder, key_encoder),
        "generator": _initial(networks.generator, key_generator, (1, model.generator.slice_latent_dim)),
        "mapper": _initial(networks.mapper, key_mapper, (1, model.mapper.volume_latent_dim), (1,)),
    }


@functools.partial(jax.jit, static_argnums=(0, 2, 3))
def _initial(module, key, *shapes):
    # Compiled, because running every operation by itself takes many times longer.
    return module.init(key, *(jnp.zeros(shape) for shape in shapes))["params"]


def _encoder(encoder: ConfigDict) -> nn.Module:
    if encoder.kind == "alexnet":
        return AlexNet()
    if encoder.kind == "resnet18":
        return ResNet18()
    return ResidualEncoder(tuple(encoder.widths), encoder.blocks, encoder.groups)
