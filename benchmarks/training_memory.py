"""Whether training holds on to memory: that of the process over 2,000 small steps of configs/quickstart.py.

python -m benchmarks.training_memory --steps=2000

Prints the median memory in use of each tenth of the steps, in MiB, and the growth from the sixth tenth to the last:
until then, each kind of work (logging, validation, checkpoints) has taken its turn and its memory. In use is what stays
resident when the C library is asked for what it keeps to hand out again (glibc's `malloc_trim`): hundreds of MiB of
compilation, in pieces, which otherwise hide what the steps take.
"""

import argparse
import ctypes
import json
import os
import pathlib
import statistics
import tempfile
import threading

from configs.quickstart import get_config
from lift_jax.cli.process import prepare_jax

prepare_jax()

PARTS = 10


def small_config(steps: int):
    """The quickstart's tiny configuration, smaller still, with so many steps."""
    config = get_config("tiny")
    config.data.size, config.data.spacing = (16, 16, 16), 12.0
    config.model.translator.widths, config.model.translator.condition_features = (4, 8), 8
    config.model.mixer.hidden = 4
    config.stage.joint.steps, config.stage.joint.slices = steps, 8
    config.checkpoint.every_steps, config.log.every_steps, config.log.validate_every_steps = 100, 10, 500
    config.inference.chunk = 16
    return config


def mebibytes_in_use() -> float:
    """Resident memory of this process without what its C library keeps free."""
    ctypes.CDLL(None).malloc_trim(0)
    pages = int(pathlib.Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def medians(steps: int) -> list[float]:
    """Trains, and returns the median memory in use of each part of the steps, MiB."""
    from lift_jax.tasks.run import train

    samples: dict[int, list[float]] = {part: [] for part in range(PARTS)}
    with tempfile.TemporaryDirectory() as folder:
        log, over = pathlib.Path(folder) / "metrics.jsonl", threading.Event()

        def sample():
            while not over.wait(0.2):
                lines = log.read_text().splitlines(keepends=True) if log.exists() else []
                whole = [line for line in lines if line.endswith("\n")]
                if whole:
                    part = min(json.loads(whole[-1])["step"] * PARTS // steps, PARTS - 1)
                    samples[part].append(mebibytes_in_use())

        sampler = threading.Thread(target=sample)
        sampler.start()
        try:
            train(small_config(steps), pathlib.Path(folder))
        finally:
            over.set()
            sampler.join()
    return [statistics.median(part) for part in samples.values() if part]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--steps", type=int, default=2000)
    found = medians(parser.parse_args().steps)
    print(", ".join(f"{mebibytes:.0f}" for mebibytes in found))
    print(f"growth from the sixth part to the last: {found[-1] - found[5]:.1f} MiB")


if __name__ == "__main__":
    main()
