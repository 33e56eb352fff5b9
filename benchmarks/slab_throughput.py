"""Training slabs a second out of cached volumes of BraTS size, by the number of threads that read ahead.

    python -m benchmarks.slab_throughput             # whole grids, slabs cropped to 128×128
    python -m benchmarks.slab_throughput --box       # boxes around the foreground, whole slices

Slabs of 48 slices of four channels. The volumes are noise in a ball of 240×240×155 voxels, made in a temporary folder
and read over and over, so that the disk's speed does not show: it is the processors' share.
"""

import os
import pathlib
import tempfile
import time

from absl import app, flags

from benchmarks.balls import Balls
from lift_jax.config import missing_mr
from lift_jax.data.cache import CachedSubject, cache_subjects
from lift_jax.data.channels import Channels, channels_of
from lift_jax.data.slabs import RandomSlab, slab_size, training_batches
from lift_jax.data.subject import BoxedSubjects
from lift_jax.evaluation.cost import hardware

SUBJECTS = flags.DEFINE_integer("subjects", 4, "cached volumes", 1)
SECONDS = flags.DEFINE_float("seconds", 8.0, "time to measure for each number of threads", 0)
THREADS = flags.DEFINE_multi_integer("threads", [1, 2], "threads that read ahead; repeat the flag for several", 1)
WINDOW = flags.DEFINE_integer("window", 48, "slices of a slab", 1)
CROP = flags.DEFINE_integer("crop", 128, "rows and columns of a slab of whole grids", 1)
BOX = flags.DEFINE_boolean("box", False, "cache and read boxes around the foreground")
GRID = flags.DEFINE_multi_integer("grid", [155, 240, 240], "slices, rows and columns; give the flag three times", 16)


def throughput(subjects: list[CachedSubject], channels: Channels, threads: int) -> tuple[float, float]:
    """Slabs a second, and processor seconds a slab, once what was read ahead at the start is used up."""
    crop = (0, 0) if BOX.value else (CROP.value,) * 2
    slab = RandomSlab(WINDOW.value, slab_size(subjects, crop, 8), channels, gamma=0.1)
    batches = training_batches(subjects, slab, seed=0, batch=1, threads=threads)
    for _ in range(4 * threads):
        next(batches)
    count, began, began_processor = 0, time.perf_counter(), time.process_time()
    while time.perf_counter() - began < SECONDS.value:
        next(batches)
        count += 1
    return count / (time.perf_counter() - began), (time.process_time() - began_processor) / count


def main(_):
    """Prints a table."""
    channels = channels_of(missing_mr().data)
    source = Balls(tuple(f"ball-{i}" for i in range(SUBJECTS.value)), channels.protocols, tuple(GRID.value))
    with tempfile.TemporaryDirectory() as folder:
        subjects = cache_subjects(BoxedSubjects(source) if BOX.value else source, folder, threads=1)
        size = sum(path.stat().st_size for path in pathlib.Path(folder).rglob("*.npy")) / len(subjects)
        print(f"{WINDOW.value} slices out of {len(subjects)} volumes of {subjects[0].shape}, {size / 1e6:.0f} MB each")
        print(f"{'threads':>7} {'slabs/s':>9} {'CPU ms/slab':>13} {'load':>5}")
        for threads in THREADS.value:
            rate, processor = throughput(subjects, channels, threads)
            print(f"{threads:7d} {rate:9.1f} {1000 * processor:13.1f} {os.getloadavg()[0]:5.1f}", flush=True)
    print(f"{hardware()}; load: of the whole machine, over the last minute")


if __name__ == "__main__":
    app.run(main)
