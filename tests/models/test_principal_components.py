"""What LiFT-U begins with: principal components of slices and of trajectories, against plain linear algebra."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lift_jax.data.geometry import slice_centers
from lift_jax.models.generation_networks import initial_generation_parameters
from lift_jax.models.layers import upsample_smoothly
from lift_jax.models.pca import (
    component_latents,
    independent_latents,
    interpolation_weights,
    pca_prior,
    principal_components,
    prior_latents,
    with_components,
)
from lift_jax.models.slice_generator import REACH, from_logits, to_logits
from lift_jax.training.generation import stage_parameters, with_principal, with_trained
from tests.small_generation import SHAPE, random_volumes, small_config, small_networks

CODE = 6


@pytest.fixture(scope="module")
def volumes():
    rng = np.random.default_rng(3)
    noisy = random_volumes(12).astype(np.float64) + 0.1 * rng.random((12, *SHAPE))
    return np.clip(noisy, 0, 1).astype(np.float32)


@pytest.fixture(scope="module")
def components(volumes):
    return principal_components(volumes, CODE)


def logits(volumes):
    """Of all slices, `[V D, H W]` float64."""
    return np.arctanh(REACH * (2 * np.asarray(volumes, np.float64) - 1)).reshape(-1, SHAPE[1] * SHAPE[2])


def test_images_are_what_logits_make():
    images = np.linspace(-1, 1, 7, dtype=np.float32)
    np.testing.assert_allclose(from_logits(to_logits(images)), images, atol=1e-6)
    assert float(jax.grad(lambda x: from_logits(x))(to_logits(jnp.float32(-1)))) > 0.2  # black can still be moved


def test_components_are_those_of_the_covariance(volumes, components):
    x = logits(volumes)
    np.testing.assert_allclose(components.mean, x.mean(0), atol=1e-4)
    _, values, rows = np.linalg.svd(x - x.mean(0), full_matrices=False)
    expected = rows[:CODE] * (values[:CODE, None] / np.sqrt(len(x)))
    signs = np.sign((np.asarray(components.basis) * expected).sum(axis=1, keepdims=True))
    np.testing.assert_allclose(signs * components.basis, expected, atol=2e-3 * np.abs(expected).max())


def test_codes_of_real_slices_are_uncorrelated_with_variance_one(volumes, components):
    images = 2 * volumes.reshape(-1, *SHAPE[1:]) - 1
    codes = np.asarray(component_latents(components, images), np.float64)
    np.testing.assert_allclose(codes.mean(0), 0, atol=1e-3)
    np.testing.assert_allclose(np.cov(codes.T, bias=True), np.eye(CODE), atol=1e-2)


def test_slices_of_too_few_directions_leave_small_rows():
    few = np.repeat(random_volumes(1).astype(np.float32)[:, :1], 4, axis=1)  # four times the same slice
    basis = np.asarray(principal_components(few, CODE).basis)
    assert np.isfinite(basis).all() and np.abs(basis).max() < 1e-3
    assert np.isfinite(component_latents(principal_components(few, CODE), 2 * few[0] - 1)).all()


def test_a_generator_with_components_is_the_linear_model(volumes, components):
    networks, params = small_networks()
    generator = with_components(params["generator"], components)
    images = 2 * volumes[0] - 1
    codes = component_latents(components, images)
    x = logits(volumes[:1])
    directions = np.linalg.qr(np.asarray(components.basis, np.float64).T)[0]
    mean = np.asarray(components.mean, np.float64)
    expected = np.tanh(mean + (x - mean) @ directions @ directions.T) / REACH
    np.testing.assert_allclose(
        networks.generate({"generator": generator}, codes).reshape(expected.shape), expected, atol=1e-3
    )


def test_trajectories_have_the_mean_and_the_covariance_of_real_ones(volumes, components):
    depth, count = SHAPE[0], len(volumes)
    prior = pca_prior(volumes, components, count)
    codes = np.stack([component_latents(components, 2 * volume - 1) for volume in volumes]).astype(np.float64)
    np.testing.assert_allclose(prior["bias"], codes.mean(0), atol=1e-4)
    kernel = np.asarray(prior["kernel"], np.float64).reshape(count, -1)
    flat = codes.reshape(count, -1)
    np.testing.assert_allclose(kernel.T @ kernel, np.cov(flat.T, bias=True), atol=2e-3)
    variances = ((kernel.reshape(count, depth, CODE) * np.linalg.norm(components.basis, axis=1)) ** 2).sum((1, 2))
    assert np.all(np.diff(variances) <= 1e-6 * variances[0])  # what is seen most comes first


def test_more_numbers_than_volumes_are_zero(volumes, components):
    kernel = np.asarray(pca_prior(volumes[:3], components, 5)["kernel"])
    assert kernel.shape == (5, SHAPE[0], CODE) and np.abs(kernel[:2]).max() > 0.01 and np.all(kernel[3:] == 0)


def test_between_slices_codes_are_linear():
    np.testing.assert_allclose(interpolation_weights(jnp.asarray(slice_centers(5)), 5), np.eye(5), atol=1e-6)
    weights = np.asarray(interpolation_weights(jnp.asarray([-1.0, -0.6, 0.3, 1.0]), 5))
    expected = [[1, 0, 0, 0, 0], [0.5, 0.5, 0, 0, 0], [0, 0, 0.25, 0.75, 0], [0, 0, 0, 0, 1]]
    np.testing.assert_allclose(weights, expected, atol=1e-6)


def test_independent_codes_are_those_of_the_volumes_at_their_depths():
    rng = np.random.default_rng(0)
    prior = {"kernel": rng.normal(size=(3, 4, 2)), "bias": rng.normal(size=(4, 2))}
    prior = jax.tree.map(lambda x: jnp.asarray(x, jnp.float32), prior)
    z, depth = jnp.asarray(rng.normal(size=(5, 3)), jnp.float32), jnp.linspace(-0.9, 0.8, 5)
    whole = prior_latents(prior, z, depth)
    np.testing.assert_allclose(independent_latents(prior, z, depth), whole[jnp.arange(5), jnp.arange(5)], atol=1e-5)


def test_a_run_begins_with_the_principal_trajectories_of_its_volumes(volumes):
    networks, _ = small_networks()
    begun = with_principal(initial_generation_parameters(networks, small_config()), networks, volumes)
    z, depth = jnp.ones((1, networks.volume_latent_dim)), jnp.asarray(slice_centers(SHAPE[0]))
    np.testing.assert_array_equal(networks.map_depth(begun, z, depth), prior_latents(begun["prior"], z, depth))
    assert float(jnp.abs(begun["prior"]["kernel"]).max()) > 0.01
    assert np.all(np.isfinite(networks.random_latents(begun, jax.random.key(0), 7)))


def test_steps_between_slices_vary_as_much_as_real_ones(volumes, components):
    prior = pca_prior(volumes, components, len(volumes))
    places = jnp.asarray(slice_centers(SHAPE[0]))
    bases = np.eye(len(volumes), dtype=np.float32)
    nothing = prior_latents(prior, jnp.zeros((1, len(volumes))), places)
    made = np.diff(prior_latents(prior, bases, places) - nothing, axis=1)
    codes = np.stack([component_latents(components, 2 * volume - 1) for volume in volumes])
    np.testing.assert_allclose((made**2).sum(0), np.diff(codes, axis=1).var(0), rtol=1e-2, atol=1e-3)


def test_stages_hand_on_what_they_trained_and_the_prior_with_it(volumes):
    networks, params = small_networks()
    begun = with_principal(params, networks, volumes)
    held = stage_parameters("generator", begun, networks, small_config())
    assert set(held) == {"encoder", "prior", "generator"}
    after = with_trained(params, held)
    assert set(after) == {"encoder", "prior", "generator", "mapper"}
    assert after["prior"] is held["prior"] and after["mapper"] is params["mapper"]


def test_without_a_prior_codes_are_normal_and_mapped_ones_as_large():
    config = small_config()
    config.model.prior.init = "random"
    networks, params = small_networks(config)
    assert "prior" not in params
    codes = networks.random_latents(params, jax.random.key(0), 4)
    np.testing.assert_array_equal(codes, jax.random.normal(jax.random.key(0), (4, CODE)))
    mapped = networks.map_depth(params, jnp.ones((2, networks.volume_latent_dim)), jnp.linspace(-1, 1, 8))
    np.testing.assert_allclose(jnp.sqrt((mapped**2).mean(-1)), 1, atol=1e-4)


def test_smooth_doubling_is_bilinear_between_the_centers_of_pixels():
    x = np.random.default_rng(0).normal(size=(2, 3, 5, 2))

    def doubled(x, axis):
        count = x.shape[axis]
        at = np.clip((np.arange(2 * count) + 0.5) / 2 - 0.5, 0, count - 1)
        low = np.minimum(np.floor(at).astype(int), count - 2)
        share = (at - low).reshape([-1 if i == axis else 1 for i in range(x.ndim)])
        return np.take(x, low, axis) * (1 - share) + np.take(x, low + 1, axis) * share

    expected = doubled(doubled(x, 1), 2)
    np.testing.assert_allclose(upsample_smoothly(jnp.asarray(x, jnp.float32)), expected, atol=1e-5)
