"""Time and peak memory of sampling a volume, each depth in its own process.

    python -m benchmarks.sample_cost --depth=64 --depth=128 --depth=256

Networks have the widths of configs/phantom_unconditional.py and fresh parameters, at 128×128 in-plane: two more
doublings in front of the generator's own. The model is that of a cube, whose prior knows 128 depths, whatever depth is
sampled. `peak` is the process's largest resident memory, JAX and all libraries included.
"""

import json
import statistics
import subprocess
import sys
import time

import jax
from absl import app, flags

from configs.phantom_unconditional import get_config
from lift_jax.evaluation.cost import hardware, peak_memory
from lift_jax.inference.sample import sample_volumes
from lift_jax.models.generation_networks import generation_networks, initial_generation_parameters

DEPTH = flags.DEFINE_multi_integer("depth", [64, 128, 256], "slices of the volume; repeat the flag for several", 1)
SIDE = flags.DEFINE_integer("side", 128, "rows and columns of a slice", 1)
CHUNK = flags.DEFINE_integer("chunk", 16, "slices on the device at a time", 1)
VOLUMES = flags.DEFINE_integer("volumes", 3, "volumes timed, after the first, which compiles", 1)
MEASURE = flags.DEFINE_boolean("measure", False, "measure the one depth in this process and print JSON")


def measure(depth: int) -> dict[str, float | str]:
    """Median seconds of a volume after compilation, and GiB."""
    config = get_config()
    widths = tuple(config.model.generator.widths)
    doublings = SIDE.value // config.data.size[-1]
    config.model.generator.widths = (widths[0],) * (doublings.bit_length() - 1) + widths
    networks = generation_networks(config, (SIDE.value,) * 3)
    params = initial_generation_parameters(networks, config)
    seconds = []
    for index in range(VOLUMES.value + 1):
        began = time.perf_counter()
        volume = sample_volumes(networks, params, 0, 1, first=index, depth=depth, chunk=CHUNK.value)
        seconds.append(time.perf_counter() - began)
    return {
        "seconds": statistics.median(seconds[1:]),
        "first": seconds[0],
        "peak": peak_memory(),
        "volume": volume.nbytes / 2**30,
        "parameters": sum(leaf.size for leaf in jax.tree.leaves(params["generator"])),
        "hardware": hardware(),
    }


def main(_):
    """Prints a row for each depth, or measures one."""
    if MEASURE.value:
        print(json.dumps(measure(DEPTH.value[0])))
        return
    print(f"slices of {SIDE.value}×{SIDE.value}, {CHUNK.value} at a time; GiB")
    for depth in DEPTH.value:
        options = [f"--{flag.name}={flag.value}" for flag in (SIDE, CHUNK, VOLUMES)]
        command = [sys.executable, "-m", "benchmarks.sample_cost", "--measure", f"--depth={depth}", *options]
        line = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.splitlines()[-1]
        found = json.loads(line)
        print(
            f"{depth:4d} slices: {found['seconds']:.2f} s ({found['first']:.1f} s the first), "
            f"peak {found['peak']:.2f}, volume {found['volume']:.3f}; "
            f"generator {found['parameters']:,} parameters; {found['hardware']}",
            flush=True,
        )


if __name__ == "__main__":
    app.run(main)
