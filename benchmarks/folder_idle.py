"""How long reading, computing and writing stand idle while a folder of subjects is translated.

    python -m benchmarks.folder_idle --config configs/brats_missing_mr.py --config.data.root=DIR

The parameters are fresh. The first subject goes through alone beforehand, so that nothing compiles in what is measured
but the programs of boxes of other sizes.
"""

import dataclasses
import os
import pathlib
import tempfile
import time
from typing import Any

import jax
from absl import app, flags
from ml_collections import config_flags

from lift_jax.data.channels import channels_of
from lift_jax.data.sources import all_subjects
from lift_jax.evaluation.cost import hardware, peak_memory
from lift_jax.inference.folder import work_through
from lift_jax.inference.synthesis import Synthesis
from lift_jax.models.translation.build import initial_parameters, volume_translator
from lift_jax.trained import Trained

CONFIG = config_flags.DEFINE_config_file("config", None, "of the network and the data set")
TARGET = flags.DEFINE_string("target", None, "channel to predict; default: the last target")


@dataclasses.dataclass
class Timed:
    """A `SubjectWork` that notes when each part of another one was busy, `(part, began, ended)`."""

    work: Any
    busy: list[tuple[str, float, float]] = dataclasses.field(default_factory=list)

    def __len__(self) -> int:
        """How many subjects there are."""
        return len(self.work)

    def __getattr__(self, name):
        method = getattr(self.work, name)
        if name not in ("read", "predict", "write"):
            return method

        def noted(*arguments):
            began = time.perf_counter()
            try:
                return method(*arguments)
            finally:
                self.busy.append((name, began, time.perf_counter()))

        return noted


def idle_shares(busy: list[tuple[str, float, float]]) -> dict[str, float]:
    """Of the time from the first beginning to the last end, the share in which each part did nothing.

    Args:
      busy: `(part, began, ended)`; a part does one thing at a time.
    """
    whole = max(ended for *_, ended in busy) - min(began for _, began, _ in busy)
    parts = dict.fromkeys(part for part, *_ in busy)
    return {part: 1 - sum(ended - began for name, began, ended in busy if name == part) / whole for part in parts}


def main(_):
    """Prints a row for each part."""
    config = CONFIG.value
    channels = channels_of(config.data)
    network = volume_translator(config.model, channels)
    params = initial_parameters(network, jax.random.key(0))
    trained = Trained(config, channels, network, params, "fresh", 0)
    subjects = all_subjects(config.data, pathlib.Path(config.data.root), check=False)
    with tempfile.TemporaryDirectory() as folder:
        target = TARGET.value or channels.targets[-1]
        work = Synthesis(trained, subjects, pathlib.Path(folder), target, force=True)
        work.write(work.predict(work.read(0)), 0.0)
        timed, processor = Timed(work), time.process_time()
        for outcome in work_through(timed):
            if outcome.error:
                print(outcome.error)
        processor = time.process_time() - processor
    seconds = max(ended for *_, ended in timed.busy) - min(began for _, began, _ in timed.busy)
    print(f"{len(work)} subjects in {seconds:.1f} s, {processor:.1f} s of the processors, peak {peak_memory():.2f} GiB")
    print("| part | seconds a subject | idle |\n|---|---|---|")
    for part, share in idle_shares(timed.busy).items():
        print(f"| {part} | {(1 - share) * seconds / len(work):.2f} | {share:.0%} |")
    print(f"{hardware()}; load {os.getloadavg()[0]:.1f}")


if __name__ == "__main__":
    app.run(main)
