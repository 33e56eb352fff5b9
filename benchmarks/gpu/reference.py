"""LiFT-U's reference run, larger than two cores can pay: trained for so many minutes, then evaluated when it is done.

    python -m benchmarks.gpu.reference --workdir runs/reference --minutes 9

Stops at the next step after that time, with a checkpoint; the same command goes on. Once all stages are trained, it
evaluates the run into `<workdir>/evaluation`. `--small` is the same at `:tiny` size, to see that the script runs.
"""

import argparse
import pathlib
import signal
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).parents[2]

LARGER = {
    "data.subjects.train": 1024,
    "model.generator.widths": "(256,192,128,64)",
    "model.generator.blocks": 2,
    "stage.encoder.steps": 5000,
    "stage.generator.steps": 20000,
    "stage.generator.batch": 256,
    "stage.generator.positives": 256,
    "stage.mapper.steps": 4000,
    "stage.mapper.batch": 32,
    "stage.mapper.positives": 64,
}
"""What a GPU is given beyond `configs/phantom_unconditional.py:reference`."""


def train_for(seconds: float, options: list[str]) -> bool:
    """Trains until the time is over, and says whether the run is finished."""
    process = subprocess.Popen([sys.executable, "train.py", *options], cwd=ROOT)
    try:
        return process.wait(timeout=seconds) == 0
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGTERM)
        process.wait()
        return False


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--workdir", type=pathlib.Path, required=True)
    parser.add_argument("--minutes", type=float, default=9)
    parser.add_argument("--small", action="store_true")
    arguments = parser.parse_args()
    began = time.monotonic()
    variant = "tiny" if arguments.small else "reference"
    overrides = {} if arguments.small else LARGER
    options = [f"--config=configs/phantom_unconditional.py:{variant}", f"--workdir={arguments.workdir.resolve()}"]
    options += [f"--config.{key}={value}" for key, value in overrides.items()]
    finished = train_for(60 * arguments.minutes, options)
    print(f"trained for {time.monotonic() - began:.0f} s; {'finished' if finished else 'the same command goes on'}")
    if finished:
        command = [sys.executable, "evaluate.py", f"--workdir={arguments.workdir.resolve()}"]
        subprocess.run(command, cwd=ROOT, check=True)


if __name__ == "__main__":
    main()
