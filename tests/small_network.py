"""Small networks with arbitrary parameters, for tests of what surrounds them."""

import jax
import jax.numpy as jnp
import numpy as np

from lift_jax.data.channels import Channels
from lift_jax.data.intensity import get_protocol
from lift_jax.models.slice_translator import SliceTranslator
from lift_jax.models.volume_translator import VolumeTranslator, initial_parameters

NAMES = ("t1n", "t1c", "t2w", "t2f")
CHANNELS = len(NAMES)
MR = Channels(NAMES, NAMES, {name: get_protocol("mr_quantile") for name in NAMES})
MR_TO_CT = Channels(("mr",), ("ct",), {"mr": get_protocol("mr_foreground"), "ct": get_protocol("ct_hu")})


def small_network(mixer="gru", grid=1, hidden=6, **translator) -> VolumeTranslator:
    translator = {
        "widths": (8, 16),
        "blocks": 1,
        "space_to_depth": 1,
        "groups": 4,
        "condition_features": 8,
    } | translator
    return VolumeTranslator(SliceTranslator(**translator), mixer, hidden, grid, frequencies=3)


def random_parameters(network: VolumeTranslator, seed=0) -> dict:
    """Parameters of the right shapes, none of them zero: matrices and kernels scaled by their inputs, vectors small."""
    shapes = jax.eval_shape(lambda key: initial_parameters(network, key), jax.random.key(0))
    rng = np.random.default_rng(seed)

    def draw(shape):
        spread = np.prod(shape[:-1]) ** -0.5 if len(shape) > 1 else 0.2
        return jnp.asarray(rng.normal(scale=spread, size=shape), jnp.float32)

    return jax.tree.map(lambda leaf: draw(leaf.shape), shapes)


def random_slab(batch=1, slices=4, height=16, width=16, seed=0) -> dict[str, np.ndarray]:
    """A batch as training takes it: the last channel from the first three."""
    rng = np.random.default_rng(seed)
    return {
        "sources": rng.uniform(-1, 1, (batch, slices, height, width, CHANNELS)).astype(np.float32),
        "target_image": rng.uniform(-1, 1, (batch, slices, height, width)).astype(np.float32),
        "available": np.tile(np.float32([1, 1, 1, 0]), (batch, 1)),
        "target_onehot": np.tile(np.float32([0, 0, 0, 1]), (batch, 1)),
        "foreground": np.ones((batch, slices, height, width), np.float32),
        **_slices(batch, slices),
    }


def random_pair(batch=2, slices=4, side=16, seed=0) -> dict[str, np.ndarray]:
    """A batch of MR to CT as training takes it: about half of it air outside the body."""
    rng = np.random.default_rng(seed)
    target = rng.uniform(-1, 1, (batch, slices, side, side)).astype(np.float32)
    foreground = (rng.random(target.shape) < 0.6).astype(np.float32)
    return {
        "sources": rng.uniform(-1, 1, (*target.shape, 1)).astype(np.float32),
        "target_image": np.where(foreground > 0, target, -1).astype(np.float32),
        "available": np.ones((batch, 1), np.float32),
        "target_onehot": np.ones((batch, 1), np.float32),
        "foreground": foreground,
        **_slices(batch, slices),
    }


def _slices(batch, slices):
    return {
        "depth": np.tile(np.linspace(-1, 1, slices, dtype=np.float32), (batch, 1)),
        "slice_weights": np.ones((batch, slices), np.float32),
        "delta_z_weights": np.tile(np.float32([0] + [1] * (slices - 1)), (batch, 1)),
    }
