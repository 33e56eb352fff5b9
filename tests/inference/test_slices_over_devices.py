"""One volume over several devices: the result of one, and what is sent between them."""

import jax
import numpy as np
import pytest

from benchmarks.collectives import collective_bytes
from configs.quickstart import get_config
from lift_jax.evaluation.cost import lowered_passes
from lift_jax.inference.translate import SLICE_AXIS, slice_mesh, translate_volume
from lift_jax.models.volume_translator import volume_translator
from lift_jax.trained import Trained, for_inference
from tests.small_network import CHANNELS, MR, random_parameters, random_slab, small_network

AVAILABLE = (True, True, True, False)


def mesh_of(devices):
    return jax.sharding.Mesh(np.array(jax.devices()[:devices]), (SLICE_AXIS,))


def test_the_mesh_is_of_all_devices_of_this_process():
    assert slice_mesh() == mesh_of(jax.local_device_count())
    assert slice_mesh().size == 8


@pytest.fixture(scope="module", params=["gru", "none"])
def trained(request):
    network = small_network(request.param, widths=(8, 16) if request.param == "gru" else (8,))
    return network, random_parameters(network)


@pytest.mark.parametrize("skip_cache_gib", [1.0, 0.0])
def test_a_volume_over_devices_equals_that_of_one(trained, skip_cache_gib):
    """With as many slices a device at a time: other shapes of chunks round differently, on one device too."""
    sources = random_slab(1, 13, 13, 16)["sources"][0]
    options = {"chunk": 1, "skip_cache_gib": skip_cache_gib}
    expected = translate_volume(*trained, sources, AVAILABLE, (3, 1), **options)
    result = translate_volume(*trained, sources, AVAILABLE, (3, 1), mesh=mesh_of(8), **options)
    assert (result.shape, result.dtype) == (expected.shape, np.float32)
    np.testing.assert_allclose(result, expected, atol=1e-5)


@pytest.mark.parametrize("side", [16, 32])
def test_only_what_was_pooled_is_sent_however_large_the_slices(side):
    network, slices = small_network(), 13
    shape = (slices, side, side, CHANNELS)
    params = jax.eval_shape(lambda: random_parameters(network))
    mesh = mesh_of(8)
    programs = lowered_passes(network, params, shape, 1, mesh)
    statistics = 2 * CHANNELS + CHANNELS * (CHANNELS + 1) // 2 + 1
    pooled = 4 * (statistics + network.translator.widths[-1])
    encode, mix, decode = (collective_bytes(program.compile().as_text()) for program in programs)
    assert encode == {"all-gather": (1, 8 * pooled)}  # and a volume is sent in two such chunks, 16 slices with filling
    assert mix == decode == {}


def test_a_run_is_put_on_all_devices_and_its_activations_are_of_the_type_that_is_asked_for():
    config = get_config("tiny")
    network = volume_translator(config.model, MR)
    run = Trained(config, MR, network, random_parameters(network), "joint", 24)
    same, rounded = for_inference(run), for_inference(run, "bfloat16")
    assert same.options == {"chunk": 32, "skip_cache_gib": 1.0, "in_foreground_box": False, "mesh": slice_mesh()}
    assert all(leaf.sharding.is_fully_replicated and len(leaf.devices()) == 8 for leaf in jax.tree.leaves(same.params))
    assert (same.network, same.config) == (network, config)
    assert rounded.network == volume_translator(rounded.config.model, MR) != network
    assert (rounded.config.model.translator.dtype, config.model.translator.dtype) == ("bfloat16", "float32")
