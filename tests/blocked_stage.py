"""One of two processes that train a small stage together, of which the second stops reading after two steps.

python tests/blocked_stage.py HOST:PORT PROCESS FOLDER
"""

import pathlib
import sys
import threading

import numpy as np

from lift_jax import hosts

HANG_SECONDS, BLOCKED_AFTER = 15, 2


class Blocked:
    """Batches that in one process come to no end of their third."""

    def __init__(self, process):
        self._process, self._given = process, 0

    def __next__(self):
        if self._process == 1 and self._given == BLOCKED_AFTER:
            threading.Event().wait()
        self._given += 1
        return {"y": np.ones(4, np.float32)}

    def get_state(self):
        return {}

    def set_state(self, state):
        pass


def main():
    coordinator, process, folder = sys.argv[1], int(sys.argv[2]), pathlib.Path(sys.argv[3])
    hosts.join(coordinator, 2, process, seconds=240, hang=HANG_SECONDS)
    from lift_jax.training.loop import run_stage
    from tests.small_stage import descent, small_run

    run_stage(descent(20, Blocked(process)), small_run(), folder)


if __name__ == "__main__":
    main()
