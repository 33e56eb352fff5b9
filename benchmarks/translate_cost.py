"""What translating one volume costs: operations beside cWDM's, and seconds and peak memory, each depth in a process.

    python -m benchmarks.translate_cost                                      # 240×240×155 with the default network
    python -m benchmarks.translate_cost --notimed --config configs/brats_missing_mr.py
    python -m benchmarks.translate_cost --depth=155 --depth=620 --chunk=0    # memory, which is not to grow with depth

Parameters are fresh, the input random. Operations are XLA's count for one channel, both passes and the
mixer, whose loop over slices is counted by a formula (see `translation_flops`). The seconds are those of a translation
after a chunk that compiled; the peak is the process's largest resident memory, JAX and all libraries included, of which
arrays are the input and output volumes, and the rest, which is not to grow with depth.
"""

import json
import subprocess
import sys
import time

import jax
import numpy as np
from absl import app, flags
from ml_collections import config_flags

from benchmarks import cwdm
from lift_jax.config import missing_mr
from lift_jax.data.channels import channels_of
from lift_jax.evaluation.cost import hardware, peak_memory, translation_flops
from lift_jax.inference.translate import plan_chunks, translate_volume
from lift_jax.models.volume_translator import initial_parameters, volume_translator

CONFIG = config_flags.DEFINE_config_file("config", None, "of the network; the defaults of missing MR if not named")
DEPTH = flags.DEFINE_multi_integer("depth", [155], "slices of the volume; repeat the flag for several", 1)
HEIGHT = flags.DEFINE_integer("height", 240, "rows of a slice", 1)
WIDTH = flags.DEFINE_integer("width", 240, "columns of a slice", 1)
CHUNK = flags.DEFINE_integer("chunk", None, "slices on the device at a time; that of the configuration if not given", 0)
SKIP_MEMORY = flags.DEFINE_float("skip_cache_gib", None, "GiB for features; that of the configuration if not given", 0)
TIMED = flags.DEFINE_boolean("timed", True, "translate, and not only count operations")
CHILD = flags.DEFINE_boolean("child", False, "measure the one depth in this process and print JSON")


def chosen():
    """The network, and how volumes are translated."""
    config = CONFIG.value or missing_mr()
    chunk = config.inference.chunk if CHUNK.value is None else CHUNK.value
    memory = config.inference.skip_cache_gib if SKIP_MEMORY.value is None else SKIP_MEMORY.value
    return volume_translator(config.model, channels_of(config.data)), {"chunk": chunk, "skip_cache_gib": memory}


def volume_shape(network, depth: int) -> tuple[int, int, int, int]:
    return depth, HEIGHT.value, WIDTH.value, network.translator.source_channels


def measure(depth: int) -> dict[str, float]:
    """Seconds and GiB of one translation."""
    network, options = chosen()
    params = initial_parameters(network, jax.random.key(0))
    slices, _ = plan_chunks(network, params, volume_shape(network, depth), **options)
    options["chunk"] = slices
    sources = np.random.default_rng(0).random(volume_shape(network, depth), np.float32)
    before, began = peak_memory(), time.perf_counter()
    available = np.ones(sources.shape[-1], bool)
    translate_volume(network, params, sources[:slices], available, (0,), **options)
    compiled = time.perf_counter()
    result = translate_volume(network, params, sources, available, (0,), **options)
    return {
        "first": compiled - began,
        "seconds": time.perf_counter() - compiled,
        "peak": peak_memory(),
        "before": before,
        "arrays": (sources.nbytes + result.nbytes) / 2**30,
    }


def tell_operations(depth: int) -> None:
    """Prints what a volume costs by the compiler's count, beside cWDM."""
    network, options = chosen()
    params = jax.eval_shape(lambda key: initial_parameters(network, key), jax.random.key(0))
    multiple = network.translator.multiple
    shape = (
        depth,
        *(side + -side % multiple for side in volume_shape(network, depth)[1:3]),
        network.translator.source_channels,
    )
    slices, kept = plan_chunks(network, params, shape, **options)
    flops = translation_flops(network, params, shape, **options)
    print(
        f"{depth} slices in chunks of {slices}, encoded {'once' if kept else 'twice'}: {flops / 1e12:.2f} TFLOP; "
        f"cWDM's {cwdm.STEPS} steps are {cwdm.times_fewer(flops):,.0f} times as many",
        flush=True,
    )


def tell_measured(depth: int) -> None:
    """Prints what one depth takes in a process of its own."""
    arguments = [argument for argument in sys.argv[1:] if not argument.startswith("--depth")]
    command = [sys.executable, "-m", "benchmarks.translate_cost", "--child", f"--depth={depth}", *arguments]
    row = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout)
    print(
        f"{depth} slices: {row['seconds']:.1f} s, after {row['first']:.1f} s for a chunk with compilation; "
        f"cWDM's steps take {cwdm.times_faster(row['seconds']):,.0f} times as long on two cores\n"
        f"{depth} slices: peak {row['peak']:.2f} GiB, at start {row['before']:.2f}, arrays {row['arrays']:.2f}, "
        f"rest {row['peak'] - row['arrays']:.2f}",
        flush=True,
    )


def main(_):
    """Prints both for each depth, or measures one."""
    if CHILD.value:
        print(json.dumps(measure(DEPTH.value[0])))
        return
    network, _ = chosen()
    translator = network.translator
    shapes = jax.eval_shape(lambda key: initial_parameters(network, key), jax.random.key(0))
    parameters = sum(leaf.size for leaf in jax.tree.leaves(shapes))
    print(
        f"widths {translator.widths}, {translator.blocks} blocks, space-to-depth {translator.space_to_depth}, mixer "
        f"{network.mixer_kind} {network.hidden}, {jax.numpy.dtype(translator.dtype).name}: {parameters / 1e6:.1f} M "
        f"parameters; slices of {HEIGHT.value}×{WIDTH.value}; {hardware()}"
    )
    for depth in DEPTH.value:
        tell_operations(depth)
        if TIMED.value:
            tell_measured(depth)


if __name__ == "__main__":
    app.run(main)
