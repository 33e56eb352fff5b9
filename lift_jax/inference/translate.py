"""Two-pass translation of a whole volume: memory does not grow with its depth.

Pass 1 encodes the slices, chunk by chunk, and keeps what the mixer needs of each, a few numbers. The mixer then runs
over the whole depth, once for each target. Pass 2 decodes chunk by chunk with the context, from skips that were kept
if they fit in memory, else from encoding again.
"""

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np

from lift_jax.data.geometry import depth_coordinates
from lift_jax.inference.budget import plan_chunks
from lift_jax.inference.chunked import SHARDED, decode_chunk, encode_chunk, mix_slices, place
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
    options = {"chunk": chunk, "skip_cache_gib": skip_cache_gib, "devices": devices}
    slices, keep = plan_chunks(network, params, sources.shape, **options)
    count = slices * devices
    starts = range(0, depth, count)
    padding = _padding(height, width, network.translator.multiple)
    params = place(params, mesh)
    available, depths = place((np.asarray(available, np.float32), depth_coordinates(depth)), mesh)

    def encode(start):
        part = np.pad(_rows(sources, start, count), ((0, 0), *padding, (0, 0)), constant_values=BACKGROUND)
        return encode_chunk(network, params, place(part, mesh, SHARDED), available, mesh=mesh)

    kept, pooled = [], []
    for start in starts:
        skips, bottleneck, pooled_part = encode(start)
        # Waiting bounds memory: without it all chunks are on their way at once.
        pooled.append(pooled_part.block_until_ready())
        kept.append((skips, bottleneck) if keep else None)
        del skips, bottleneck
    pooled = jnp.concatenate(pooled)[:depth]
    contexts = [mix_slices(network, params, pooled, depths, available, target) for target in targets]

    result = np.empty((len(targets), depth, height, width), np.float32)
    (top, _), (left, _) = padding
    for i, start in enumerate(starts):
        features = kept[i] if keep else encode(start)[:2]
        kept[i] = None
        stop = min(start + count, depth)
        for j, target in enumerate(targets):
            context = _rows(contexts[j], start, count)
            decoded = decode_chunk(network, params, *features, available, target, context, mesh=mesh)
            result[j, start:stop] = np.asarray(decoded)[: stop - start, top : top + height, left : left + width]
        del features
    return result


def _padding(height: int, width: int, multiple: int) -> tuple[tuple[int, int], tuple[int, int]]:
    """What to add before and after each side to reach a multiple."""
    missing = [-side % multiple for side in (height, width)]
    return tuple((n // 2, n - n // 2) for n in missing)


def _rows(array, start: int, count: int):
    """Rows `start … start + count`, the first and last repeated past the ends, so that every chunk has one shape."""
    return None if array is None else array[np.clip(np.arange(start, start + count), 0, len(array) - 1)]
