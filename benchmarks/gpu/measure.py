"""LiFT-C at native resolution on one accelerator: a training step and a whole translation, with their memory.

    python -m benchmarks.gpu.measure --output measured.json

Everything runs on random volumes of 240×240×155, so nothing but the code travels. Each row is written as soon as it is
measured; rows that do not fit in memory say so. `--small` is the same at 32×32×16, to see that the script runs.
"""

import argparse
import functools
import json
import pathlib
import statistics
import time

import jax
import numpy as np

from configs import brats_missing_mr
from lift_jax.data.cases import CONTRASTS
from lift_jax.evaluation.cost import hardware, peak_memory, translation_flops
from lift_jax.inference.translate import translate_volume
from lift_jax.models.build import initial_parameters, volume_translator
from lift_jax.places import write_aside
from lift_jax.training.optimisers import grouped_adamw
from lift_jax.training.parallel import compile_step, data_mesh, place_batch, replicate
from lift_jax.training.step import initial_state, train_step
from lift_jax.training.translation_loss import translation_loss

SIDE, DEPTH = 240, 155
REPEATS = 5


def configuration(dtype: str, small: bool):
    """The BraTS configuration, or a shrunken one."""
    config = brats_missing_mr.get_config()
    config.model.translator.dtype = dtype
    if small:
        config.model.translator.widths = (8, 16)
    return config


def training_step(dtype: str, window: int, small: bool) -> dict:
    """Seconds of one step on one window of slices a device, and the peak memory."""
    config = configuration(dtype, small)
    network = volume_translator(config.model)
    params = initial_parameters(network, jax.random.key(0))
    optimiser = grouped_adamw(
        {group: 1e-4 for group in params}, steps=1000, warmup=1, weight_decay=0.01, clip=config.optimiser.clip
    )
    step = functools.partial(
        train_step,
        loss_function=translation_loss(network, config.loss, use_mixer=True),
        optimiser=optimiser,
        trained=tuple(params),
        ema_decay=0.999,
    )
    mesh = data_mesh()
    step, state = (
        compile_step(step, mesh),
        replicate(initial_state(params, optimiser, tuple(params), jax.random.key(1)), mesh),
    )
    batch, side, contrasts = mesh.size, 32 if small else SIDE, len(CONTRASTS)
    generator = np.random.default_rng(0)
    volume = generator.uniform(-1, 1, (batch, window, side, side, contrasts)).astype(np.float32)
    arrays = {
        "sources": volume,
        "target": volume[..., 0],
        "available": np.tile(np.float32([0, 1, 1, 1]), (batch, 1)),
        "wanted": np.tile(np.float32([1, 0, 0, 0]), (batch, 1)),
        "depth": np.tile(np.linspace(-1, 1, window, dtype=np.float32), (batch, 1)),
    }
    arrays = place_batch(arrays, mesh)
    seconds = []
    for _ in range(REPEATS + 1):
        began = time.perf_counter()
        state, metrics = step(state, arrays)
        metrics["loss"].block_until_ready()
        seconds.append(time.perf_counter() - began)
    return {"window": window, "seconds": statistics.median(seconds[1:]), "first": seconds[0]}


def translation(dtype: str, chunk: int, skip_memory: float, small: bool) -> dict:
    """Seconds of translating one contrast of a volume, its operations, and the peak memory."""
    network = volume_translator(configuration(dtype, small).model)
    params = initial_parameters(network, jax.random.key(0))
    shape = (16, 32, 32, len(CONTRASTS)) if small else (DEPTH, SIDE, SIDE, len(CONTRASTS))
    sources = np.random.default_rng(0).uniform(-1, 1, shape).astype(np.float32)
    options = {"chunk": chunk, "skip_memory": skip_memory}
    seconds = []
    for _ in range(REPEATS + 1):
        began = time.perf_counter()
        translate_volume(network, params, sources, (True, True, True, False), (3,), **options)
        seconds.append(time.perf_counter() - began)
    flops = translation_flops(network, params, shape, **options)
    return {**options, "seconds": statistics.median(seconds[1:]), "first": seconds[0], "teraflop": flops / 1e12}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=pathlib.Path, required=True)
    parser.add_argument("--small", action="store_true")
    arguments = parser.parse_args()
    jobs = [("translation", translation, dict(chunk=8, skip_memory=0.0))]
    jobs += [("translation", translation, dict(chunk=chunk, skip_memory=40.0)) for chunk in (8, 32)]
    jobs += [("training step", training_step, dict(window=window)) for window in (16, 48)]
    rows = []
    for dtype in ("bfloat16", "float32"):
        for name, job, options in jobs:
            row = {"what": name, "dtype": dtype, "hardware": hardware(), **options}
            try:
                row |= job(dtype=dtype, small=arguments.small, **options)
            except jax.errors.JaxRuntimeError as error:
                row["failed"] = str(error).splitlines()[0]
            row["peak_gib_so_far"] = peak_memory()
            rows.append(row)
            print(json.dumps(row), flush=True)
            write_aside(arguments.output, json.dumps(rows, indent=2) + "\n")


if __name__ == "__main__":
    main()
