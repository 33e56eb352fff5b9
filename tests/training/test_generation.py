"""LiFT-U's stages and what is sampled: the same on any number of devices, in chunks of any size."""

import functools

import jax
import jax.numpy as jnp
import nibabel as nib
import numpy as np
import optax
import pytest
from jax.sharding import Mesh

from lift_jax.data.geometry import slice_centers
from lift_jax.errors import UserError
from lift_jax.inference.sample import sample_independent_slices, sample_volumes
from lift_jax.models.generation_networks import DepthMapper, autoencoder, generation_networks
from lift_jax.models.layers import fourier_features, resolved_frequencies
from lift_jax.models.pca import independent_latents, interpolated_latents
from lift_jax.tasks.generation import synthesize_samples
from lift_jax.trained import TrainedGeneration
from lift_jax.training.feature_banks import real_bank
from lift_jax.training.generation import TRAINED, check_count, check_shapes, stage_parameters, with_principal
from lift_jax.training.generation_losses import draw_slices, generator_loss, in_chunks, mapper_loss, reconstruction_loss
from lift_jax.training.sharding import DATA_AXIS, REPLICATED, SHARDED, compile_step, place_batch, replicate
from lift_jax.training.step import initial_state, train_step
from tests.small_generation import SHAPE, assert_trees_close, random_volumes, small_config, small_networks

DRIFTING = {"temperatures": (0.2,), "field": "softmax_no_floor"}


@pytest.fixture(scope="module")
def networks_and_parameters():
    return small_networks()


@pytest.fixture(scope="module")
def bank(networks_and_parameters, tmp_path_factory):
    networks, params = networks_and_parameters
    volumes = random_volumes(16)
    made = make_bank(networks, params, volumes, tmp_path_factory.mktemp("bank"))
    return jax.tree.map(jnp.array, made | {"volumes": volumes})


def make_bank(networks, params, volumes, directory, chunk=5, dtype="float32"):
    return real_bank(
        networks,
        params["encoder"],
        volumes,
        planes=("axial", "coronal"),
        chunk=chunk,
        dtype=dtype,
        directory=directory,
    )


def stage_loss(name, networks, axis_name, **switches):
    switches = DRIFTING | switches
    if name == "encoder":
        return reconstruction_loss(autoencoder(networks), mask_patch_size=4, mask_ratio=0.5, axis_name=axis_name)
    if name == "generator":
        return generator_loss(networks, batch=16, positives=24, axis_name=axis_name, **switches)
    return mapper_loss(
        networks,
        shape=SHAPE,
        batch=8,
        positives=16,
        positions=3,
        chunk=4,
        planes=("axial", "coronal"),
        particles="segment",
        axis_name=axis_name,
        **switches,
    )


def run_steps(name, networks, params, batch, devices, steps=2, **switches):
    """Metrics and the last parameters of plain gradient descent, which hides no factor in a gradient."""
    groups = TRAINED[name]
    optimizer = optax.sgd(1e-3)
    mesh = Mesh(np.array(jax.devices()[:devices]), (DATA_AXIS,))
    step = functools.partial(
        train_step,
        loss_function=stage_loss(name, networks, DATA_AXIS, **switches),
        optimizer=optimizer,
        trained=groups,
        ema_decay=0.9,
    )
    layout = SHARDED if name == "encoder" else REPLICATED
    compiled = compile_step(step, mesh, layout)
    state = replicate(initial_state(jax.tree.map(jnp.array, params), optimizer, groups, jax.random.key(3)), mesh)
    history = []
    for _ in range(steps):
        state, metrics = compiled(state, place_batch(batch, mesh, layout))
        history.append(jax.device_get(metrics))
    return history, jax.device_get({group: state.params[group] for group in groups})


