"""What the scripts that draw phantoms have in common: which phantoms, and where the picture goes."""

import argparse
from collections.abc import Callable, Sequence
from pathlib import Path

import matplotlib

matplotlib.use("Agg")


def write_montage(description: str, make: Callable, draw: Callable[[Sequence], object], *, count: int, side: int):
    """Reads the command line, makes the phantoms and writes the picture.

    Args:
      description: of the command.
      make: `(seed, index, shape)` to a phantom.
      draw: phantoms to a matplotlib figure.
      count: phantoms, if the command line does not say.
      side: of a volume, likewise.
    """
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=Path, required=True)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--first", type=int, default=0, help="index of the first phantom")
    parser.add_argument("--count", type=int, default=count)
    parser.add_argument("--shape", type=int, nargs=3, default=(side,) * 3, metavar=("D", "H", "W"))
    arguments = parser.parse_args()
    indices = range(arguments.first, arguments.first + arguments.count)
    phantoms = [make(arguments.seed, index, tuple(arguments.shape)) for index in indices]
    draw(phantoms).savefig(arguments.output, dpi=100)
