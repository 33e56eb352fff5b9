"""Training windows a second out of cached volumes of BraTS size, by the number of threads that read ahead.

    python -m benchmarks.window_throughput

Windows of 48 slices of four contrasts, cropped to 128×128 from 240×240×155 volumes. The volumes are noise in a ball,
made in a temporary folder and read over and over, so that the disk's speed does not show: it is the processors' share.
"""

import dataclasses
import os
import tempfile
import time

import numpy as np
from absl import app, flags
from lift_jax.data.windows import TakeWindow, training_batches

from lift_jax.data.cache import CachedCase, cache_cases
from lift_jax.data.cases import CONTRASTS, Case
from lift_jax.evaluation.cost import hardware

CASES = flags.DEFINE_integer("cases", 4, "cached volumes, 71 MB each", 1)
SECONDS = flags.DEFINE_float("seconds", 8.0, "time to measure for each number of threads", 0)
THREADS = flags.DEFINE_multi_integer("threads", [1, 2], "threads that read ahead; repeat the flag for several", 1)
WINDOW = flags.DEFINE_integer("window", 48, "slices of a window", 1)
CROP = flags.DEFINE_integer("crop", 128, "rows and columns of a window", 1)

SHAPE = (155, 240, 240)


@dataclasses.dataclass(frozen=True)
class Balls:
    """A CaseSource of noise inside a ball that fills a volume as a brain does."""

    names: tuple[str, ...]

    def load(self, index: int) -> Case:
        """Makes case `index`."""
        axes = np.meshgrid(*[np.linspace(-1, 1, n, dtype=np.float32) for n in SHAPE], indexing="ij", sparse=True)
        inside = sum(axis**2 for axis in axes) < 0.5
        noise = np.random.default_rng(index).random((*SHAPE, len(CONTRASTS)), np.float32)
        sources = noise * inside[..., None]
        return Case(self.names[index], sources, sources, np.ones(len(CONTRASTS), bool), np.eye(4))

    def fingerprint(self, index: int) -> str:
        """The case's name."""
        return self.names[index]


def throughput(cases: list[CachedCase], threads: int) -> tuple[float, float]:
    """Windows a second, and processor seconds a window, once what was read ahead at the start is used up."""
    take_window = TakeWindow(
        window=WINDOW.value, size=(CROP.value, CROP.value), targets=tuple(range(len(CONTRASTS))), gamma=0.1
    )
    batches = training_batches(cases, take_window, seed=0, batch=1, threads=threads)
    for _ in range(4 * threads):
        next(batches)
    count, began, began_processor = 0, time.perf_counter(), time.process_time()
    while time.perf_counter() - began < SECONDS.value:
        next(batches)
        count += 1
    return count / (time.perf_counter() - began), (time.process_time() - began_processor) / count


def main(_):
    """Prints a table."""
    with tempfile.TemporaryDirectory() as folder:
        cases = cache_cases(Balls(tuple(f"ball-{i}" for i in range(CASES.value))), folder, threads=1)
        print(f"{WINDOW.value} slices of {CROP.value} x {CROP.value} out of {len(cases)} cases of {SHAPE}")
        print(f"{'threads':>7} {'windows/s':>9} {'CPU ms/window':>13} {'load':>5}")
        for threads in THREADS.value:
            rate, processor = throughput(cases, threads)
            print(f"{threads:7d} {rate:9.1f} {1000 * processor:13.1f} {os.getloadavg()[0]:5.1f}", flush=True)
    print(f"{hardware()}; load: of the whole machine, over the last minute")


if __name__ == "__main__":
    app.run(main)
