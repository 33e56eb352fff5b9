"""The process of one run of a sweep, started by `sweeps.parallel`: a work directory, a stage, and whether to score it.

Ends with status 1 and the reason on standard output if the run fails, and at once if standard input is closed.
"""

import os
import pathlib
import sys
import threading

from lift_jax.cli.process import prepare_jax

prepare_jax()


def main() -> None:
    """Does the work that the arguments name."""
    from lift_jax.sweeps.scheduler import Work, attempt

    threading.Thread(target=_end_with_parent, daemon=True).start()
    directory, stage, scored = sys.argv[1:]
    reason = attempt(Work(pathlib.Path(directory), stage, scored == "1"))
    if reason is not None:
        print(reason)
        sys.exit(1)


def _end_with_parent() -> None:
    sys.stdin.read()
    os._exit(1)


if __name__ == "__main__":
    main()