@pytest.mark.parametrize("name", ["encoder", "generator", "mapper"])
def test_a_stage_takes_the_same_steps_on_eight_devices_as_on_one(name, networks_and_parameters, bank):
    networks, params = networks_and_parameters
    batch = bank
    if name == "encoder":
        params = stage_parameters(name, params, networks, small_config())
        batch = {"image": np.random.default_rng(0).uniform(-1, 1, (16, 16, 16, 1)).astype(np.float32)}
    (history, after), (expected_history, expected) = (
        run_steps(name, networks, params, batch, devices) for devices in (8, 1)
    )
    before = {group: params[group] for group in TRAINED[name]}
    moved = jax.tree.map(lambda a, b: np.abs(a - b).max(), expected, jax.device_get(before))
    assert max(jax.tree.leaves(moved)) > 1e-5
    assert_trees_close(history, expected_history, 1e-4)
    ours, theirs = (jax.tree.map(np.subtract, params, before) for params in (after, expected))
    assert_trees_close(ours, theirs, 1e-3, floor=1e-4)


def test_a_decoding_generator_takes_the_same_step_on_eight_devices_as_on_one(networks_and_parameters, bank):
    name, switches = "generator", {"reconstruction_weight": 100.0, "latent_interpolation": 0.8}
    networks, params = networks_and_parameters
    (history, after), (expected_history, expected) = (
        run_steps(name, networks, params, bank, devices, steps=1, **switches) for devices in (8, 1)
    )
    assert_trees_close(history, expected_history, 1e-4)
    before = {name: params[name]}
    moved = jax.tree.map(np.subtract, expected, before)
    assert max(np.abs(leaf).max() for leaf in jax.tree.leaves(moved)) > 0
    assert_trees_close(jax.tree.map(np.subtract, after, before), moved, 2e-3)


def test_real_slices_are_decoded_from_the_codes_of_their_principal_components(networks_and_parameters, bank):
    """All real slices are one, so that none can be drawn but that one; the linear model in float64 gives its error."""
    networks, params = networks_and_parameters
    params = with_principal(params, networks, random_volumes(16))
    image = random_volumes(1, seed=1)[0, 3].astype(np.float64)
    volumes = bank | {"volumes": jnp.broadcast_to(jnp.asarray(image, jnp.float16), (2, *SHAPE))}
    loss, stats = stage_loss("generator", networks, None, reconstruction_weight=7.0)(params, volumes, jax.random.key(0))
    without, _ = stage_loss("generator", networks, None)(params, volumes, jax.random.key(0))
    mean, basis = (np.asarray(params["generator"]["linear"][name], np.float64) for name in ("bias", "kernel"))
    pixels = 2 * image.reshape(-1) - 1
    codes = basis @ (np.arctanh(0.9 * pixels) - mean) / (basis**2).sum(1)
    expected = np.abs(np.tanh(mean + codes @ basis) / 0.9 - pixels).mean()
    assert expected > 0.01
    np.testing.assert_allclose(stats["reconstruction_error"], expected, rtol=1e-3)
    np.testing.assert_allclose(loss - without, 7 * expected, rtol=2e-3)


def test_codes_are_mixed_as_the_volumes_that_they_are_of(networks_and_parameters):
    """The prior is linear: of codes of `a` and `b` come those of `√(1 - s²) a + s b`, which is normal as they are."""
    networks, params = networks_and_parameters
    prior = with_principal(params, networks, random_volumes(16))["prior"]
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(2, 5, networks.volume_latent_dim))
    share, depth = rng.uniform(size=5), rng.uniform(-1, 1, 5)
    mixed = interpolated_latents(prior, independent_latents(prior, a, depth), b, share, depth)
    share = share[:, None]
    expected = independent_latents(prior, np.sqrt(1 - share**2) * a + share * b, depth)
    np.testing.assert_allclose(mixed, expected, rtol=1e-4, atol=1e-4)


