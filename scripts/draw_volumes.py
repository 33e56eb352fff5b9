"""Draws volumes beside each other, one row for each plane through their middle.

python -m scripts.draw_volumes "T1, given=a.nii.gz" "T2, truth=b.nii.gz" "T2, predicted=c.nii.gz" --output OUT.png
"""

import argparse
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np

from lift_jax.data.volumes import read_volume


def planes(volume: np.ndarray) -> list[np.ndarray]:
    """Axial, coronal and sagittal slices of `[D, H, W]` through the middle of what is not zero, top of the head up."""
    spans = [np.flatnonzero(volume.any(axis=tuple({0, 1, 2} - {axis}))) for axis in range(3)]
    box = volume[tuple(slice(span[0], span[-1] + 1) for span in spans)]
    d, h, w = (side // 2 for side in box.shape)
    return [box[d, ::-1], box[::-1, h], box[::-1, :, w]]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("volumes", nargs="+", metavar="TITLE=FILE")
    parser.add_argument("--output", type=Path, required=True)
    arguments = parser.parse_args()
    titles, paths = zip(*(text.rsplit("=", 1) for text in arguments.volumes), strict=True)
    columns = [planes(read_volume(Path(path)).array) for path in paths]
    heights = [max(column[row].shape[0] for column in columns) for row in range(3)]
    ratios = {"height_ratios": heights}
    figure, axes = plt.subplots(3, len(columns), figsize=(2.4 * len(columns), 6.4), gridspec_kw=ratios, squeeze=False)
    for column, title, cells in zip(columns, titles, axes.T, strict=True):
        cells[0].set_title(title, color="white", fontsize=11)
        for plane, cell in zip(column, cells, strict=True):
            cell.imshow(plane, cmap="gray", vmin=0, vmax=np.quantile(column[0], 0.995), interpolation="bilinear")
            cell.axis("off")
    figure.patch.set_facecolor("black")
    figure.tight_layout(pad=0.4)
    figure.savefig(arguments.output, dpi=90, facecolor="black")


if __name__ == "__main__":
    main()
