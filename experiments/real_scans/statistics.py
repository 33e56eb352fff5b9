"""Levels and joint relations of channels, of scans and of phantoms: do the phantoms' ranges cover the scans'?

    python -m experiments.real_scans.statistics --root DIR [--root DIR …] --phantoms 60

Prints, for each channel, quantiles of its level in the brain; and for each pair, the mean of the second channel in
octiles of the first, and its spread there, both relative to its median, outside tumors. Scans are normalized at their
own resolution and averaged to 4 mm. A dot marks a number within the phantoms' 3rd to 97th percentile, v one below, ^
one above.
"""

import argparse
import itertools

import numpy as np
from scipy import ndimage

from experiments.real_scans.scans import CHANNELS, read_scans
from lift_jax.data.phantom.brain import make_head, make_phantom
from lift_jax.data.phantom.tissues import CORE, EDEMA, RIM

SPACING = 4.0
SHAPE = (39, 60, 60)
QUANTILES = (0.02, 0.05, 0.25, 0.5, 0.75, 0.95, 0.99)


def statistics(values: dict[str, np.ndarray], healthy: np.ndarray) -> dict[str, np.ndarray]:
    """Quantiles by channel, and by pair `first>second` eight relative means and the mean relative spread.

    Args:
      values: by channel, the voxels of the brain `[N]`.
      healthy: `[N]` bool, voxels outside tumors.
    """
    found = {channel: np.quantile(levels, QUANTILES) for channel, levels in values.items()}
    for first, second in itertools.permutations(values, 2):
        x, y = values[first][healthy], values[second][healthy]
        octile = np.clip(np.searchsorted(np.quantile(x, np.arange(1, 8) / 8), x), 0, 7)
        parts = [y[octile == i] for i in range(8)]
        numbers = [*(part.mean() for part in parts), np.mean([part.std() for part in parts])]
        found[f"{first}>{second}"] = np.array(numbers) / np.median(y)
    return found


def of_scans(root: str) -> dict[str, dict[str, np.ndarray]]:
    """`statistics` of every scan below a folder, by name."""
    found = {}
    for scan in read_scans(root):
        coarse = scan.resampled(SPACING)
        brain = np.max(list(coarse.images.values()), axis=0) > 0
        tumor = np.zeros_like(brain) if coarse.tumor is None else ndimage.binary_dilation(coarse.tumor)
        found[scan.name] = statistics({name: image[brain] for name, image in coarse.images.items()}, ~tumor[brain])
    return found


def of_phantoms(count: int, seed: int = 99) -> list[dict[str, np.ndarray]]:
    """`statistics` of the first phantoms of a data set."""
    found = []
    for index in range(count):
        head = make_head(seed, index, SHAPE, SPACING)
        images = make_phantom(seed, index, SHAPE, SPACING).targets[head.mask]
        tumor = head.fractions[:, (CORE, RIM, EDEMA)].sum(axis=1)
        found.append(statistics(dict(zip(CHANNELS, images.T, strict=True)), tumor < 0.02))
    return found


def main():
    """See the module's docstring."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", action="append", required=True)
    parser.add_argument("--phantoms", type=int, default=60)
    options = parser.parse_args()
    scans = {name: found for root in options.root for name, found in of_scans(root).items()}
    phantoms = of_phantoms(options.phantoms)
    covered = []
    for key in phantoms[0]:
        low, middle, high = np.percentile([found[key] for found in phantoms], (3, 50, 97), axis=0)
        print(
            key, *(f"\n  {name:18s} {np.round(row, 2)}" for name, row in (("3%", low), ("50%", middle), ("97%", high)))
        )
        for name, found in scans.items():
            if key in found:
                marks = ["v" if x < a else "^" if x > b else "." for x, a, b in zip(found[key], low, high, strict=True)]
                print(f"  {name:18s} {np.round(found[key], 2)} {''.join(marks)}")
                covered.append(np.mean([mark == "." for mark in marks]))
    print(f"covered: {np.mean(covered):.1%} of the scans' numbers")


if __name__ == "__main__":
    main()
