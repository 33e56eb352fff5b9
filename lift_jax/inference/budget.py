"""How much of a volume is on a device at a time: what is kept between the passes, and the slices of a chunk."""

import functools
import math
from typing import NamedTuple

import jax
import jax.numpy as jnp

from lift_jax.inference.chunked import encode_chunk
from lift_jax.models.volume_translator import VolumeTranslator

WORKSPACE = 8
"""What computing a slice takes beside its features, in units of its sources and finest features in float32.

XLA's plan for a CPU takes 2.4 to 6.6 of them, for space-to-depth factors 1, 2 and 4 and both dtypes; libraries of
convolutions take some more.
"""


class Chunks(NamedTuple):
    """A way to go through a volume: slices on a device at a time, and whether features are kept between the passes."""

    slices: int
    kept: bool


def plan_chunks(
    network: VolumeTranslator,
    params: dict,
    shape: tuple[int, int, int, int],
    *,
    chunk: int,
    skip_cache_gib: float,
    devices: int = 1,
) -> Chunks:
    """How to translate a volume within a budget; keeping all features, which saves a second encoding, comes first.

    Chunks of one volume are as equal as can be, because the last one is filled up to the others' size.

    Args:
      network, params: as in `translate_volume`; the parameters may be shapes alone.
      shape: `(D, H, W, C)` of the sources.
      chunk: the most slices on a device at a time; 0: as many as the budget leaves room for, and one if it leaves none.
      skip_cache_gib: the budget of each device, GiB.
      devices: over which slices are divided.
    """
    share, budget = -(-shape[0] // devices), skip_cache_gib * 2**30
    features, workspace = slice_bytes(network, params, shape[1:])
    if chunk:
        slices = _equal(share, chunk)
        return Chunks(slices, features * slices * -(-share // slices) <= budget)
    left = budget - features * share
    if left >= workspace:
        return Chunks(_equal(share, int(left // workspace)), True)
    return Chunks(_equal(share, max(int(budget // (features + workspace)), 1)), False)


def slice_bytes(network: VolumeTranslator, params: dict, shape: tuple[int, int, int]) -> tuple[int, int]:
    """Bytes of a slice `(H, W, C)`: of its features, which pass 2 needs, and of what computing takes beside them."""
    height, width, channels = shape
    multiple = network.translator.multiple
    padded = (1, height + -height % multiple, width + -width % multiple, channels)
    skips, bottleneck, _ = jax.eval_shape(
        functools.partial(encode_chunk, network),
        params,
        jax.ShapeDtypeStruct(padded, jnp.float32),
        jax.ShapeDtypeStruct((channels,), jnp.float32),
    )
    arrays = [*skips, bottleneck]
    features = sum(math.prod(x.shape) * x.dtype.itemsize for x in arrays)
    return features, WORKSPACE * 4 * (math.prod(padded) + math.prod(arrays[1].shape))


def _equal(slices: int, most: int) -> int:
    """The size of chunks of at most so many slices, with as few chunks as there must be, and those equal."""
    chunks = -(-slices // most)
    return -(-slices // chunks)
