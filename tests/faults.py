"""Kills the commands at random moments, starts them again, and compares what comes of it with undisturbed runs:

python -m tests.faults --moments 20 --seed 0

Two courses, train, evaluate and synthesize, of configs/quickstart.py:tiny and configs/phantom_unconditional.py:tiny, in
processes of their own. A moment is a phase and a place in it: the n-th file or line that appears, and a random delay.
"""

import argparse
import collections
import dataclasses
import itertools
import json
import math
import os
import pathlib
import random
import subprocess
import sys
import tempfile
import time

import nibabel as nib
import numpy as np

from tests.commands import REPOSITORY, metrics

CONFIGS = {
    "quickstart": ("--config=configs/quickstart.py:tiny",),
    "unconditional": ("--config=configs/phantom_unconditional.py:tiny",),
}
"""Course to the arguments of its training."""

SECONDS = 1800
"""A bound on any command, far beyond what a busy machine takes."""

TRAIN, EVALUATE, SYNTHESIZE = range(3)


@dataclasses.dataclass(frozen=True)
class Phase:
    """A part of a course: its command, the paths that appear during it, and how many may pass before the kill.

    Without `appears`, the moment is anywhere in the command's time. `grows`: lines of a file are counted, not paths.
    """

    name: str
    command: int
    appears: str = ""
    most: int = 1
    delay: float = 0.02  # s, the longest between what appears and the kill
    grows: bool = False


PHASES = {
    "quickstart": [
        Phase("caching", TRAIN, "run/cache/*", most=2),
        Phase("training", TRAIN, "run/metrics.jsonl", most=12, grows=True),
        Phase("checkpointing", TRAIN, "run/checkpoints/*/*", delay=0.1),
        Phase("evaluation", EVALUATE),
        Phase("report writing", EVALUATE, "run/evaluation/*", most=3, delay=0.002),
        Phase("synthesis", SYNTHESIZE, "output/*", delay=0.002),
    ],
    "unconditional": [
        Phase("caching", TRAIN, "run/cache/*", most=2),
        Phase("training", TRAIN, "run/metrics.jsonl", most=6, grows=True),
        Phase("stage change", TRAIN, "run/checkpoints/generator"),
        Phase("stage change", TRAIN, "run/cache/banks/*", most=3),
        Phase("checkpointing", TRAIN, "run/checkpoints/*/*", delay=0.1),
        Phase("stage change", TRAIN, "run/checkpoints/mapper"),
        Phase("evaluation", EVALUATE),
        Phase("report writing", EVALUATE, "run/evaluation/*", most=3, delay=0.002),
        Phase("synthesis", SYNTHESIZE, "output/*", most=3, delay=0.002),
    ],
}


class Course:
    """One configuration trained, evaluated and used in a folder, by commands that can be killed."""

    def __init__(self, name: str, folder: pathlib.Path, environment: dict, config: tuple[str, ...]):
        self.name, self.folder, self.environment = name, folder, environment
        work = [f"--workdir={folder / 'run'}"]
        made = [f"--case={folder / 'subjects'}"] if name == "quickstart" else ["--count=3", "--seed=7"]
        self.commands = [
            ["train.py", *config, *work],
            ["evaluate.py", *work],
            ["synthesize.py", *work, *made, f"--output={folder / 'output'}"],
        ]
        folder.mkdir(parents=True)

    def begin(self, command: int) -> subprocess.Popen:
        if command == SYNTHESIZE and self.name == "quickstart" and not (self.folder / "subjects").exists():
            made = f"--config {self.folder}/run/config.json --without t2f t1c --output {self.folder}/subjects"
            arguments = [sys.executable, "-m", "scripts.write_phantom", *made.split()]
            subprocess.run(arguments, cwd=REPOSITORY, env=self.environment, check=True, capture_output=True)
        with (self.folder / f"{command}.log").open("a") as log:
            arguments = [sys.executable, *self.commands[command]]
            return subprocess.Popen(arguments, cwd=REPOSITORY, env=self.environment, stdout=log, stderr=log)

    def finish(self, command: int) -> float:
        """Runs a command to its end, and returns its seconds."""
        began = time.monotonic()
        status = self.begin(command).wait(SECONDS)
        assert status == 0, (self.folder / f"{command}.log").read_text()
        return time.monotonic() - began

    def kill(self, phase: Phase, rng: random.Random, seconds: float) -> bool:
        """Kills a command in a phase, if it does not end before; `seconds` is what it takes undisturbed."""
        process = self.begin(phase.command)
        before, began = self._seen(phase), time.monotonic()
        expected, delay = rng.randint(1, phase.most), rng.uniform(0, phase.delay)
        until = began + (SECONDS if phase.appears else rng.uniform(0.1, 0.9) * seconds)
        while process.poll() is None and time.monotonic() < until:
            if phase.appears and self._appeared(before, self._seen(phase)) >= expected:
                time.sleep(delay)
                break
            time.sleep(0.001)
        process.kill()
        status = process.wait(SECONDS)
        assert status <= 0, (self.folder / f"{phase.command}.log").read_text()
        return status < 0

    def _seen(self, phase: Phase) -> collections.Counter:
        paths = self.folder.glob(phase.appears) if phase.appears else ()
        return collections.Counter(
            itertools.chain.from_iterable(path.read_text().splitlines() if phase.grows else [path] for path in paths)
        )

    @staticmethod
    def _appeared(before, now) -> int:
        return (now - before).total()

    def check_whole(self) -> None:
        """Every file under its own name is a whole one; names that begin with a dot are of what was in the making."""
        for path in self.folder.rglob("*"):
            inside = path.relative_to(self.folder)
            if any(part.startswith(".") or "tmp" in part for part in inside.parts) or not path.is_file():
                continue
            if path.suffix == ".npy":
                np.load(path, allow_pickle=False)
            elif path.suffix == ".json":
                json.loads(path.read_text())
            elif path.suffix == ".html":
                assert path.read_text().rstrip().endswith("</html>"), path
            elif path.name.endswith(".nii.gz"):
                np.asarray(nib.load(path).dataobj)

    def kept(self) -> dict:
        """What may not be made again: the log up to each stage's last checkpoint, cached arrays, and outputs."""
        run, last = self.folder / "run", collections.Counter()
        for path in (run / "checkpoints").glob("*/*"):
            if path.name.isdigit():
                last[path.parent.name] = max(last[path.parent.name], int(path.name))
        text = (run / "metrics.jsonl").read_text() if (run / "metrics.jsonl").exists() else ""
        lines = [line for line in text.splitlines() if line.endswith("}")]
        lines = [line for line in lines if json.loads(line)["step"] <= last[json.loads(line)["stage"]]]
        cached = [path for path in run.glob("cache/**/*.npy") if ".writing" not in str(path)]
        return {"lines": lines, "times": {path: path.stat().st_mtime_ns for path in cached}}

    def check_kept(self, kept: dict) -> None:
        """Nothing of `kept` was made again: rates in the log, and times of files, would show it."""
        lines = set((self.folder / "run" / "metrics.jsonl").read_text().splitlines())
        assert lines.issuperset(kept["lines"]), "steps before the last checkpoint were repeated"
        for path, written in kept["times"].items():
            assert path.stat().st_mtime_ns == written, f"{path} was made again"

    def results(self) -> dict:
        """What does not depend on the clock: the log without rates, scores, and volumes."""
        volumes = {path.name: np.asarray(nib.load(path).dataobj) for path in (self.folder / "output").glob("*.nii.gz")}
        table = self.folder / "run" / "evaluation" / "cases.csv"
        return {"log": metrics(self.folder / "run"), "scores": table.read_text(), "volumes": volumes}


