"""LiFT-C's network, and its translation of whole volumes in two passes."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from lift_jax.data.geometry import depth_coordinates, slice_centers
from lift_jax.inference.translate import decode_chunk, encode_chunk, mix_slices, plan_chunks, translate_volume
from lift_jax.models.layers import depth_to_space, fourier_features, modulate, space_to_depth, upsample
from lift_jax.models.slice_translator import with_products
from tests.small_network import CHANNELS, random_parameters, random_slab, small_network

AVAILABLE = (True, True, True, False)


@functools.partial(jax.jit, static_argnums=(0,), static_argnames="use_mixer")
def apply(network, params, slab, use_mixer=True):
    """`[B, D, H, W]` in one pass."""
    inputs = (slab[key] for key in ("sources", "available", "target_onehot", "depth"))
    return network.apply({"params": params}, *inputs, use_mixer=use_mixer)


def untrained(network, params):
    """The parameters with the mixer as at the start: its last projection zero (see test_z_mixer.py)."""
    mixer = params["mixer"] | {"context": jax.tree.map(jnp.zeros_like, params["mixer"]["context"])}
    return params | {"mixer": mixer}


def volume(depth=7, height=16, width=16, seed=0):
    return random_slab(1, depth, height, width, seed)["sources"][0]


def one_pass(network, params, sources, target):
    """What `translate_volume` is to equal, for sides that are multiples of the network's: `[D, H, W]`."""
    slab = {
        "sources": sources[None],
        "available": np.float32([AVAILABLE]),
        "target_onehot": np.eye(CHANNELS, dtype=np.float32)[[target]],
        "depth": depth_coordinates(len(sources))[None],
    }
    return apply(network, params, slab)[0]


