"""Where the seconds of `synthesize` on one subject go, from a process's start: the first of its kind, and the next.

    python -m benchmarks.startup --config configs/brats_missing_mr.py --config.data.root=DIR
    python -m benchmarks.startup --workdir runs/brats --root DIR

Without a work directory, one is made with fresh parameters. Both processes share a compilation cache, which is empty
before the first. `compute` is a second prediction of the same subject, `compile` what the first one took longer.
Seconds on the clock, and, in parentheses, of this process's processors, which other programs disturb less.
"""

import json
import os
import pathlib
import subprocess
import sys
import tempfile
import time

from absl import app, flags
from ml_collections import config_flags

CONFIG = config_flags.DEFINE_config_file("config", None, "of the run, whose data.root holds the subject")
WORKDIR = flags.DEFINE_string("workdir", None, "a trained run, in place of --config")
ROOT = flags.DEFINE_string("root", None, "folder of the subjects; default: data.root of the configuration")
CHILD = flags.DEFINE_boolean("child", False, "measure in this process and print JSON")


class Clock:
    """Seconds since the last reading, on the clock and of the processors; the first since the process began."""

    def __init__(self):
        self.parts: dict[str, tuple[float, float]] = {}
        self._wall, self._processor = time.time() - process_age(), 0.0

    def read(self, name: str) -> None:
        """Names what ended just now."""
        wall, processor = time.time(), time.process_time()
        self.parts[name] = wall - self._wall, processor - self._processor
        self._wall, self._processor = wall, processor


def process_age() -> float:
    """Seconds since this process began; 0 where the system does not say."""
    try:
        started = int(pathlib.Path("/proc/self/stat").read_text().rsplit(")", 1)[1].split()[19])
        uptime = float(pathlib.Path("/proc/uptime").read_text().split()[0])
    except OSError:
        return 0.0
    return uptime - started / os.sysconf("SC_CLK_TCK")


def measure(workdir: pathlib.Path, root: pathlib.Path, output: pathlib.Path) -> dict[str, tuple[float, float]]:
    """The parts of translating the first subject of a folder, as `synthesize.py` goes through them."""
    clock = Clock()
    clock.read("interpreter")
    from lift_jax.cli import process

    process.prepare_jax()
    process.require_devices()
    from lift_jax.data.sources import all_subjects
    from lift_jax.inference.synthesis import Synthesis
    from lift_jax.tasks import translation_synthesis  # noqa: F401  what the command imports
    from lift_jax.trained import for_inference, load_trained

    clock.read("import")
    trained = for_inference(load_trained(workdir))
    clock.read("restore")
    subjects = all_subjects(trained.config.data, root, check=False)
    present = subjects.channels(0)
    target = trained.channels.predictable(present)[-1]
    work = Synthesis(trained, subjects, output, target, force=True)
    read = work.read(0)
    clock.read("read")
    work.predict(read)
    clock.read("compile")
    result = work.predict(read)
    clock.read("compute")
    work.write(result, 0.0)
    clock.read("write")
    first, second = clock.parts["compile"], clock.parts["compute"]
    return clock.parts | {"compile": tuple(a - b for a, b in zip(first, second, strict=True))}


def make_run(config, workdir: pathlib.Path) -> None:
    """A work directory with a checkpoint of fresh parameters."""
    from lift_jax.training.checkpoints import finish_saving, open_checkpoints, save_checkpoint

    from benchmarks.translation_steps import fill_state, joint_step
    from lift_jax import run_directory
    from lift_jax.training.loop import ReplicatedBatch

    run_directory.prepare(workdir, config)
    directory = run_directory.checkpoint_directory(workdir, config.stages[-1])
    with open_checkpoints(directory, every=1, keep=1, last=1) as manager:
        save_checkpoint(manager, fill_state(joint_step(config)), ReplicatedBatch({}), config, 1, now=True)
        finish_saving(manager)


def run_child(workdir: str, root: str, cache: pathlib.Path) -> dict:
    """The parts of a process of its own."""
    command = [sys.executable, "-m", "benchmarks.startup", "--child", f"--workdir={workdir}", f"--root={root}"]
    environment = os.environ | {"JAX_COMPILATION_CACHE_DIR": str(cache)}
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, env=environment)
    return json.loads(done.stdout.splitlines()[-1])


def main(_):
    """Prints the table, or measures one process."""
    if CHILD.value:
        with tempfile.TemporaryDirectory() as output:
            parts = measure(pathlib.Path(WORKDIR.value), pathlib.Path(ROOT.value), pathlib.Path(output))
        print(json.dumps(parts))
        return
    with tempfile.TemporaryDirectory() as folder:
        workdir, root = WORKDIR.value, ROOT.value
        if workdir is None:
            workdir, root = f"{folder}/run", root or CONFIG.value.data.root
            make_run(CONFIG.value, pathlib.Path(workdir))
        first, second = (run_child(workdir, root, pathlib.Path(folder) / "compiled") for _ in range(2))
    print("| part | first process | next process |\n|---|---|---|")
    rows = {name: (first[name], second[name]) for name in first}
    rows["besides computing"] = tuple(
        [sum(part[i] for name, part in run.items() if name != "compute") for i in range(2)] for run in (first, second)
    )
    for name, cells in rows.items():
        print(f"| {name} | " + " | ".join(f"{wall:.2f} ({processor:.2f})" for wall, processor in cells) + " |")
    print(f"\nload {os.getloadavg()[0]:.1f}")


if __name__ == "__main__":
    app.run(main)
