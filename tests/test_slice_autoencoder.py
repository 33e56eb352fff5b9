"""The slice generator as a decoder: codes with the moments of its own inputs, and what is kept of them."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lift_jax.data.slices import TakeAxialSlice
from lift_jax.models.blocks import upsample_smoothly
from lift_jax.models.slice_autoencoder import (
    covariance,
    initial_coder_parameters,
    mirrored_coder,
    slice_codes,
    standardise,
    take_in_moments,
)
from lift_jax.training.decoding_loss import decoding_loss
from lift_jax.training.generation_parameters import stage_parameters, with_trained
from tests.small_generation import SHAPE, random_volumes, small_config, small_networks


def correlated(count, size, seed=0):
    """Codes whose numbers depend on each other and have other means and scales, float64."""
    rng = np.random.default_rng(seed)
    return rng.normal(size=(count, size)) @ rng.normal(size=(size, size)) + rng.normal(size=size)


@pytest.fixture(scope="module")
def networks_and_parameters():
    return small_networks()


def test_standardised_codes_have_mean_nought_and_variance_one():
    codes = correlated(500, 6)
    standard = np.asarray(standardise(jnp.asarray(codes, jnp.float32)))
    np.testing.assert_allclose(standard, (codes - codes.mean(0)) / codes.std(0), atol=1e-4)
    expected = np.corrcoef(codes.T)
    np.testing.assert_allclose(covariance(jnp.asarray(standard)), expected, atol=1e-4)


def test_a_generator_that_took_in_moments_makes_of_normal_codes_what_it_made_of_coded_slices(networks_and_parameters):
    networks, params = networks_and_parameters
    generator = params["generator"]
    size = networks.generator.code
    rng = np.random.default_rng(1)
    generator = generator | {"codes": {"kernel": jnp.asarray(rng.normal(size=(size, size)), jnp.float32)}}
    generator["codes"]["bias"] = jnp.asarray(rng.normal(size=size), jnp.float32)
    codes = correlated(2000, size)
    folded = take_in_moments(generator, codes, noise=0.4)

    standard = (codes - codes.mean(0)) / codes.std(0)
    expected = np.cov(standard.T, bias=True) + 0.2**2 * np.eye(size)
    before, after = (np.asarray(tree["codes"]["kernel"], np.float64) for tree in (generator, folded))
    np.testing.assert_allclose(after.T @ after, before.T @ expected @ before, rtol=1e-4, atol=1e-4)

    normal = rng.normal(size=(3, size))
    made = networks.generate({"generator": folded}, jnp.asarray(normal, jnp.float32))
    root = np.linalg.solve(before.T, after.T).T  # of the covariance
    np.testing.assert_allclose(root, root.T, atol=1e-4)
    assert np.linalg.eigvalsh(root).min() > 0
    ours = networks.generate({"generator": generator}, jnp.asarray(normal @ root, jnp.float32))
    np.testing.assert_allclose(made, ours, atol=1e-4)


def test_what_follows_the_decoder_stage_gets_its_generator_with_moments_and_no_coder(networks_and_parameters):
    networks, params = networks_and_parameters
    config, volumes = small_config(), random_volumes(3)
    trained = stage_parameters("decoder", params, networks, config)
    after = with_trained(params, trained, networks, volumes, config)
    assert set(after) == {"encoder", "generator", "mapper"}
    codes = slice_codes(mirrored_coder(networks.generator), trained["coder"], volumes, chunk=5)
    expected = take_in_moments(trained["generator"], codes, config.stage.decoder.noise)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5), after["generator"], expected)
    assert np.abs(after["generator"]["codes"]["kernel"] - params["generator"]["codes"]["kernel"]).max() > 0.01


def test_codes_are_those_of_every_slice_whatever_the_chunk(networks_and_parameters):
    coder = mirrored_coder(networks_and_parameters[0].generator)
    params = initial_coder_parameters(coder, SHAPE[1:], jax.random.key(0))
    volumes = random_volumes(2)
    (one, other) = (slice_codes(coder, params, volumes, chunk=chunk) for chunk in (3, 8))
    assert one.shape == (2 * SHAPE[0], coder.code)
    np.testing.assert_allclose(one, other, atol=1e-5)
    images = 2 * volumes.reshape(-1, *SHAPE[1:], 1).astype(np.float32) - 1
    np.testing.assert_allclose(one, coder.apply({"params": params}, images), atol=1e-5)


def test_the_terms_of_the_loss_are_those_of_its_definition(networks_and_parameters):
    networks, params = networks_and_parameters
    params = stage_parameters("decoder", params, networks, small_config())
    coder = mirrored_coder(networks.generator)
    images = np.random.default_rng(2).uniform(-1, 1, (12, *SHAPE[1:], 1)).astype(np.float32)
    loss, terms = decoding_loss(networks, coder, noise=0.0, perceptual=0.5, axis_name=None)(
        params, {"image": images}, jax.random.key(0)
    )
    codes = np.asarray(coder.apply({"params": params["coder"]}, images), np.float64)
    standard = (codes - codes.mean(0)) / codes.std(0)
    made = networks.generate(params, jnp.asarray(standard, jnp.float32))[..., None]
    maps, theirs = (
        [np.asarray(x, np.float64) for x in networks.encoder.apply({"params": params["encoder"]}, x)]
        for x in (made, images)
    )
    correlation = np.corrcoef(codes.T) - np.eye(codes.shape[1])
    expected = {
        "pixel": np.abs(np.asarray(made) - images).mean(),
        "perceptual": 0.5 * sum(np.abs(a - b).mean() / np.abs(b).mean() for a, b in zip(maps, theirs, strict=True)),
        "correlation": (correlation**2).mean(),
    }
    for name, value in expected.items():
        np.testing.assert_allclose(terms[name], value, rtol=2e-3)
    np.testing.assert_allclose(loss, sum(expected.values()), rtol=2e-3)


def test_smooth_doubling_is_bilinear_between_the_centres_of_pixels():
    x = np.random.default_rng(0).normal(size=(2, 3, 5, 2))

    def doubled(x, axis):
        count = x.shape[axis]
        at = np.clip((np.arange(2 * count) + 0.5) / 2 - 0.5, 0, count - 1)
        low = np.minimum(np.floor(at).astype(int), count - 2)
        share = (at - low).reshape([-1 if i == axis else 1 for i in range(x.ndim)])
        return np.take(x, low, axis) * (1 - share) + np.take(x, low + 1, axis) * share

    expected = doubled(doubled(x, 1), 2)
    np.testing.assert_allclose(upsample_smoothly(jnp.asarray(x, jnp.float32)), expected, atol=1e-5)


def test_axial_slices_are_drawn_from_all_depths_whole():
    volume = np.arange(4 * 2 * 3).reshape(4, 2, 3) / 24
    rng = np.random.default_rng(0)
    drawn = [TakeAxialSlice().random_map(volume, rng)["image"][..., 0] for _ in range(60)]
    places = [int(np.flatnonzero([np.allclose(image, 2 * row - 1, atol=1e-6) for row in volume])[0]) for image in drawn]
    assert set(places) == {0, 1, 2, 3}
