"""What a translation costs: floating-point operations, memory, and the machine it ran on."""

import platform
import resource

import jax
import jax.numpy as jnp

from lift_jax.inference.translate import decode_chunk, encode_chunk, keeps_skips, mix_volume
from lift_jax.models.volume_translator import VolumeTranslator


def translation_flops(
    network: VolumeTranslator, params: dict, shape: tuple[int, int, int, int], *, chunk: int, skip_memory: float
) -> float:
    """Floating-point operations to translate one contrast of a volume: both passes and the mixer.

    XLA's own cost analysis of the programs that run. It counts the body of a loop once, so the recurrence's product for
    each further slice is added: for two directions, three gates, hidden size h and g x g cells, 12 h² g².

    Args:
      network, params, chunk, skip_memory: as given to `translate_volume`.
      shape: `(D, H, W, C)` of the sources, sides multiples of the network's.
    """
    depth, height, width, contrasts = shape
    chunk = min(chunk, depth)
    chunks = -(-depth // chunk)
    sources, available = jnp.zeros((chunk, height, width, contrasts)), jnp.ones(contrasts)
    skips, bottleneck, pooled = jax.eval_shape(
        lambda *arrays: encode_chunk(network, *arrays), params, sources, None, available
    )
    whole = jax.ShapeDtypeStruct((depth, *pooled.shape[1:]), pooled.dtype)
    depths = jax.ShapeDtypeStruct((depth,), jnp.float32)
    context = jax.eval_shape(lambda *arrays: mix_volume(network, *arrays, 0), params, whole, depths, available)
    part = None if context is None else jax.ShapeDtypeStruct((chunk, *context.shape[1:]), context.dtype)

    encode = _flops(encode_chunk.lower(network, params, sources, None, available))
    decode = _flops(decode_chunk.lower(network, params, skips, bottleneck, available, 0, part, None))
    kept = keeps_skips(network, params, shape, chunk=chunk, skip_memory=skip_memory)
    total = chunks * ((1 if kept else 2) * encode + decode)
    if context is not None:
        total += _flops(mix_volume.lower(network, params, whole, depths, available, 0))
        total += (depth - 1) * 12 * network.hidden**2 * network.grid**2
    return total


def peak_memory() -> float:
    """GiB at the highest so far: of the device where it keeps count, else of this process, all libraries included."""
    statistics = jax.local_devices()[0].memory_stats()
    if statistics and "peak_bytes_in_use" in statistics:
        return statistics["peak_bytes_in_use"] / 2**30
    unit = 1 if platform.system() == "Darwin" else 1024  # getrusage counts in bytes there, in KiB elsewhere
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 2**30


def hardware() -> str:
    """The devices that computed, and how many."""
    device = jax.devices()[0]
    name = f"{device.device_kind} ({_processor()})" if device.platform == "cpu" else device.device_kind
    return f"{jax.device_count()} x {name}"


def _flops(lowered) -> float:
    return lowered.compile().cost_analysis()["flops"]


def _processor() -> str:
    try:
        with open("/proc/cpuinfo") as lines:
            names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    except OSError:
        names = []
    return f"{len(names)} cores of {names[0]}" if names else platform.machine()