def moments(name: str, count: int, rng: random.Random) -> list[Phase]:
    """So many phases of a course, in the order of its commands, each phase about as often as the others."""
    phases = PHASES[name]
    chosen = [phases[i % len(phases)] for i in range(count)]
    rng.shuffle(chosen)
    return sorted(chosen, key=lambda phase: (phase.command, phases.index(phase)))


def disturb(course: Course, phases: list[Phase], seconds: list[float], rng: random.Random, until=math.inf) -> int:
    """Goes through a course, killed at every phase while the clock is before `until`; returns how many kills hit."""
    kills, kept = 0, []
    for command in (TRAIN, EVALUATE, SYNTHESIZE):
        for phase in (phase for phase in phases if phase.command == command):
            if time.monotonic() > until:
                break
            killed = course.kill(phase, rng, seconds[command])
            course.check_whole()
            kept.append(course.kept())
            kills += killed
            print(f"{course.name}: {'killed in' if killed else 'ended before'} {phase.name}", flush=True)
        course.finish(command)
    for each in kept:
        course.check_kept(each)
    logs = "".join(path.read_text() for path in course.folder.glob("*.log"))
    assert "cannot be restored" not in logs and "Traceback" not in logs, logs
    return kills


def assert_same(actual: dict, expected: dict) -> None:
    """The same log, scores and volumes, to the bit."""
    assert actual["log"] == expected["log"]
    assert actual["scores"] == expected["scores"]
    assert actual["volumes"].keys() == expected["volumes"].keys() and expected["volumes"]
    for name, volume in expected["volumes"].items():
        np.testing.assert_array_equal(actual["volumes"][name], volume, err_msg=name)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--moments", type=int, default=20, help="kills, over both courses")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--courses", nargs="*", choices=CONFIGS, default=list(CONFIGS))
    parser.add_argument("--minutes", type=float, default=math.inf, help="after which nothing more is killed")
    arguments = parser.parse_args()
    rng, kills, planned, began = random.Random(arguments.seed), 0, 0, time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        compiled = {
            "JAX_COMPILATION_CACHE_DIR": f"{folder}/compiled",
            "JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS": "0",
        }
        environment = os.environ | {"JAX_PLATFORMS": "cpu"} | compiled
        for left, name in zip(range(len(arguments.courses), 0, -1), arguments.courses, strict=True):
            count = (arguments.moments - planned) // left
            planned += count
            undisturbed = Course(name, pathlib.Path(folder) / f"{name}-undisturbed", environment, CONFIGS[name])
            seconds = [undisturbed.finish(command) for command in (TRAIN, EVALUATE, SYNTHESIZE)]
            print(f"{name}: undisturbed in {', '.join(f'{s:.0f}' for s in seconds)} s", flush=True)
            course = Course(name, pathlib.Path(folder) / f"{name}-killed", environment, CONFIGS[name])
            kills += disturb(course, moments(name, count, rng), seconds, rng, began + 60 * arguments.minutes)
            assert_same(course.results(), undisturbed.results())
            print(f"{name}: log, scores and volumes as undisturbed", flush=True)
    print(f"{kills} of {arguments.moments} moments killed a command; {time.monotonic() - began:.0f} s")


if __name__ == "__main__":
    main()
