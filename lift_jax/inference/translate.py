"""Two-pass translation of a whole volume: memory does not grow with its depth.

Pass 1 encodes the slices, chunk by chunk, and keeps the mixer's input, a few numbers a slice. The mixer runs over the
whole depth, once for each target. Pass 2 decodes chunk by chunk with the context, from skips that were kept if they fit
in memory, else from encoding again. Over a mesh, each device has an equal share of a chunk's slices; only the mixer's
input is gathered.
"""

import functools
import math
from collections.abc import Sequence
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P
from jax.typing import ArrayLike

from lift_jax.data.channels import Channels
from lift_jax.data.geometry import depth_coordinates
from lift_jax.data.intensity import from_network, to_network
from lift_jax.data.subject import Subject, foreground, foreground_box
from lift_jax.models.slice_translator import BACKGROUND
from lift_jax.models.volume_translator import VolumeTranslator

SLICE_AXIS = "slices"

SHARDED, REPLICATED = P(SLICE_AXIS), P()
"""Layouts on a mesh: slices, the first axis, divided over the devices, or all of an array on each."""


def predict_channels(
    network: VolumeTranslator,
    params: dict,
    channels: Channels,
    subject: Subject,
    sources: Sequence[str],
    targets: Sequence[str],
    *,
    chunk: int,
    skip_cache_gib: float,
    in_foreground_box: bool = True,
    mesh: jax.sharding.Mesh | None = None,
) -> dict[str, np.ndarray]:
    """Target channels of a subject, each `[D, H, W]` float32 in the unit of its protocol, clipped to its range.

    Outside the foreground that the sources show they are the protocol's background.

    Args:
      network: the network; params: its parameters.
      channels: its channels.
      subject: of whose images those of `sources` are used, and no others.
      sources: channels to predict from, which the subject has.
      targets: channels to predict.
      chunk, skip_cache_gib, mesh: see `translate_volume`.
      in_foreground_box: compute only the box around the foreground, see `foreground_box`; else the whole grid.
    """
    inside = foreground(subject, sources, channels.protocols)
    box = foreground_box(inside).slices if in_foreground_box else (slice(None),) * 3
    given = np.full((*inside[box].shape, len(channels.sources)), BACKGROUND, np.float32)
    for channel in sources:
        part = to_network(channels.protocols[channel], subject.images[channel][box])
        given[..., channels.sources.index(channel)] = part
    predictions = translate_volume(
        network,
        params,
        given,
        np.isin(channels.sources, sources),
        [channels.targets.index(target) for target in targets],
        chunk=chunk,
        skip_cache_gib=skip_cache_gib,
        mesh=mesh,
    )
    results = {}
    for target, prediction in zip(targets, predictions, strict=True):
        protocol = channels.protocols[target]
        results[target] = np.full(subject.shape, protocol.background, np.float32)
        results[target][box] = np.where(inside[box], from_network(protocol, prediction), protocol.background)
    return results


def translate_volume(
    network: VolumeTranslator,
    params: dict,
    sources: np.ndarray,
    available: ArrayLike,
    targets: Sequence[int],
    *,
    chunk: int = 8,
    skip_cache_gib: float = 1.0,
    mesh: jax.sharding.Mesh | None = None,
) -> np.ndarray:
    """Target channels of a volume of any size, `[len(targets), D, H, W]` float32 in network intensities (not clamped).

    Slices are padded with background to the network's multiple, and the result is cropped back. Compiled functions are
    kept per network, chunk and slice size.

    Args:
      network: the network.
      params: its parameters.
      sources: `[D, H, W, S]` in [-1, 1]; what it holds of channels that are not available has no effect.
      available: `[S]`, which sources are given.
      targets: numbers of target channels; all are decoded from one encoding.
      chunk: the most slices on a device at a time; 0: as many as fit, see `plan_chunks`.
      skip_cache_gib: GiB of each device; if its slices' features fit, they are kept and pass 2 does not encode again.
      mesh: devices over which slices are divided, as `slice_mesh` makes it; only what was pooled is sent between them.
    """
    depth, height, width, _ = sources.shape
    devices = 1 if mesh is None else mesh.size
    slices, keep = plan_chunks(
        network, params, sources.shape, chunk=chunk, skip_cache_gib=skip_cache_gib, devices=devices
    )
    count = slices * devices
    starts = range(0, depth, count)
    padding = _padding(height, width, network.translator.multiple)
    params = place(params, mesh)
    available, depths = place((np.asarray(available, np.float32), depth_coordinates(depth)), mesh)

    def encode(start):
        part = np.pad(_rows(sources, start, count), ((0, 0), *padding, (0, 0)), constant_values=BACKGROUND)
        return encode_chunk(network, params, place(part, mesh, SHARDED), available, mesh=mesh)

    kept, parts = [], []
    for start in starts:
        skips, bottleneck, pooled_part = encode(start)
        # Waiting bounds memory: without it all chunks are on their way at once.
        parts.append(pooled_part.block_until_ready())
        kept.append((skips, bottleneck) if keep else None)
        del skips, bottleneck
    pooled = jnp.concatenate(parts)[:depth]
    contexts = [mix_slices(network, params, pooled, depths, available, target) for target in targets]

    result = np.empty((len(targets), depth, height, width), np.float32)
    (top, _), (left, _) = padding
    for i, start in enumerate(starts):
        features = kept[i] or encode(start)[:2]
        kept[i] = None
        stop = min(start + count, depth)
        for j, target in enumerate(targets):
            context = _rows(contexts[j], start, count)
            decoded = decode_chunk(network, params, *features, available, target, context, mesh=mesh)
            result[j, start:stop] = np.asarray(decoded)[: stop - start, top : top + height, left : left + width]
        del features
    return result


