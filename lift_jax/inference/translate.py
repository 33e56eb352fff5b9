"""Two-pass translation of a whole volume: memory does not grow with its depth.

Pass 1 encodes the slices, chunk by chunk, and keeps what the mixer needs of each, a few numbers. The mixer then runs
over the whole depth, once for each target. Pass 2 decodes chunk by chunk with the context, from skips that were kept
if they fit in memory, else from encoding again.
"""

import functools
import math
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np

from lift_jax.models.depth_encoding import depth_coordinates
from lift_jax.models.slice_translator import BACKGROUND
from lift_jax.models.volume_translator import VolumeTranslator


def translate_volume(
    network: VolumeTranslator,
    params: dict,
    sources: np.ndarray,
    available: Sequence[bool],
    targets: Sequence[int],
    *,
    chunk: int = 8,
    skip_memory: float = 1.0,
    side: np.ndarray | None = None,
) -> np.ndarray:
    """Contrasts of a volume of any size, `[len(targets), D, H, W]` float32 in network intensities (not clamped).

    Slices are padded with background to the network's multiple, and the result is cropped back. Compiled functions are
    kept per network, chunk and slice size.

    Args:
      network: the network.
      params: its parameters.
      sources: `[D, H, W, C]` in [-1, 1]; channels that are not available are not looked at.
      available: `[C]`, which contrasts exist.
      targets: channels that are wanted; all are decoded from one encoding.
      chunk: slices on the device at a time.
      skip_memory: GiB; if the features of all slices fit, they are kept and pass 2 does not encode again.
      side: `[D, S]`, the oracle's side information.
    """
    depth, height, width, _ = sources.shape
    chunk = min(chunk, depth)
    starts = range(0, depth, chunk)
    padding = _padding(height, width, network.translator.multiple)
    available = jnp.asarray(available, jnp.float32)

    def encode(start):
        part = np.pad(_rows(sources, start, chunk), ((0, 0), *padding, (0, 0)), constant_values=BACKGROUND)
        return encode_chunk(network, params, part, _rows(side, start, chunk), available)

    keep = keeps_skips(network, params, sources.shape, chunk=chunk, skip_memory=skip_memory, side=side)
    kept, pooled = [], []
    for start in starts:
        skips, bottleneck, pooled_part = encode(start)
        # Waiting bounds memory: without it all chunks are on their way at once.
        pooled.append(pooled_part.block_until_ready())
        kept.append((skips, bottleneck) if keep else None)
        del skips, bottleneck
    pooled, depths = jnp.concatenate(pooled)[:depth], jnp.asarray(depth_coordinates(depth))
    contexts = [mix_volume(network, params, pooled, depths, available, target) for target in targets]

    result = np.empty((len(targets), depth, height, width), np.float32)
    (top, _), (left, _) = padding
    for i, start in enumerate(starts):
        skips, bottleneck = kept[i] if keep else encode(start)[:2]
        kept[i] = None
        stop = min(start + chunk, depth)
        for j, target in enumerate(targets):
            decoded = decode_chunk(
                network,
                params,
                skips,
                bottleneck,
                available,
                target,
                _rows(contexts[j], start, chunk),
                _rows(side, start, chunk),
            )
            result[j, start:stop] = np.asarray(decoded)[: stop - start, top : top + height, left : left + width]
    return result


def keeps_skips(
    network: VolumeTranslator,
    params: dict,
    shape: tuple[int, int, int, int],
    *,
    chunk: int,
    skip_memory: float,
    side: np.ndarray | None = None,
) -> bool:
    """Whether the features of all slices of a volume `(D, H, W, C)` fit into `skip_memory` GiB."""
    depth, height, width, contrasts = shape
    padding = _padding(height, width, network.translator.multiple)
    padded = (chunk, height + sum(padding[0]), width + sum(padding[1]), contrasts)
    skips, bottleneck, _ = jax.eval_shape(
        functools.partial(encode_chunk, network),
        params,
        jax.ShapeDtypeStruct(padded, jnp.float32),
        None if side is None else jax.ShapeDtypeStruct((chunk, side.shape[-1]), jnp.float32),
        jax.ShapeDtypeStruct((contrasts,), jnp.float32),
    )
    bytes_per_chunk = sum(math.prod(x.shape) * x.dtype.itemsize for x in [*skips, bottleneck])
    return bytes_per_chunk * -(-depth // chunk) <= skip_memory * 2**30


@functools.partial(jax.jit, static_argnums=0)
def encode_chunk(network, params, sources, side, available):
    """A chunk `[n, H, W, C]` to `(skips, bottleneck, pooled [n, g, g, F])`."""
    repeated = jnp.broadcast_to(available, (sources.shape[0], *available.shape))
    variables = {"params": params}
    skips, bottleneck = network.apply(variables, sources, repeated, side, method="encode")
    return skips, bottleneck, network.apply(variables, skips, bottleneck, method="pool")


@functools.partial(jax.jit, static_argnums=0)
def mix_volume(network, params, pooled, depth, available, target):
    """What was pooled `[D, g, g, F]` to contexts `[D, g, g, K]` for channel `target`, or None without a mixer."""
    wanted = jax.nn.one_hot(target, available.shape[0])
    inputs = (x[None] for x in (pooled, depth, available, wanted))
    context = network.apply({"params": params}, *inputs, method="mix")
    return None if context is None else context[0]


@functools.partial(jax.jit, static_argnums=0)
def decode_chunk(network, params, skips, bottleneck, available, target, context, side):
    """Features of a chunk to its slices, `[n, H, W]` float32; `target` is a channel number."""
    n, contrasts = bottleneck.shape[0], available.shape[0]
    wanted = jax.nn.one_hot(jnp.full(n, target), contrasts)
    repeated = jnp.broadcast_to(available, (n, contrasts))
    return network.apply({"params": params}, skips, bottleneck, repeated, wanted, context, side, method="decode")


def _padding(height: int, width: int, multiple: int) -> tuple[tuple[int, int], tuple[int, int]]:
    """What to add before and after each side to reach a multiple."""
    missing = [-side % multiple for side in (height, width)]
    return tuple((n // 2, n - n // 2) for n in missing)


def _rows(array, start: int, count: int):
    """Rows `start … start + count`, the last one repeated past the end, so that every chunk has one shape."""
    return None if array is None else array[np.minimum(np.arange(start, start + count), len(array) - 1)]
