"""Time and peak memory of translating one volume on the CPU, each depth in a process of its own.

    python -m benchmarks.translate_memory --depth=155 --depth=620

The network is the paper-size default with fresh parameters, the input random. `peak` is the process's largest resident
memory, JAX and all libraries included; `arrays` is what the input and output volumes take of it, `rest` what remains:
bounded in the depth, or the two-pass translation does not do what it is for.
"""

import json
import subprocess
import sys
import time

import jax
import numpy as np
from absl import app, flags

from lift_jax.configuration import missing_mr
from lift_jax.data.cases import CONTRASTS
from lift_jax.evaluation.cost import hardware, peak_memory
from lift_jax.inference.translate import keeps_skips, translate_volume
from lift_jax.models.build import initial_parameters, volume_translator

DEPTH = flags.DEFINE_multi_integer("depth", [155, 620], "slices of the volume; repeat the flag for several", 1)
HEIGHT = flags.DEFINE_integer("height", 240, "rows of a slice", 1)
WIDTH = flags.DEFINE_integer("width", 240, "columns of a slice", 1)
CHUNK = flags.DEFINE_integer("chunk", 8, "slices on the device at a time", 1)
SKIP_MEMORY = flags.DEFINE_float("skip_memory", 1.0, "GiB within which skips are kept between the passes", 0)
MEASURE = flags.DEFINE_boolean("measure", False, "measure the one depth in this process and print JSON")


def measure(depth: int) -> dict[str, float | str]:
    """Seconds and GiB of one translation, compilation included."""
    network = volume_translator(missing_mr().model)
    params = initial_parameters(network, jax.random.key(0))
    shape = (depth, HEIGHT.value, WIDTH.value, len(CONTRASTS))
    kept = keeps_skips(network, params, shape, chunk=min(CHUNK.value, depth), skip_memory=SKIP_MEMORY.value)
    sources = np.random.default_rng(0).random(shape, np.float32)
    before = peak_memory()
    start = time.perf_counter()
    result = translate_volume(
        network, params, sources, (True, True, True, False), (3,), chunk=CHUNK.value, skip_memory=SKIP_MEMORY.value
    )
    return {
        "seconds": time.perf_counter() - start,
        "peak": peak_memory(),
        "before": before,
        "arrays": (sources.nbytes + result.nbytes) / 2**30,
        "skips": "kept" if kept else "encoded twice",
        "hardware": hardware(),
    }


def main(_):
    """Prints a row for each depth, or measures one."""
    if MEASURE.value:
        print(json.dumps(measure(DEPTH.value[0])))
        return
    print(f"chunks of {CHUNK.value} slices of {HEIGHT.value} x {WIDTH.value}; GiB")
    print(f"{'slices':>6} {'seconds':>8} {'peak':>6} {'arrays':>6} {'rest':>6} {'at start':>8}  skips")
    for depth in DEPTH.value:
        arguments = [argument for argument in sys.argv[1:] if not argument.startswith("--depth")]
        command = [sys.executable, "-m", "benchmarks.translate_memory", "--measure", f"--depth={depth}", *arguments]
        row = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout)
        print(
            f"{depth:6d} {row['seconds']:8.1f} {row['peak']:6.2f} {row['arrays']:6.2f} "
            f"{row['peak'] - row['arrays']:6.2f} {row['before']:8.2f}  {row['skips']}",
            flush=True,
        )
    print(row["hardware"])


if __name__ == "__main__":
    app.run(main)