def slice_mesh() -> Mesh | None:
    """The devices of this process in a row, over which slices are divided; None where there is only one."""
    devices = jax.local_devices()
    return Mesh(np.array(devices), (SLICE_AXIS,)) if len(devices) > 1 else None


def place(tree, mesh: Mesh | None, layout: P = REPLICATED):
    """Arrays on the devices of a mesh in a layout, or on the one device."""
    return jax.device_put(tree, None if mesh is None else NamedSharding(mesh, layout))


@functools.partial(jax.jit, static_argnums=0, static_argnames="mesh")
def encode_chunk(network, params, sources, available, mesh=None):
    """A chunk `[n, H, W, C]` to `(skips, bottleneck, pooled [n, g, g, F])`, the last on every device."""

    def encode(params, sources, available):
        repeated = jnp.broadcast_to(available, (sources.shape[0], *available.shape))
        variables = {"params": params}
        skips, bottleneck = network.apply(variables, sources, repeated, method="encode")
        return skips, bottleneck, network.apply(variables, skips, bottleneck, method="pool")

    skips, bottleneck, pooled = _over_slices(encode, mesh, (REPLICATED, SHARDED, REPLICATED))(
        params, sources, available
    )
    if mesh is not None:
        pooled = jax.lax.with_sharding_constraint(pooled, NamedSharding(mesh, REPLICATED))
    return skips, bottleneck, pooled


@functools.partial(jax.jit, static_argnums=0)
def mix_slices(network, params, pooled, depth, available, target):
    """Pooled features `[D, g, g, F]` to contexts `[D, g, g, K]` of a target by its number; None without a mixer."""
    onehot = jax.nn.one_hot(target, network.translator.target_channels)
    inputs = (x[None] for x in (pooled, depth, available, onehot))
    context = network.apply({"params": params}, *inputs, method="mix")
    return None if context is None else context[0]


@functools.partial(jax.jit, static_argnums=0, static_argnames="mesh")
def decode_chunk(network, params, skips, bottleneck, available, target, context, mesh=None):
    """Features of a chunk to slices `[n, H, W]` float32 of a target by its number."""

    def decode(params, skips, bottleneck, available, target, context):
        n = bottleneck.shape[0]
        onehot = jax.nn.one_hot(jnp.full(n, target), network.translator.target_channels)
        repeated = jnp.broadcast_to(available, (n, *available.shape))
        return network.apply({"params": params}, skips, bottleneck, repeated, onehot, context, method="decode")

    layouts = (REPLICATED, SHARDED, SHARDED, REPLICATED, REPLICATED, SHARDED)
    return _over_slices(decode, mesh, layouts)(params, skips, bottleneck, available, target, context)


def _over_slices(function, mesh: Mesh | None, layouts: tuple[P, ...]):
    """A function of independent slices, divided over the devices."""
    return function if mesh is None else jax.shard_map(function, mesh=mesh, in_specs=layouts, out_specs=SHARDED)


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


def _padding(height: int, width: int, multiple: int) -> tuple[tuple[int, int], tuple[int, int]]:
    """What to add before and after each side to reach a multiple."""
    rows, columns = -height % multiple, -width % multiple
    return (rows // 2, rows - rows // 2), (columns // 2, columns - columns // 2)


def _rows(array, start: int, count: int):
    """Rows `start … start + count`, the first and last repeated past the ends, so that every chunk has one shape."""
    return None if array is None else array[np.clip(np.arange(start, start + count), 0, len(array) - 1)]
