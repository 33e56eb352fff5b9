"""Draws docs/images/method.png: LiFT-U and LiFT-C as block diagrams, with slices of a phantom.

python -m scripts.draw_method --output docs/images/method.png
"""

import argparse
import pathlib

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch

from lift_jax.data.phantom.brain import head_spacing, make_phantom

SHAPE = (48, 48, 48)
"""Slices, rows and columns of the phantom."""

SOURCE, TARGET = 2, 3
"""Channels of the phantom that are drawn as source and target of LiFT-C: t2w and t2f."""

NETWORK, DEPTH, FROZEN = "#cfe3f7", "#fbe0b8", "#e4e4e4"
"""Colors of the 2D networks, of what runs along depth, and of frozen networks."""


def box(axes, x: float, y: float, width: float, text: str, color: str, height: float = 0.75) -> None:
    """A labeled box centered at (x, y)."""
    axes.add_patch(
        FancyBboxPatch(
            (x - width / 2, y - height / 2),
            width,
            height,
            boxstyle="round,pad=0,rounding_size=0.12",
            facecolor=color,
            edgecolor="0.25",
            linewidth=1,
        )
    )
    axes.text(x, y, text, ha="center", va="center", fontsize=9)


def arrow(axes, start: tuple[float, float], end: tuple[float, float], text: str = "", bend: float = 0.0) -> None:
    """An arrow with an optional label above its middle."""
    axes.add_patch(
        FancyArrowPatch(
            start,
            end,
            arrowstyle="-|>",
            mutation_scale=11,
            color="0.25",
            linewidth=1.2,
            connectionstyle=f"arc3,rad={bend}",
        )
    )
    if text:
        axes.text((start[0] + end[0]) / 2, (start[1] + end[1]) / 2 + 0.13, text, ha="center", fontsize=8, color="0.2")


def stack(axes, x: float, y: float, slices: list[np.ndarray], label: str) -> None:
    """Slices as a stack of cards, the first one in front."""
    side, shift = 1.0, 0.22
    for i, image in reversed(list(enumerate(slices))):
        left, bottom = x - side / 2 + (i - 1) * shift, y - side / 2 + (i - 1) * shift
        extent = (left, left + side, bottom, bottom + side)
        axes.imshow(image, extent=extent, cmap="gray", vmin=0, vmax=1, zorder=3 - 0.1 * i, interpolation="bilinear")
        axes.plot(
            [left, left + side, left + side, left, left],
            [bottom, bottom, bottom + side, bottom + side, bottom],
            color="white",
            linewidth=0.7,
            zorder=3.05 - 0.1 * i,
        )
    axes.text(x + 0.1, y - 0.95, label, ha="center", va="top", fontsize=9)


def draw_unconditional(axes, slices: list[np.ndarray], planes: list[np.ndarray]) -> None:
    """LiFT-U from left to right: noise, depth mapper, slice generator, volume, loss in three planes."""
    axes.set_title("LiFT-U: noise to volume", loc="left", fontsize=11, fontweight="bold")
    axes.text(0.55, 0, "z ~ N(0, I)\none per volume", ha="center", va="center", fontsize=9)
    box(axes, 3.0, 0, 1.9, "depth mapper\n$M(z, \\gamma(d))$", DEPTH)
    axes.text(3.0, -0.95, "depth $d \\in [-1, 1]$", ha="center", va="center", fontsize=8, color="0.2")
    arrow(axes, (3.0, -0.8), (3.0, -0.4))
    arrow(axes, (1.3, 0), (2.0, 0))
    box(axes, 6.0, 0, 2.0, "slice generator\n$G(c_d)$, frozen", FROZEN)
    arrow(axes, (4.0, 0), (4.95, 0), "$c_1 \\ldots c_D$")
    stack(axes, 8.4, 0, slices, "volume [D, H, W]")
    arrow(axes, (7.05, 0), (7.6, 0))
    for i, (image, name) in enumerate(zip(planes, ("axial", "coronal", "sagittal"), strict=True)):
        left = 10.0 + 0.95 * i
        axes.imshow(
            image, extent=(left, left + 0.85, -0.42, 0.43), cmap="gray", vmin=0, vmax=1, interpolation="bilinear"
        )
        axes.text(left + 0.42, -0.6, name, ha="center", va="top", fontsize=8)
    arrow(axes, (9.35, 0), (9.9, 0))
    axes.text(11.4, 0.72, "tri-planar drifting loss", ha="center", fontsize=9)
    axes.text(11.4, -0.92, "slice features drift towards real ones", ha="center", va="top", fontsize=8, color="0.2")


def draw_conditional(axes, sources: list[np.ndarray], targets: list[np.ndarray]) -> None:
    """LiFT-C from left to right: source slices, encoder, z-mixer over all slices, decoder, target slices."""
    axes.set_title("LiFT-C: source volume to target volume", loc="left", fontsize=11, fontweight="bold")
    stack(axes, 0.8, 0, sources, "source, such as T2w")
    box(axes, 3.4, 0, 1.7, "slice encoder\n2D U-Net", NETWORK)
    arrow(axes, (1.75, 0), (2.5, 0))
    box(axes, 6.2, 0, 2.0, "z-mixer: GRU along\ndepth, both ways", DEPTH)
    arrow(axes, (4.3, 0), (5.15, 0), "$b_1 \\ldots b_D$")
    box(axes, 9.0, 0, 1.7, "slice decoder\n2D U-Net", NETWORK)
    arrow(axes, (7.25, 0), (8.1, 0), "$c_1 \\ldots c_D$")
    arrow(axes, (3.4, 0.42), (9.0, 0.42), bend=-0.22)
    axes.text(6.2, 1.13, "skips and bottleneck $h_d$ of each slice", ha="center", fontsize=8, color="0.2")
    arrow(axes, (9.9, 0), (10.6, 0))
    stack(axes, 11.4, 0, targets, "target, such as FLAIR")
    axes.text(
        6.2, -0.75, "the only part that sees more than one slice", ha="center", va="center", fontsize=8, color="0.2"
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--output", type=pathlib.Path, required=True)
    arguments = parser.parse_args()
    phantom = make_phantom(0, 3, SHAPE, head_spacing(SHAPE))
    depth, height, width = SHAPE
    shown = [depth // 2, depth // 2 + 5, depth // 2 + 10]
    figure, rows = plt.subplots(2, 1, figsize=(10.8, 4.5), layout="constrained")
    t1 = phantom.targets[..., 0]
    planes = [t1[depth // 2, ::-1], t1[::-1, height // 2], t1[::-1, :, int(0.43 * width)]]
    draw_unconditional(rows[0], [t1[i, ::-1] for i in shown], planes)
    sources, targets = phantom.sources[..., SOURCE], phantom.targets[..., TARGET]
    draw_conditional(rows[1], [sources[i, ::-1] for i in shown], [targets[i, ::-1] for i in shown])
    for axes in rows:
        axes.set(xlim=(-0.4, 13.0), ylim=(-1.4, 1.3), aspect="equal")
        axes.set_axis_off()
    arguments.output.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(arguments.output, dpi=140, facecolor="white")


if __name__ == "__main__":
    main()
