"""Features of slices: which slices, in which order, pooled how."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lift_jax.evaluation.plane_features import (
    compared_positions,
    plane_features,
    pooled_features,
    slice_encoder,
)
from lift_jax.models.encoders.masked_autoencoder import ResidualEncoder, initial_encoder_parameters


def corner(images):
    """An encoder whose features identify the slice: the first and the last pixel, and the sides."""
    n, h, w, _ = images.shape
    sides = np.broadcast_to([h, w], (n, 2))
    return np.concatenate([images[:, 0, 0], images[:, -1, -1], sides], axis=1)


@pytest.mark.parametrize("n", [2, 40])  # 40 volumes are more than one batch of slices
def test_every_slice_of_every_volume_is_encoded_in_order(n):
    volumes = np.random.default_rng(0).random((n, 4, 5, 6))
    features = plane_features(corner, volumes)
    assert {plane: f.shape for plane, f in features.items()} == {
        "axial": (n, 4, 4),
        "coronal": (n, 5, 4),
        "sagittal": (n, 6, 4),
    }
    i, k = n - 1, 3
    expected = {
        "axial": [volumes[i, k, 0, 0], volumes[i, k, -1, -1], 5, 6],
        "coronal": [volumes[i, 0, k, 0], volumes[i, -1, k, -1], 4, 6],
        "sagittal": [volumes[i, 0, 0, k], volumes[i, -1, -1, k], 4, 5],
    }
    for plane, (first, last, h, w) in expected.items():
        np.testing.assert_allclose(features[plane][i, k], [2 * first - 1, 2 * last - 1, h, w], rtol=1e-6)


def test_coronal_and_sagittal_places_are_those_that_real_volumes_fill():
    real = np.zeros((2, 4, 5, 6))
    real[0, 1, 2, 3], real[1, 3, 2, 4] = 1, 1
    positions = compared_positions(real)
    assert {plane: p.tolist() for plane, p in positions.items()} == {
        "axial": [0, 1, 2, 3],
        "coronal": [2],
        "sagittal": [3, 4],
    }
    made = np.random.default_rng(0).random((3, 4, 5, 6))
    some, all_of_them = plane_features(corner, made, positions), plane_features(corner, made)
    for plane, places in positions.items():
        np.testing.assert_array_equal(some[plane], all_of_them[plane][:, places])


def test_pooled_features_are_means_and_deviations_of_every_map():
    random = np.random.default_rng(0)
    maps = [random.normal(size=(2, 6, 5, 3)), random.normal(size=(2, 3, 2, 4))]
    expected = np.concatenate([f(m.reshape(2, -1, m.shape[-1]), axis=1) for m in maps for f in (np.mean, np.std)], 1)
    pooled = pooled_features([jnp.asarray(m, jnp.float32) for m in maps])
    np.testing.assert_allclose(pooled, expected, rtol=1e-5, atol=1e-6)


def test_slices_are_padded_with_air_to_what_the_encoder_takes():
    network = ResidualEncoder(widths=(2, 4), groups=1)
    shapes = jax.eval_shape(lambda key: initial_encoder_parameters(network, key), jax.random.key(0))
    params = jax.tree.map(
        lambda leaf: 0.3 * np.random.default_rng(1).normal(size=leaf.shape).astype(np.float32), shapes
    )
    images = np.random.default_rng(0).uniform(-1, 1, (2, 7, 9, 1)).astype(np.float32)
    padded = np.full((2, 8, 10, 1), -1, np.float32)
    padded[:, :7, :9] = images
    encode = slice_encoder(network, params)
    assert encode(images).shape == (2, 12)
    np.testing.assert_array_equal(encode(images), encode(padded))