@pytest.mark.parametrize("factor", [1, 2, 4])
def test_space_to_depth_and_depth_to_space_undo_each_other(factor):
    x = np.random.default_rng(0).normal(size=(2, 8, 12, 3)).astype(np.float32)
    folded = space_to_depth(x, factor)
    assert folded.shape == (2, 8 // factor, 12 // factor, 3 * factor**2)
    np.testing.assert_array_equal(depth_to_space(folded, factor), x)


def test_space_to_depth_keeps_neighborhoods_together():
    x = np.arange(16, dtype=np.float32).reshape(1, 4, 4, 1)
    np.testing.assert_array_equal(space_to_depth(x, 2)[0, 0, 1], [2, 3, 6, 7])


def test_upsampling_repeats_pixels():
    x = np.arange(4, dtype=np.float32).reshape(1, 2, 2, 1)
    np.testing.assert_array_equal(upsample(x)[0, :, :, 0], np.kron(x[0, :, :, 0], np.ones((2, 2))))


def test_modulation_scales_and_shifts_features_and_zeros_change_nothing():
    rng = np.random.default_rng(0)
    x, scale, shift = rng.normal(size=(2, 8, 8, 3)), rng.normal(size=(2, 1, 1, 3)), rng.normal(size=(2, 1, 1, 3))
    x, scale, shift = (array.astype(np.float32) for array in (x, scale, shift))
    np.testing.assert_allclose(modulate(x, scale, shift), x * (1 + scale) + shift, rtol=1e-6)
    cells = np.zeros((2, 2, 2, 3), np.float32)
    np.testing.assert_array_equal(modulate(x, cells, cells), x)
    np.testing.assert_allclose(modulate(x, cells + 0.5, cells + 2), 1.5 * x + 2, rtol=1e-6)


def test_depth_features_are_sines_and_cosines_of_doubling_frequencies():
    depth = np.float32([[-1, -0.3, 0.7, 1]])
    angles = np.pi / 2 * np.array([1, 2, 4, 8]) * depth[..., None].astype(np.float64)
    expected = np.concatenate([np.sin(angles), np.cos(angles)], axis=-1)
    np.testing.assert_allclose(fourier_features(depth, 4), expected, atol=2e-6)


@pytest.mark.parametrize(("trained", "depth"), [(16, 31), (32, 8), (128, 155)])
def test_slices_of_another_depth_have_the_pitch_that_fills_the_field_of_view_of_training(trained, depth):
    pitch = np.diff(slice_centers(depth)) / np.diff(slice_centers(trained))[0]
    np.testing.assert_allclose(pitch, trained / depth, rtol=1e-3)
    ends = slice_centers(depth)[[0, -1]] + np.array([-1, 1]) / depth  # the outer faces
    np.testing.assert_allclose(ends, [-1, 1], atol=1e-6)


def test_depths_span_the_volume_and_a_lone_slice_lies_in_the_middle():
    np.testing.assert_allclose(depth_coordinates(5), [-1, -0.5, 0, 0.5, 1])
    np.testing.assert_array_equal(depth_coordinates(1), [0])


@pytest.mark.parametrize("stem", [1, 2, 4])
@pytest.mark.parametrize("grid", [1, 2])
def test_slabs_keep_their_shape_for_every_stem_and_grid(stem, grid):
    network = small_network(space_to_depth=stem, grid=grid)
    shapes = jax.eval_shape(
        lambda params, slab: network.apply(
            {"params": params}, slab["sources"], slab["available"], slab["target_onehot"], slab["depth"]
        ),
        random_parameters(network),
        random_slab(2, 3, 16, 24),
    )
    assert network.translator.multiple == 2 * stem
    assert (shapes.shape, shapes.dtype) == ((2, 3, 16, 24), jnp.float32)


def test_an_untrained_mixer_leaves_the_translator_exactly_as_it_was():
    with_mixer, without = small_network(), small_network("none")
    params = untrained(with_mixer, random_parameters(with_mixer))
    alone = {"translator": params["translator"]}
    slab = random_slab()
    expected = apply(without, alone, slab)
    np.testing.assert_array_equal(apply(with_mixer, params, slab), expected)
    np.testing.assert_array_equal(apply(with_mixer, params, slab, use_mixer=False), expected)
    np.testing.assert_array_equal(
        translate_volume(with_mixer, params, volume(), AVAILABLE, (3,), chunk=4),
        translate_volume(without, alone, volume(), AVAILABLE, (3,), chunk=4),
    )


def test_a_network_without_mixer_has_no_mixer_parameters():
    assert random_parameters(small_network("none")).keys() == {"translator"}


def test_an_untrained_convolution_changes_nothing_and_a_trained_one_does():
    network = small_network("convolution")
    params = random_parameters(network)
    slab = random_slab()
    alone = apply(network, params, slab, use_mixer=False)
    np.testing.assert_array_equal(apply(network, untrained(network, params), slab), alone)
    assert np.abs(apply(network, params, slab) - alone).max() > 1e-4
    assert "convolution" in params["mixer"]


def test_an_unknown_mixer_is_refused():
    with pytest.raises(ValueError, match="mixer kind 'lstm' is none of gru, convolution, none"):
        random_parameters(small_network("lstm"))


@pytest.fixture(scope="module")
def trained():
    """A network with a mixer, and arbitrary parameters."""
    network = small_network()
    return network, random_parameters(network)


def test_a_source_that_is_not_available_is_not_looked_at(trained):
    slab = random_slab()
    other = slab | {"sources": slab["sources"].copy()}
    other["sources"][..., 3] = np.nan
    np.testing.assert_array_equal(apply(*trained, other), apply(*trained, slab))
    sources = other["sources"][0]
    np.testing.assert_array_equal(
        translate_volume(*trained, sources, AVAILABLE, (3,)),
        translate_volume(*trained, slab["sources"][0], AVAILABLE, (3,)),
    )


@pytest.mark.parametrize("key", ["available", "target_onehot"])
def test_the_output_depends_on_what_there_is_and_on_what_is_wanted(trained, key):
    slab = random_slab()
    other = slab | {key: np.roll(slab[key], 1, axis=1)}
    # The channel that differs is the same air in both, so that only the condition separates them.
    slab["sources"][..., [0, 3]] = other["sources"][..., [0, 3]] = -1
    assert np.abs(apply(*trained, other) - apply(*trained, slab)).max() > 1e-3


def test_without_a_mixer_slices_are_independent_of_each_other(trained):
    network, params = trained
    slab, order = random_slab(), [2, 0, 3, 1]
    shuffled = slab | {"sources": slab["sources"][:, order]}
    straight = apply(network, params, slab, use_mixer=False)
    np.testing.assert_array_equal(apply(network, params, shuffled, use_mixer=False), straight[:, order])


def test_the_mixer_carries_context_from_every_slice_to_every_other(trained):
    slab = random_slab()
    before = apply(*trained, slab)
    for source in range(4):
        changed = slab | {"sources": slab["sources"].copy()}
        changed["sources"][:, source] *= 0.2
        effect = np.abs(apply(*trained, changed) - before).max(axis=(0, 2, 3))
        assert (effect > 1e-5).all(), (source, effect)


def test_slabs_of_a_batch_do_not_see_each_other(trained):
    slab = random_slab(batch=2)
    changed = slab | {"sources": slab["sources"].copy()}
    changed["sources"][1] *= 0.2
    np.testing.assert_array_equal(apply(*trained, changed)[0], apply(*trained, slab)[0])


def test_recomputing_blocks_changes_neither_outputs_nor_gradients():
    slab = random_slab()

    def value_and_gradients(remat):
        network = small_network("none", widths=(8,), remat=remat)
        loss = jax.value_and_grad(lambda params: (apply(network, params, slab) ** 2).mean())
        return jax.jit(loss)(random_parameters(network))

    recomputed, expected = value_and_gradients(True), value_and_gradients(False)
    jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6), recomputed, expected)


