"""Small networks with arbitrary parameters, for tests of what surrounds them."""

import jax
import jax.numpy as jnp
import numpy as np

from lift_jax.data.cases import CONTRASTS
from lift_jax.models.build import initial_parameters
from lift_jax.models.slice_translator import SliceTranslator
from lift_jax.models.volume_translator import VolumeTranslator

CHANNELS = len(CONTRASTS)


def small_network(mixer="gru", grid=1, hidden=6, **translator) -> VolumeTranslator:
    translator = {"widths": (8, 16), "blocks": 1, "stem": 1, "groups": 4, "condition_features": 8} | translator
    return VolumeTranslator(SliceTranslator(**translator), mixer, hidden, grid, frequencies=3)


def random_parameters(network: VolumeTranslator, seed=0) -> dict:
    """Parameters of the right shapes, none of them zero: matrices and kernels scaled by their inputs, vectors small."""
    shapes = jax.eval_shape(lambda key: initial_parameters(network, key), jax.random.key(0))
    rng = np.random.default_rng(seed)

    def draw(shape):
        spread = np.prod(shape[:-1]) ** -0.5 if len(shape) > 1 else 0.2
        return jnp.asarray(rng.normal(scale=spread, size=shape), jnp.float32)

    return jax.tree.map(lambda leaf: draw(leaf.shape), shapes)


def random_window(batch=1, slices=4, height=16, width=16, seed=0) -> dict[str, np.ndarray]:
    """A batch as training takes it: the last contrast wanted from the first three."""
    rng = np.random.default_rng(seed)
    return {
        "sources": rng.uniform(-1, 1, (batch, slices, height, width, CHANNELS)).astype(np.float32),
        "target": rng.uniform(-1, 1, (batch, slices, height, width)).astype(np.float32),
        "available": np.tile(np.float32([1, 1, 1, 0]), (batch, 1)),
        "wanted": np.tile(np.float32([0, 0, 0, 1]), (batch, 1)),
        "depth": np.tile(np.linspace(-1, 1, slices, dtype=np.float32), (batch, 1)),
    }


def random_pair(batch=2, slices=4, side=16, seed=0) -> dict[str, np.ndarray]:
    """A batch of MR to CT as training takes it: about half of it air outside the body."""
    rng = np.random.default_rng(seed)
    target = rng.uniform(-1, 1, (batch, slices, side, side)).astype(np.float32)
    body = (rng.random(target.shape) < 0.6).astype(np.float32)
    return {
        "sources": rng.uniform(-1, 1, (*target.shape, 1)).astype(np.float32),
        "target": np.where(body > 0, target, -1).astype(np.float32),
        "available": np.ones((batch, 1), np.float32),
        "wanted": np.ones((batch, 1), np.float32),
        "depth": np.tile(np.linspace(-1, 1, slices, dtype=np.float32), (batch, 1)),
        "body": body,
    }
