"""The depth mapper: one code of a volume to the codes of all its slices."""

import flax.linen as nn
import jax
import jax.numpy as jnp

from lift_jax.models.depth_encoding import fourier_features


class DepthMapper(nn.Module):
    """A volume's code and the depths of its slices to slice codes, `([B, Z], [D]) -> [B, D, K]` float32.

    A residual perceptron that sees one depth at a time, so that a volume can be sampled at any depths (LiFT, arXiv
    2605.19060: 1.455 million parameters).

    Attributes:
      slice_latent_dim: numbers in a slice's latent, as the generator takes them.
      hidden: width.
      layers: residual layers.
      frequencies: Fourier frequencies of depth, see `resolved_frequencies`.
      residual: codes are a correction of others: zero at first, and not normalized.
      normalize: scale every slice code to a root mean square of 1, that of normal inputs of the generator.
    """

    slice_latent_dim: int = 64
    hidden: int = 512
    layers: int = 5
    frequencies: int = 6
    residual: bool = False
    normalize: bool = True

    @nn.compact
    def __call__(self, z, depth):
        """`z [B, Z]` standard normal; `depth [D]` in [-1, 1]."""
        x = nn.Dense(self.hidden)(z)[:, None] + nn.Dense(self.hidden)(fourier_features(depth, self.frequencies))[None]
        for _ in range(self.layers):
            x = x + nn.Dense(self.hidden)(nn.silu(nn.LayerNorm()(x)))
        init = nn.initializers.zeros if self.residual else nn.linear.default_kernel_init
        codes = nn.Dense(self.slice_latent_dim, kernel_init=init)(nn.silu(nn.LayerNorm()(x)))
        return unit_rms(codes) if self.normalize and not self.residual else codes


def unit_rms(codes: jax.Array) -> jax.Array:
    """Codes `[..., K]` scaled to a root mean square of 1."""
    return codes * jax.lax.rsqrt(jnp.mean(codes**2, axis=-1, keepdims=True) + 1e-8)