def test_slices_are_drawn_with_the_depths_that_they_are_of():
    """Of volumes whose every slice is as bright as its center is high."""
    heights = (slice_centers(5) + 1) / 2
    volumes = jnp.asarray(np.broadcast_to(heights[:, None, None], (7, 5, 2, 3)), jnp.float32)
    images, depth = draw_slices(volumes, jax.random.key(0), 64, None)
    assert images.shape == (64, 2, 3) and len(np.unique(np.round(depth, 4))) == 5
    np.testing.assert_allclose(images, np.broadcast_to(np.asarray(depth)[:, None, None], images.shape), atol=1e-6)


def test_slices_are_decoded_from_mixed_codes(networks_and_parameters, bank):
    """By the linear model alone what is mixed decodes worse, the more the further."""
    networks, params = networks_and_parameters
    params = with_principal(params, networks, random_volumes(16))

    def error(latent_interpolation):
        loss = stage_loss(
            "generator", networks, None, reconstruction_weight=1.0, latent_interpolation=latent_interpolation
        )
        return float(loss(params, bank, jax.random.key(0))[1]["reconstruction_error"])

    errors = [error(latent_interpolation) for latent_interpolation in (0.0, 0.4, 0.8)]
    assert errors == sorted(errors) and errors[2] > 1.2 * errors[0]


@pytest.mark.parametrize("weight", [0.0, 1.0])
def test_a_generator_that_decodes_keeps_the_components_that_codes_are_of(weight, networks_and_parameters, bank):
    networks, params = networks_and_parameters
    loss = stage_loss("generator", networks, None, reconstruction_weight=weight)
    gradient = jax.grad(lambda x: loss(params | {"generator": x}, bank, jax.random.key(0))[0])(params["generator"])
    assert float(jnp.abs(gradient["correction"]["kernel"]).max()) > 0
    assert (float(jnp.abs(gradient["linear"]["kernel"]).max()) > 0) == (weight == 0)


def test_only_the_mapper_gets_a_gradient_and_chunks_do_not_change_it(networks_and_parameters, bank):
    networks, params = networks_and_parameters

    def gradient(chunk):
        loss = mapper_loss(
            networks,
            shape=SHAPE,
            batch=2,
            positives=8,
            positions=3,
            chunk=chunk,
            planes=("axial", "coronal"),
            particles="segment",
            **DRIFTING,
            axis_name=None,
        )
        frozen = {group: params[group] for group in ("encoder", "prior", "generator")}
        return jax.jit(jax.grad(lambda mapper: loss(frozen | {"mapper": mapper}, bank, jax.random.key(0))[0]))(
            params["mapper"]
        )

    whole = gradient(1000)
    assert max(float(jnp.abs(leaf).max()) for leaf in jax.tree.leaves(whole)) > 0
    assert_trees_close(gradient(5), whole, 1e-4)


def test_chunks_give_every_row_its_own_result():
    rows = jnp.arange(14.0).reshape(7, 2)
    for chunk in (1, 3, 7, 100):
        results = in_chunks(lambda x: {"square": x**2, "sum": x.sum(1)}, rows, chunk)
        np.testing.assert_array_equal(results["square"], rows**2)
        np.testing.assert_array_equal(results["sum"], rows.sum(1))