def test_bfloat16_activations_stay_close_to_float32(trained):
    network, params = trained
    exact = apply(network, params, random_slab())
    rounded = apply(small_network(dtype="bfloat16"), params, random_slab())
    assert rounded.dtype == jnp.float32
    difference = np.abs(rounded - exact)
    assert 0 < difference.mean() < 0.02 * np.abs(exact).mean()


@pytest.mark.parametrize(("chunk", "skip_cache_gib"), [(1, 1.0), (3, 1.0), (3, 0.0), (0, 1.0), (50, 0.0)])
def test_two_passes_equal_one_for_any_chunk_with_skips_kept_or_encoded_again(trained, chunk, skip_cache_gib):
    network, params = trained
    sources = volume()
    assert plan_chunks(network, params, sources.shape, chunk=chunk, skip_cache_gib=skip_cache_gib).kept == (
        skip_cache_gib > 0
    )
    result = translate_volume(network, params, sources, AVAILABLE, (3,), chunk=chunk, skip_cache_gib=skip_cache_gib)
    assert (result.shape, result.dtype) == ((1, 7, 16, 16), np.float32)
    # Sums in chunks round differently, and the mixer sees what sets a slice apart from its neighbors tenfold.
    np.testing.assert_allclose(result[0], one_pass(network, params, sources, 3), atol=1e-4)


def test_sides_that_need_padding_are_padded_with_air_and_cropped_back():
    network = small_network(space_to_depth=2)
    params = random_parameters(network)
    sources = volume(depth=3, height=13, width=18)
    padded = np.pad(sources, ((0, 0), (1, 2), (1, 1), (0, 0)), constant_values=-1)
    expected = one_pass(network, params, padded, 3)[:, 1:14, 1:19]
    np.testing.assert_allclose(translate_volume(network, params, sources, AVAILABLE, (3,))[0], expected, atol=1e-5)


def test_a_grid_of_cells_works_for_whole_volumes():
    network = small_network(grid=2)
    params = random_parameters(network)
    sources = volume(depth=5)
    result = translate_volume(network, params, sources, AVAILABLE, (3,), chunk=2)
    np.testing.assert_allclose(result[0], one_pass(network, params, sources, 3), atol=1e-5)


def test_targets_that_are_decoded_together_equal_those_decoded_alone(trained):
    together = translate_volume(*trained, volume(), AVAILABLE, (3, 1), chunk=3)
    for row, target in zip(together, (3, 1), strict=True):
        np.testing.assert_array_equal(row, translate_volume(*trained, volume(), AVAILABLE, (target,), chunk=3)[0])
    assert np.abs(together[0] - together[1]).max() > 1e-3


def test_volumes_of_one_shape_are_compiled_for_once_whatever_is_available_and_wanted(trained):
    def compiled():
        return [function._cache_size() for function in (encode_chunk, mix_slices, decode_chunk)]

    translate_volume(*trained, volume(), AVAILABLE, (3,), chunk=3)
    before = compiled()
    translate_volume(*trained, volume(seed=1), (False, True, False, True), (0, 2), chunk=3)
    assert compiled() == before


def test_a_single_slice_is_a_volume(trained):
    sources = volume(depth=1)
    result = translate_volume(*trained, sources, AVAILABLE, (3,))
    np.testing.assert_allclose(result[0], one_pass(*trained, sources, 3), atol=1e-5)


def test_products_let_a_network_without_features_square_and_multiply_its_sources():
    shown = np.random.default_rng(0).uniform(0, 2, (2, 3, 4, CHANNELS)).astype(np.float32)
    terms = with_products(jnp.asarray(shown))
    assert terms.shape[-1] == CHANNELS * (CHANNELS + 3) // 2
    np.testing.assert_array_equal(terms[..., :CHANNELS], shown)
    pairs = [shown[..., i] * shown[..., j] / 2 for i in range(CHANNELS) for j in range(i, CHANNELS)]
    np.testing.assert_allclose(terms[..., CHANNELS:], np.stack(pairs, axis=-1), rtol=1e-6)


def test_a_network_with_products_translates_and_ignores_what_is_not_available(trained):
    network, _ = trained
    network = network.clone(translator=network.translator.clone(products=True))
    params, slab = random_parameters(network), random_slab(1, 3, 16, 16)
    made = apply(network, params, slab)
    assert made.shape == (1, 3, 16, 16) and np.isfinite(made).all()
    hidden = slab | {"available": np.float32([AVAILABLE])}
    other = hidden | {"sources": slab["sources"].copy()}
    other["sources"][..., 3] = 0.5
    np.testing.assert_array_equal(apply(network, params, hidden), apply(network, params, other))
