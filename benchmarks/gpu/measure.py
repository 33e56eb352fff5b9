"""LiFT-C at native resolution on one accelerator: translations, training steps and their parts, with their memory.

    python -m benchmarks.gpu.measure --output measured.json

Everything runs on random volumes, of BraTS's 240×240×155 and of a usual box around a brain, so nothing but the code
travels. Each row is written as soon as it is measured; rows that do not fit in memory say so, and rows that would begin
after `--minutes` are left out. `--small` is the same on tiny volumes, to see that the script runs.
"""

import argparse
import json
import pathlib
import statistics
import time

import jax
import numpy as np
from ml_collections import ConfigDict

from benchmarks import cwdm
from benchmarks.step_parts import measure, parts_of, step_cost
from configs import brats_missing_mr
from lift_jax.data.channels import channels_of
from lift_jax.evaluation.cost import hardware, peak_memory, translation_flops
from lift_jax.inference.translate import translate_volume
from lift_jax.models.volume_translator import initial_parameters, volume_translator
from lift_jax.paths import atomic_write

GRID, BOX = (155, 240, 240), (144, 176, 144)
SMALL = {GRID: (16, 48, 48), BOX: (12, 32, 32)}
"""What stands for the two in `--small`."""

REPEATS = 5


def configuration(dtype: str, small: bool) -> ConfigDict:
    """The BraTS configuration, or a shrunken one."""
    config = brats_missing_mr.get_config()
    config.model.translator.dtype = dtype
    if small:
        config.model.translator.widths = (8, 16)
    return config


def training_step(config: ConfigDict, shape: tuple[int, int, int], slab: int) -> dict:
    """Seconds and operations of one step on one slab a device."""
    cost = step_cost(config, (jax.device_count(), min(slab, shape[0]), *shape[1:]), REPEATS)
    return {"slab": slab, "seconds": cost.wall, "teraflop": cost.flops / 1e12}


def step_parts(config: ConfigDict, shape: tuple[int, int, int], slab: int) -> dict:
    """Seconds of each part of a step, on one device."""
    parts = parts_of(config, (1, min(slab, shape[0]), *shape[1:]))
    costs = {name: measure(function, *arrays, repeats=REPEATS) for name, (function, arrays) in parts.items()}
    return {"slab": slab, "seconds": {name: cost.wall for name, cost in costs.items()}}


def translation(config: ConfigDict, shape: tuple[int, int, int], chunk: int, skip_cache_gib: float) -> dict:
    """Seconds and operations of translating one channel of a volume."""
    network = volume_translator(config.model, channels_of(config.data))
    params = initial_parameters(network, jax.random.key(0))
    shape = (*shape, network.translator.source_channels)
    sources = np.random.default_rng(0).uniform(-1, 1, shape).astype(np.float32)
    options = {"chunk": chunk, "skip_cache_gib": skip_cache_gib}
    seconds = []
    for _ in range(REPEATS + 1):
        began = time.perf_counter()
        translate_volume(network, params, sources, np.ones(shape[-1], bool), (0,), **options)
        seconds.append(time.perf_counter() - began)
    flops = translation_flops(network, params, shape, **options)
    return {
        **options,
        "seconds": statistics.median(seconds[1:]),
        "first": seconds[0],
        "teraflop": flops / 1e12,
        "cwdm_teraflop": cwdm.STEPS * cwdm.STEP_FLOPS / 1e12,
    }


def jobs() -> list[tuple]:
    """What is measured: name, function, type of activations, volume and options; what matters most comes first."""
    listed = []
    for dtype in ("bfloat16", "float32"):
        for shape in (BOX, GRID):
            listed += [("translation", translation, dtype, shape, dict(chunk=n, skip_cache_gib=40.0)) for n in (8, 32)]
            listed += [("training step", training_step, dtype, shape, dict(slab=48))]
        listed += [("parts of a step", step_parts, dtype, BOX, dict(slab=48))]
        listed += [("translation", translation, dtype, GRID, dict(chunk=8, skip_cache_gib=0.0))]
    return listed


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=pathlib.Path, required=True)
    parser.add_argument("--minutes", type=float, default=7.0, help="no row begins later than this")
    parser.add_argument("--small", action="store_true")
    arguments = parser.parse_args()
    rows, began = [], time.monotonic()
    for name, job, dtype, shape, options in jobs():
        shape = SMALL[shape] if arguments.small else shape
        row = {"what": name, "dtype": dtype, "volume": shape, "hardware": hardware(), **options}
        if time.monotonic() - began > 60 * arguments.minutes:
            row["failed"] = f"left out: {arguments.minutes:g} minutes were over"
        else:
            try:
                row |= job(configuration(dtype, arguments.small), shape, **options)
            except jax.errors.JaxRuntimeError as error:
                row["failed"] = str(error).splitlines()[0]
        row["peak_gib_so_far"] = peak_memory()
        rows.append(row)
        print(json.dumps(row), flush=True)
        atomic_write(arguments.output, json.dumps(rows, indent=2) + "\n")


if __name__ == "__main__":
    main()
