"""Small networks of LiFT-U with arbitrary parameters, and a small bank, for tests of what surrounds them."""

import jax
import numpy as np

from configs.phantom_unconditional import get_config
from lift_jax.models.generation_networks import GenerationNetworks, generation_networks, initial_generation_parameters

SHAPE = (8, 16, 16)


def small_config():
    """The configuration of the small networks."""
    config = get_config("tiny")
    with config.unlocked():
        config.data.size = SHAPE
        config.model.encoder.widths = (4, 8)
        config.model.generator.update({"slice_latent_dim": 6, "widths": (8, 4)})
        config.model.mapper.update({"volume_latent_dim": 5, "hidden": 16})
        config.loss.particles = "segment"
        config.features.update({"grids": (1,), "pixels": 0, "gradients": (1,)})
    return config


def small_networks(config=None) -> tuple[GenerationNetworks, dict]:
    """Networks and random parameters, the prior's and the mapper's last layer too, which begin as noughts."""
    config = config or small_config()
    networks = generation_networks(config, SHAPE)
    params, rng = initial_generation_parameters(networks, config), np.random.default_rng(0)
    for group in params.keys() & {"prior", "mapper"}:
        fill = lambda x: x if np.any(x) else (0.5 * rng.normal(size=x.shape)).astype(np.float32)  # noqa: E731
        params[group] = jax.tree.map(fill, params[group])
    return networks, params


def random_volumes(count, shape=SHAPE, seed=0) -> np.ndarray:
    """Smooth blobs in [0, 1], each another, `[count, D, H, W]` float16."""
    rng = np.random.default_rng(seed)
    axes = np.meshgrid(*(np.linspace(-1, 1, size) for size in shape), indexing="ij")
    volumes = []
    for _ in range(count):
        center, width = rng.uniform(-0.3, 0.3, 3), rng.uniform(0.3, 0.7)
        distance = sum((axis - c) ** 2 for axis, c in zip(axes, center, strict=True))
        volumes.append(np.clip(1 - distance / width**2, 0, 1))
    return np.stack(volumes).astype(np.float16)


def assert_trees_close(a, b, tolerance, floor=0.0):
    """Equal to `tolerance` of each leaf's largest entry, or of `floor` of all leaves' if that is more.

    What is zero but for rounding, as the gradient of a bias before a normalization, has no digits to compare.
    """
    largest = max(float(np.abs(y).max()) for y in jax.tree.leaves(b))

    def check(x, y):
        scale = max(float(np.abs(y).max()), floor * largest, 1e-12)
        np.testing.assert_allclose(np.asarray(x) / scale, np.asarray(y) / scale, atol=tolerance)

    jax.tree.map(check, a, b)