def test_a_bank_holds_the_features_of_every_slice_and_is_read_again(networks_and_parameters, tmp_path):
    networks, params = networks_and_parameters
    volumes = random_volumes(3)
    bank = make_bank(networks, params, volumes, tmp_path)
    coronal = volumes[2, :, 11].astype(np.float32) * 2 - 1
    expected = networks.encode(params, coronal[None, ..., None])
    assert set(bank["coronal"]) == set(expected)
    for name, x in expected.items():
        np.testing.assert_allclose(bank["coronal"][name][2, 11], x[0], atol=1e-5)
    times = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.npy")}
    assert times
    make_bank(networks, params, volumes, tmp_path)
    assert times == {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.npy")}
    other = make_bank(networks, params, volumes, tmp_path, dtype="bfloat16")
    for name, x in bank["axial"].items():
        assert other["axial"][name].dtype == jnp.bfloat16
        np.testing.assert_allclose(other["axial"][name].astype(np.float32), x, rtol=2**-8, atol=1e-6)


def test_a_bank_with_nan_is_refused(networks_and_parameters, tmp_path):
    networks, params = networks_and_parameters
    broken = params | {"encoder": jax.tree.map(lambda x: x * np.nan, params["encoder"])}
    with pytest.raises(UserError, match="not finite"):
        make_bank(networks, broken, random_volumes(1), tmp_path)
    assert not list(tmp_path.rglob("*.npy"))


def test_samples_do_not_depend_on_chunk_or_on_what_else_is_sampled(networks_and_parameters):
    networks, params = networks_and_parameters
    sample = functools.partial(sample_volumes, networks, params, 7, depth=8)
    volumes = sample(3)
    assert volumes.shape == (3, *SHAPE) and volumes.dtype == np.float32
    assert volumes.min() >= 0 and volumes.max() <= 1
    assert np.abs(volumes[0] - volumes[1]).max() > 1e-3
    for chunk in (1, 3, 8):
        np.testing.assert_allclose(sample(3, chunk=chunk), volumes, atol=1e-6)
    np.testing.assert_array_equal(sample(1, first=2), volumes[2:])


def test_codes_of_a_temperature_are_as_many_times_as_long(networks_and_parameters):
    """The prior is linear, so that codes lie as many times as far from those of zero."""
    networks, params = networks_and_parameters
    key, nothing = jax.random.key(7), jnp.zeros((1, networks.volume_latent_dim))
    mean, once, thrice = (networks.random_latents(params, key, 5, temperature) for temperature in (0.0, 1.0, 3.0))
    assert float(jnp.abs(once - mean).max()) > 0.1
    np.testing.assert_allclose(thrice - mean, 3 * (once - mean), atol=1e-3)
    sample = functools.partial(sample_volumes, networks, params, 7, depth=8)
    np.testing.assert_array_equal(sample(1, temperature=0.0), sample(1, first=1, temperature=0.0))
    z = jax.random.normal(jax.random.fold_in(key, 0), nothing.shape)
    codes = networks.map_depth(params, 1.5 * z, jnp.asarray(slice_centers(8)))[0]
    expected = np.clip((networks.generate(params, codes) + 1) / 2, 0, 1)
    np.testing.assert_allclose(sample(1, temperature=1.5)[0], expected, atol=1e-5)


def test_any_depth_can_be_sampled_and_slices_stay_where_they_are(networks_and_parameters):
    networks, params = networks_and_parameters
    sample = functools.partial(sample_volumes, networks, params, 7, 1)
    coarse, fine = sample(depth=8)[0], sample(depth=24)[0]
    np.testing.assert_allclose(fine[1::3], coarse, atol=1e-5)


@pytest.mark.parametrize(("configured", "spacing"), [(6.0, 6.0), (0.0, 2.0)], ids=["configured", "WDM"])
def test_samples_have_the_voxel_size_of_the_volumes_of_training(networks_and_parameters, tmp_path, configured, spacing):
    config = small_config()
    config.data.spacing = configured
    trained = TrainedGeneration(config, *networks_and_parameters, SHAPE, "mapper", 1)
    path, *_ = synthesize_samples(trained, 1, 0, tmp_path, depth=16)
    assert nib.load(path).header.get_zooms() == (spacing, spacing, spacing / 2)


def test_independent_slices_have_nothing_in_common(networks_and_parameters):
    networks, params = networks_and_parameters
    volume = sample_independent_slices(networks, params, 7, 1, depth=8, chunk=3)[0]
    assert volume.shape == SHAPE
    assert len({slice_.tobytes() for slice_ in volume}) == 8


def test_latents_of_a_mapper_without_a_prior_have_a_mean_square_of_one():
    mapper = DepthMapper(slice_latent_dim=6, hidden=8, layers=1, frequencies=2)
    z, depth = jax.random.normal(jax.random.key(0), (3, 5)), jnp.linspace(-1, 1, 4)
    latents = mapper.apply(mapper.init(jax.random.key(1), z, depth), z, depth)
    np.testing.assert_allclose((latents**2).mean(-1), np.ones((3, 4)), rtol=1e-5)


@pytest.mark.parametrize("slices", [3, 16, 32, 48, 128, 155])
def test_the_mapper_knows_no_waves_that_the_slices_of_training_do_not_resolve(slices):
    frequencies = generation_networks(small_config(), (slices, 16, 16)).mapper.frequencies
    fastest = np.asarray(fourier_features(slice_centers(slices), frequencies))[:, [frequencies - 1, -1]]
    steps = np.abs(np.diff(np.unwrap(np.arctan2(*fastest.T))))
    assert np.pi / 4 < steps.max() < np.pi / 2 + 1e-3


def test_what_a_mapper_learns_at_its_slices_holds_between_them():
    """Least squares on the features, as a toy mapper: with one frequency more it errs between the slices."""
    slices, smooth = 32, lambda depth: np.exp(-4 * (depth - 0.3) ** 2)
    known, between = slice_centers(slices), slice_centers(5 * slices)[5:-5]

    def error(frequencies):
        features = [np.asarray(fourier_features(depth, frequencies), np.float64) for depth in (known, between)]
        weights = np.linalg.lstsq(features[0], smooth(known), rcond=1e-10)[0]
        at_slices, elsewhere = (
            np.abs(x @ weights - smooth(depth)).max() for x, depth in zip(features, (known, between), strict=True)
        )
        return elsewhere / at_slices

    assert error(resolved_frequencies(slices)) < 3
    assert error(resolved_frequencies(slices) + 1) > 15


def test_random_codes_are_of_slices_and_of_nothing_between_them():
    networks, params = small_networks()
    bias = np.tile(np.float32([[1], [-1]]), (SHAPE[0] // 2, params["prior"]["bias"].shape[1]))
    params = params | {"prior": {"kernel": 0 * params["prior"]["kernel"], "bias": bias}}
    codes = networks.random_latents(params, jax.random.key(0), 64)
    np.testing.assert_allclose(np.abs(codes), 1, atol=1e-5)
    assert len(np.unique(np.sign(codes))) == 2


def test_the_papers_mapper_has_about_as_many_parameters_as_the_paper_says():
    from configs.brats_unconditional import get_config

    config = get_config()
    mapper = generation_networks(config, (128, 128, 128)).mapper
    shapes = jax.eval_shape(
        mapper.init, jax.random.key(0), jnp.zeros((1, config.model.mapper.volume_latent_dim)), jnp.zeros(1)
    )
    count = sum(leaf.size for leaf in jax.tree.leaves(shapes))
    assert count == pytest.approx(1.455e6, rel=0.01)


@pytest.mark.parametrize(
    ("values", "shape", "message"),
    [
        ({}, (16, 8, 15, 16), "encoder"),
        ({"model.generator.depth_to_space": 4}, (16, 8, 12, 12), "config.model.generator"),
        ({"stage.mapper.positives": 32}, (16, *SHAPE), "config.stage.mapper.positives"),
        ({"stage.mapper.positions": 9}, (16, *SHAPE), "config.stage.mapper.positions"),
        ({"stage.mapper.positions": 1}, (16, *SHAPE), "config.stage.mapper.positions"),
    ],
)
def test_volumes_that_networks_or_settings_cannot_take_are_refused_by_key(values, shape, message):
    from lift_jax.models.generation_networks import generation_networks

    config = small_config()
    config.update_from_flattened_dict(values)
    with pytest.raises(UserError, match=message):
        check_shapes(generation_networks(config, shape[1:]), config, shape[1:])
        check_count(config, shape[0])
