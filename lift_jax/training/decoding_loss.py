"""The loss by which LiFT-U's slice generator learns to decode, before it drifts; see `models.slice_autoencoder`."""

import jax
import jax.numpy as jnp

from lift_jax.losses.targets import mean_over_devices
from lift_jax.models.generation import GenerationNetworks
from lift_jax.models.slice_autoencoder import SliceCoder, covariance, standardise
from lift_jax.training.generation_losses import local_rows
from lift_jax.training.step import LossFunction

DECORRELATION = 1.0
"""Weight of the squared entries of the codes' covariance beside its diagonal, in `decoding_loss`."""


def decoding_loss(
    networks: GenerationNetworks, coder: SliceCoder, *, noise: float, perceptual: float, axis_name: str | None
) -> LossFunction:
    """The loss of the slice generator as a decoder of the batch's axial slices, `image [B, H, W, 1]`.

    The mean absolute error of pixels; `perceptual` times that of the encoder's maps, each in units of its own mean; and
    the correlation of codes, which are standardised and disturbed by `noise`, so that the codes between them mean
    something too.
    """

    def loss_function(params, batch, key):
        images = batch["image"]
        codes = standardise(coder.apply({"params": params["coder"]}, images), axis_name)
        count = codes.shape[0] * (1 if axis_name is None else jax.lax.axis_size(axis_name))
        disturbance = local_rows(jax.random.normal(key, (count, codes.shape[1])), axis_name)
        made = networks.generate(params, codes + noise * disturbance)[..., None]
        variables = {"params": params["encoder"]}
        maps, theirs = (networks.encoder.apply(variables, x) for x in (made, images))
        correlation = covariance(codes, axis_name) - jnp.eye(codes.shape[1])
        terms = {
            "pixel": jnp.abs(made - images).mean(),
            "perceptual": perceptual * sum(_relative_error(a, b, axis_name) for a, b in zip(maps, theirs, strict=True)),
            "correlation": DECORRELATION * jnp.mean(correlation**2),
        }
        return sum(terms.values()), terms

    return loss_function


def _relative_error(x, true, axis_name):
    return jnp.abs(x - true).mean() / mean_over_devices(jnp.abs(true).mean(), axis_name)
