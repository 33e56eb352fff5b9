"""What a translation is said to cost."""

import functools

import jax
import jax.numpy as jnp
import pytest

from lift_jax.evaluation.cost import lowered_passes, translation_flops
from lift_jax.inference.translate import mix_slices
from tests.small_network import CHANNELS, random_parameters, small_network

SHAPE = (12, 16, 16, CHANNELS)


def operations(lowered):
    return lowered.cost_analysis()["flops"]


def mixing(network, params, features=35):
    """The lowered mixer, traced anew."""
    inputs = jnp.zeros((SHAPE[0], 1, 1, features)), jnp.zeros(SHAPE[0]), jnp.zeros(CHANNELS)
    traced = jax.jit(lambda params, *arrays: mix_slices.__wrapped__(network, params, *arrays, 3))
    return traced.lower(params, *inputs)


def test_the_loop_of_the_recurrence_is_counted_for_every_slice(monkeypatch):
    """Against the same recurrence without a loop; what is not products is left out, a few in a hundred."""
    network = small_network(hidden=32)
    params = jax.eval_shape(lambda: random_parameters(network))
    rolled = operations(mixing(network, params))
    monkeypatch.setattr(jax.lax, "scan", functools.partial(jax.lax.scan, unroll=True))
    missed = operations(mixing(network, params)) - rolled
    assert 0.9 * missed < 11 * 12 * 32**2 <= missed


@pytest.mark.parametrize(("mixer", "added"), [("gru", 11 * 12 * 6**2), ("convolution", 0), ("none", 0)])
def test_a_volume_costs_its_chunks_and_its_mixer(mixer, added):
    network = small_network(mixer, widths=(8,))
    params = jax.eval_shape(lambda: random_parameters(network))
    programs = lowered_passes(network, params, SHAPE, 4)
    encode, mix, decode = ((part.compile().cost_analysis() or {}).get("flops", 0) for part in programs)
    once = translation_flops(network, params, SHAPE, chunk=4, skip_cache_gib=1.0)
    twice = translation_flops(network, params, SHAPE, chunk=4, skip_cache_gib=0.0)
    assert once == pytest.approx(3 * (encode + decode) + mix + added)
    assert twice - once == pytest.approx(3 * encode)
    assert (mix > 0) == (mixer != "none")
