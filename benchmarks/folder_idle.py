"""How long reading, computing and writing stand idle while a folder of subjects is translated.

    python -m benchmarks.folder_idle --config configs/brats_missing_mr.py --config.data.root=DIR

The parameters are fresh. The first subject goes through alone beforehand, so that nothing compiles in what is measured
but the programs of boxes of other sizes.
"""

import os
import pathlib
import tempfile
import time

import jax
from absl import app, flags
from ml_collections import config_flags

from benchmarks.timed_work import Timed, idle_shares
from lift_jax.data.channels import channels_of
from lift_jax.data.sources import all_subjects
from lift_jax.evaluation.cost import hardware, peak_memory
from lift_jax.inference.output import work_through
from lift_jax.inference.synthesis import Synthesis
from lift_jax.models.volume_translator import initial_parameters, volume_translator
from lift_jax.trained import Trained

CONFIG = config_flags.DEFINE_config_file("config", None, "of the network and the data set")
TARGET = flags.DEFINE_string("target", None, "channel to predict; default: the last target")


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
