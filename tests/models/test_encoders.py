"""Encoders: shapes of their maps, what they refuse; masked reconstruction against its definition."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lift_jax.models.encoders.masked_autoencoder import (
    MaskedAutoencoder,
    ResidualEncoder,
    initial_encoder_parameters,
    masked_reconstruction_loss,
    patch_mask,
)

ENCODER = ResidualEncoder(widths=(4, 8), blocks=1, groups=2)


@pytest.fixture(scope="module")
def autoencoder():
    network = MaskedAutoencoder(ENCODER)
    return network, initial_encoder_parameters(network, jax.random.key(0))


def random_images(n=3, height=16, width=24, seed=0):
    return np.random.default_rng(seed).uniform(-1, 1, (n, height, width, 1)).astype(np.float32)


def test_maps_come_finest_first_each_with_half_the_side_of_the_one_before(autoencoder):
    maps = ENCODER.apply({"params": autoencoder[1]["encoder"]}, random_images())
    assert [m.shape for m in maps] == [(3, 16, 24, 4), (3, 8, 12, 8)]


def test_images_are_encoded_each_by_itself(autoencoder):
    params, images = autoencoder[1]["encoder"], random_images()
    together, alone = (ENCODER.apply({"params": params}, x) for x in (images, images[1:2]))
    for a, b in zip(together, alone, strict=True):
        np.testing.assert_allclose(a[1:2], b, atol=1e-5)


def test_another_key_gives_another_random_encoder():
    first, second = (initial_encoder_parameters(ResidualEncoder((2,), groups=1), jax.random.key(i)) for i in (0, 1))
    assert not np.allclose(first["stem"]["kernel"], second["stem"]["kernel"])


@pytest.mark.parametrize("shape", [(1, 17, 16, 1), (1, 16, 16, 3), (16, 16, 1), (1, 0, 16, 1)])
def test_images_that_do_not_fit_are_refused(shape):
    with pytest.raises(ValueError, match=r"an encoder takes|multiples of 2"):
        ENCODER.init(jax.random.key(0), jnp.zeros(shape))


def test_activations_are_of_the_wanted_type_and_parameters_float32():
    network = ENCODER.clone(dtype=jnp.bfloat16)
    maps, variables = jax.eval_shape(network.init_with_output, jax.random.key(0), random_images())
    assert {leaf.dtype for leaf in jax.tree.leaves(variables)} == {jnp.dtype(jnp.float32)}
    assert {m.dtype for m in maps} == {jnp.dtype(jnp.bfloat16)}


def test_the_trained_encoder_is_a_subtree_that_works_alone(autoencoder):
    network, params = autoencoder
    maps = network.encoder.apply({"params": params["encoder"]}, random_images())
    fresh = jax.eval_shape(lambda key: initial_encoder_parameters(ENCODER, key), jax.random.key(0))
    assert jax.tree.map(jnp.shape, params["encoder"]) == jax.tree.map(lambda leaf: leaf.shape, fresh)
    assert len(maps) == 2


def test_as_many_patches_are_covered_in_every_image_at_different_places():
    covered = np.asarray(patch_mask(jax.random.key(0), (50, 16, 24), 4, 0.5))
    assert covered.shape == (50, 16, 24, 1)
    assert (covered.sum((1, 2, 3)) == 16 * 24 / 2).all()
    blocks = covered.reshape(50, 4, 4, 6, 4).transpose(0, 1, 3, 2, 4).reshape(50, 24, 16)
    assert (blocks.all(-1) == blocks.any(-1)).all(), "a patch is covered whole or not at all"
    assert len(np.unique(blocks[..., 0], axis=0)) == 50
    # Each patch is covered in half of the images: 25 ± 4.5 standard deviations of a coin tossed 50 times.
    assert np.abs(blocks[..., 0].sum(0) - 25).max() < 16


@pytest.mark.parametrize(("ratio", "patches"), [(0.3, 7), (0.001, 1), (0.999, 23)])
def test_the_covered_part_is_the_ratio_in_whole_patches(ratio, patches):
    covered = patch_mask(jax.random.key(0), (2, 16, 24), 4, ratio)
    assert (np.asarray(covered).sum((1, 2, 3)) == 16 * patches).all()


@pytest.mark.parametrize(("shape", "patch", "ratio"), [((1, 16, 18), 4, 0.5), ((1, 8, 8), 8, 0.5), ((1, 8, 8), 4, 1.0)])
def test_covers_that_cannot_be_made_are_refused(shape, patch, ratio):
    with pytest.raises(ValueError, match=r"do not divide|between 0 and 1"):
        patch_mask(jax.random.key(0), shape, patch, ratio)


def test_the_loss_is_the_squared_error_where_it_is_covered(autoencoder):
    network, params = autoencoder
    images, key = random_images(), jax.random.key(3)
    covered = np.asarray(patch_mask(key, images.shape[:3], 4, 0.5))
    loss, reconstruction = masked_reconstruction_loss(network, params, images, covered)
    assert reconstruction.shape == images.shape and reconstruction.dtype == jnp.float32
    expected = np.mean((np.float64(reconstruction) - images)[covered] ** 2)
    assert float(loss) == pytest.approx(expected, rel=1e-5)


def test_nothing_that_is_covered_reaches_the_network(autoencoder):
    network, params = autoencoder
    images, key = random_images(), jax.random.key(3)
    covered = np.asarray(patch_mask(key, images.shape[:3], 4, 0.5))
    changed = np.where(covered, -images, images)
    seen = [masked_reconstruction_loss(network, params, x, covered)[1] for x in (images, changed)]
    np.testing.assert_array_equal(*seen)


def test_every_parameter_learns_from_the_loss_and_a_few_steps_lower_it(autoencoder):
    network, params = autoencoder
    images = np.ones((8, 16, 16, 1), np.float32) * random_images(8, 1, 1)  # of one shade each, so easy to fill in

    @jax.jit
    def step(params, key):
        covered = patch_mask(key, images.shape[:3], 4, 0.5)
        loss, gradient = jax.value_and_grad(lambda p: masked_reconstruction_loss(network, p, images, covered)[0])(
            params
        )
        return jax.tree.map(lambda p, g: p - 0.05 * g, params, gradient), loss, gradient

    losses = []
    for i in range(60):
        params, loss, gradient = step(params, jax.random.key(i))
        losses.append(float(loss))
    assert all(float(jnp.abs(leaf).max()) > 0 for leaf in jax.tree.leaves(gradient))
    assert np.mean(losses[-5:]) < 0.5 * np.mean(losses[:5])
