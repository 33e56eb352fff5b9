"""What a translation costs: floating-point operations, memory, and the machine it ran on."""

import functools
import platform
import resource

import jax
import jax.numpy as jnp

from lift_jax.inference.translate import REPLICATED, SHARDED, decode_chunk, encode_chunk, mix_slices, plan_chunks
from lift_jax.models.volume_translator import VolumeTranslator


def translation_flops(
    network: VolumeTranslator,
    params: dict,
    shape: tuple[int, int, int, int],
    *,
    chunk: int,
    skip_cache_gib: float,
    mesh: jax.sharding.Mesh | None = None,
) -> float:
    """Floating-point operations of each device to translate one channel of a volume: both passes and the mixer.

    XLA's own cost analysis of the programs that run. It counts the body of a loop once, so the product of a GRU's
    recurrence is added for each further slice: two directions, three gates, hidden size h, g x g cells make 12 h² g².
    The other mixers have no loop.

    Args:
      network, params, chunk, skip_cache_gib, mesh: as given to `translate_volume`; the parameters may be shapes alone.
      shape: `(D, H, W, C)` of the sources, sides multiples of the network's.
    """
    devices = 1 if mesh is None else mesh.size
    slices, kept = plan_chunks(network, params, shape, chunk=chunk, skip_cache_gib=skip_cache_gib, devices=devices)
    chunks = -(-shape[0] // (slices * devices))
    encode, mix, decode = (_flops(program) for program in lowered_passes(network, params, shape, slices, mesh))
    total = chunks * ((1 if kept else 2) * encode + decode) + mix
    if network.mixer_kind == "gru":
        total += (shape[0] - 1) * 12 * network.hidden**2 * network.grid**2
    return total


def lowered_passes(
    network: VolumeTranslator,
    params: dict,
    shape: tuple[int, int, int, int],
    slices: int,
    mesh: jax.sharding.Mesh | None = None,
) -> tuple:
    """The programs that translate a volume, lowered and not run: a chunk's encoding, the mixer, a chunk's decoding.

    Args:
      network, params, mesh: as given to `translate_volume`; the parameters may be shapes alone.
      shape: `(D, H, W, C)` of the sources, sides multiples of the network's.
      slices: on a device at a time.
    """

    def on_devices(tree, layout=REPLICATED):
        sharding = None if mesh is None else jax.sharding.NamedSharding(mesh, layout)
        return jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=sharding), tree)

    depth, *sides = shape
    count = slices * (1 if mesh is None else mesh.size)
    params, available, depths = on_devices((params, jnp.ones(sides[-1]), jnp.zeros(depth)))
    images = jax.ShapeDtypeStruct((count, *sides), jnp.float32)
    encoded = (params, on_devices(images, SHARDED), available)
    skips, bottleneck, pooled = jax.eval_shape(functools.partial(encode_chunk, network), *encoded)
    whole = on_devices(jax.ShapeDtypeStruct((depth, *pooled.shape[1:]), pooled.dtype))
    mixed = (params, whole, depths, available)
    context = jax.eval_shape(lambda *arrays: mix_slices(network, *arrays, 0), *mixed)
    part = None if context is None else on_devices(jax.ShapeDtypeStruct((count, *context.shape[1:]), context.dtype))
    features = on_devices((skips, bottleneck), SHARDED)
    return (
        encode_chunk.lower(network, *encoded, mesh=mesh),
        mix_slices.lower(network, *mixed, 0),
        decode_chunk.lower(network, params, *features, available, 0, part, mesh=mesh),
    )


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
    return (lowered.compile().cost_analysis() or {}).get("flops", 0.0)  # nothing is said of a program that is empty


def _processor() -> str:
    try:
        with open("/proc/cpuinfo") as lines:
            names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    except OSError:
        names = []
    return f"{len(names)} cores of {names[0]}" if names else platform.machine()
