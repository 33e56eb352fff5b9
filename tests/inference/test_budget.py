"""How a volume is divided into chunks, and what of it is kept between the passes, within a budget of memory."""

import functools
import math

import jax
import jax.numpy as jnp
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lift_jax.inference.translate import decode_chunk, encode_chunk, plan_chunks, slice_bytes
from tests.small_network import random_parameters, small_network

SHAPE = (7, 16, 16, 4)
FEATURES = 4 * (16**2 * (4 + 8) + 8**2 * 16)
"""Bytes of a slice: widths (8, 16) at 16 x 16 keep the four sources, the finest features and the bottleneck."""


@pytest.fixture(scope="module")
def trained():
    network = small_network()
    return network, random_parameters(network)


def test_keeping_features_counts_their_bytes_with_what_fills_up_the_last_chunk(trained):
    needed = 9 * FEATURES / 2**30  # 7 slices in chunks of 3 make 9
    assert plan_chunks(*trained, SHAPE, chunk=3, skip_cache_gib=needed) == (3, True)
    assert plan_chunks(*trained, SHAPE, chunk=3, skip_cache_gib=needed * 0.999) == (3, False)


def test_each_device_keeps_its_own_share(trained):
    assert plan_chunks(*trained, SHAPE, chunk=3, skip_cache_gib=2 * FEATURES / 2**30, devices=4) == (2, True)
    assert plan_chunks(*trained, SHAPE, chunk=3, skip_cache_gib=1.99 * FEATURES / 2**30, devices=4) == (2, False)


@pytest.mark.parametrize(("depth", "most", "slices"), [(155, 8, 8), (155, 100, 78), (9, 8, 5), (1, 8, 1), (7, 50, 7)])
def test_chunks_are_as_few_as_must_be_and_as_equal_as_can_be(trained, depth, most, slices):
    assert plan_chunks(*trained, (depth, *SHAPE[1:]), chunk=most, skip_cache_gib=1.0).slices == slices


@settings(deadline=None, max_examples=50)
@given(depth=st.integers(1, 300), budgets=st.lists(st.floats(0, 1e-2), min_size=2, max_size=2))
def test_more_memory_never_encodes_more_often_or_in_smaller_chunks_of_the_same_kind(depth, budgets):
    network, params = small_network(), _shapes()
    shape = (depth, *SHAPE[1:])
    less, more = (plan_chunks(network, params, shape, chunk=0, skip_cache_gib=budget) for budget in sorted(budgets))
    assert more.kept >= less.kept
    if more.kept == less.kept:
        assert 1 <= less.slices <= more.slices <= depth


@settings(deadline=None, max_examples=50)
@given(depth=st.integers(1, 300), budget=st.floats(1e-4, 1e-1))
def test_a_chosen_chunk_stays_within_the_budget_and_keeps_features_if_there_is_room(depth, budget):
    network, params = small_network(), _shapes()
    features, workspace = slice_bytes(network, params, SHAPE[1:])
    assert features == FEATURES
    slices, kept = plan_chunks(network, params, (depth, *SHAPE[1:]), chunk=0, skip_cache_gib=budget)
    used = features * (depth if kept else slices) + workspace * slices
    assert used <= budget * 2**30 or (slices, kept) == (1, False)
    assert kept == (features * depth + workspace <= budget * 2**30)


@pytest.mark.parametrize("stem", [1, 4])
def test_the_workspace_covers_what_the_compiler_plans(stem):
    """Of the arrays between encoding and decoding, and of all that computing takes beside them."""
    network = small_network("none", space_to_depth=stem)
    params = jax.eval_shape(lambda: random_parameters(network))
    shape, available = (2, 16, 16, 4), jax.ShapeDtypeStruct((4,), jnp.float32)
    inputs = params, jax.ShapeDtypeStruct(shape, jnp.float32), available
    skips, bottleneck, _ = jax.eval_shape(functools.partial(encode_chunk, network), *inputs)
    programs = (
        encode_chunk.lower(network, *inputs),
        decode_chunk.lower(network, params, skips, bottleneck, available, 0, None),
    )
    features, workspace = slice_bytes(network, params, shape[1:])
    assert features * shape[0] == sum(math.prod(x.shape) * x.dtype.itemsize for x in [*skips, bottleneck])
    taken = max(program.compile().memory_analysis().temp_size_in_bytes for program in programs)
    assert workspace * shape[0] / 8 <= taken <= workspace * shape[0]


@functools.cache
def _shapes():
    return random_parameters(small_network())
