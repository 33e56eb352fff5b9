"""LiFT-U's networks: encoder, slice generator, depth mapper and prior, and how a configuration makes them."""

import dataclasses
import functools
from typing import Any

import flax.linen as nn
import jax
import jax.numpy as jnp
from ml_collections import ConfigDict

from lift_jax.data.geometry import slice_centers
from lift_jax.models.encoders.alexnet import AlexNet
from lift_jax.models.encoders.features import FeatureSet
from lift_jax.models.encoders.masked_autoencoder import (
    MaskedAutoencoder,
    ResidualEncoder,
    initial_encoder_parameters,
)
from lift_jax.models.encoders.resnet import ResNet18
from lift_jax.models.layers import fourier_features, norm_groups, resolved_frequencies
from lift_jax.models.pca import independent_latents, prior_latents, zero_prior
from lift_jax.models.slice_generator import SliceGenerator


class DepthMapper(nn.Module):
    """Latents of volumes and depths of slices to latents of slices, `([B, Z], [D]) -> [B, D, K]` float32.

    A residual perceptron that takes one depth at a time, so that a volume can be sampled at any depths (LiFT, arXiv
    2605.19060: 1.455 million parameters).

    Attributes:
      slice_latent_dim: size of a slice's latent, K.
      hidden: width.
      layers: residual layers.
      frequencies: Fourier frequencies of depth, see `resolved_frequencies`.
      residual: the output is a residual added to the prior's latents: zero-initialized, not normalized. Else latents
        have a root mean square of 1, that of the generator's normal inputs.
    """

    slice_latent_dim: int = 64
    hidden: int = 512
    layers: int = 5
    frequencies: int = 6
    residual: bool = False

    @nn.compact
    def __call__(self, z, depth):
        """`z [B, Z]` standard normal; `depth [D]` in [-1, 1]."""
        x = nn.Dense(self.hidden)(z)[:, None] + nn.Dense(self.hidden)(fourier_features(depth, self.frequencies))[None]
        for _ in range(self.layers):
            x = x + nn.Dense(self.hidden)(nn.silu(nn.LayerNorm()(x)))
        init = nn.initializers.zeros if self.residual else nn.linear.default_kernel_init
        latents = nn.Dense(self.slice_latent_dim, kernel_init=init)(nn.silu(nn.LayerNorm()(x)))
        if self.residual:
            return latents
        return latents * jax.lax.rsqrt(jnp.mean(latents**2, axis=-1, keepdims=True) + 1e-8)


@dataclasses.dataclass(frozen=True)
class GenerationNetworks:
    """LiFT-U's networks; their parameters live under `encoder`, `generator` and `mapper`, and `prior` if there is one.

    Attributes:
      encoder: frozen, images `[N, H, W, 1]` to feature maps.
      generator: latents `[N, K]` to axial slices `[N, H, W, 1]`.
      mapper: latents of volumes `[B, Z]` and depths `[D]` to latents of slices `[B, D, K]`.
      features: what the drifting loss compares.
      volume_latent_dim: size of the latent of a volume, Z.
      prior_slices: slices of the prior, F; 0: no prior, latents of slices are standard normal.
    """

    encoder: nn.Module
    generator: SliceGenerator
    mapper: DepthMapper
    features: FeatureSet
    volume_latent_dim: int
    prior_slices: int

    def encode(self, params: dict, images: jax.Array) -> dict[str, jax.Array]:
        """Images `[N, h, w, 1]` in [-1, 1] to named feature tensors `[N, L, C]` float32."""
        maps: Any = self.encoder.apply({"params": params["encoder"]}, images)
        return self.features(maps, images)

    def generate(self, params: dict, latents: jax.Array) -> jax.Array:
        """Latents `[N, K]` to slices `[N, H, W]` around [-1, 1]."""
        images: Any = self.generator.apply({"params": params["generator"]}, latents)
        return images[..., 0]

    def map_depth(self, params: dict, z: jax.Array, depth: jax.Array) -> jax.Array:
        """Latents of volumes `[B, Z]` and depths `[D]` to latents of slices `[B, D, K]`."""
        latents: Any = self.mapper.apply({"params": params["mapper"]}, z, depth)
        return latents + prior_latents(params["prior"], z, depth) if self.prior_slices else latents

    def random_latents(self, params: dict, key: jax.Array, count: int, temperature: float = 1.0) -> jax.Array:
        """Latents of independent slices, `[count, K]`, on which the generator is trained.

        With a prior, each is of a random slice of a volume of its own, whose latent has standard deviation
        `temperature`. Depths are centers of slices: between them, latents are means of two, which vary less.
        """
        if not self.prior_slices:
            return jax.random.normal(key, (count, self.generator.slice_latent_dim))
        key_volume, key_depth = jax.random.split(key)
        z = temperature * jax.random.normal(key_volume, (count, self.volume_latent_dim))
        depth = jax.random.choice(key_depth, slice_centers(self.prior_slices), (count,))
        return independent_latents(params["prior"], z, depth)


def generation_networks(config: ConfigDict, shape: tuple[int, int, int]) -> GenerationNetworks:
    """The networks of a configuration for training volumes of `shape` (D, H, W).

    Equal configurations give equal (hashable) networks.
    """
    model, features = config.model, config.features
    prior_slices = shape[0] if model.prior.init == "pca" else 0
    return GenerationNetworks(
        _encoder(model.encoder),
        SliceGenerator(
            size=(shape[1], shape[2]),
            slice_latent_dim=model.generator.slice_latent_dim,
            widths=tuple(model.generator.widths),
            blocks=model.generator.blocks,
            depth_to_space=model.generator.depth_to_space,
            groups=norm_groups(model.generator.widths),
            dtype=jnp.dtype(model.generator.dtype),
        ),
        DepthMapper(
            slice_latent_dim=model.generator.slice_latent_dim,
            hidden=model.mapper.hidden,
            layers=model.mapper.layers,
            frequencies=resolved_frequencies(shape[0]),
            residual=prior_slices > 0,
        ),
        FeatureSet(tuple(features.grids), features.local, features.pixels, tuple(features.gradients)),
        model.mapper.volume_latent_dim,
        prior_slices,
    )


def autoencoder(networks: GenerationNetworks) -> MaskedAutoencoder:
    """The network that trains the encoder, whose parameters are under `encoder` there as well."""
    assert isinstance(networks.encoder, ResidualEncoder)
    return MaskedAutoencoder(networks.encoder)


def initial_generation_parameters(networks: GenerationNetworks, config: ConfigDict) -> dict:
    """Random parameters of all three networks, and a prior of zeros."""
    key_encoder, key_generator, key_mapper = jax.random.split(jax.random.key(config.seed), 3)
    size = networks.generator.slice_latent_dim
    prior = zero_prior(networks.volume_latent_dim, networks.prior_slices, size)
    return ({"prior": prior} if networks.prior_slices else {}) | {
        "encoder": initial_encoder_parameters(networks.encoder, key_encoder),
        "generator": _initial(networks.generator, key_generator, (1, size)),
        "mapper": _initial(networks.mapper, key_mapper, (1, networks.volume_latent_dim), (1,)),
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
    return ResidualEncoder(tuple(encoder.widths), encoder.blocks, norm_groups(encoder.widths))
