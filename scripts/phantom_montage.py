"""Draws phantom brains: three planes through the middle of the head, sources (with slice gains) beside targets.

python -m scripts.phantom_montage --output montage.png --count 3 --shape 48 48 48
"""

import matplotlib.pyplot as plt
import numpy as np

from lift_jax.data.datasets import BRATS_CHANNELS as CHANNELS
from lift_jax.data.phantom.brain import PhantomBrain, head_spacing, make_phantom
from scripts.montage import write_montage

PLANES = ("axial", "coronal", "sagittal")


def planes_of(volume: np.ndarray) -> list[np.ndarray]:
    """Middle axial, coronal and (off the midline) sagittal planes of `[D, H, W]`, head and nose up."""
    depth, height, width = volume.shape
    return [volume[depth // 2, ::-1], volume[::-1, height // 2], volume[::-1, :, int(0.43 * width)]]


def draw(brains: list[PhantomBrain]) -> plt.Figure:
    """One row per brain and plane; columns are the channels of the sources, then of the targets."""
    columns = [(kind, channel) for kind in ("sources", "targets") for channel in CHANNELS]
    rows = len(PLANES) * len(brains)
    figure, panels = plt.subplots(
        rows,
        len(columns),
        figsize=(1.6 * len(columns), 1.6 * rows),
        squeeze=False,
        facecolor="black",
        layout="constrained",
    )
    for column, (kind, channel) in enumerate(columns):
        for row, brain in enumerate(brains):
            for plane_index, plane in enumerate(planes_of(getattr(brain, kind)[..., column % len(CHANNELS)])):
                panel = panels[row * len(PLANES) + plane_index, column]
                panel.imshow(plane, cmap="gray", vmin=0, vmax=1, interpolation="nearest")
                panel.set_axis_off()
        panels[0, column].set_title(f"{channel} ({kind[:-1]})", color="white", fontsize=8)
    return figure


def phantom(seed: int, index: int, shape: tuple[int, int, int]):
    """A brain whose field of view holds the head."""
    return make_phantom(seed, index, shape, head_spacing(shape))


if __name__ == "__main__":
    write_montage(__doc__, phantom, draw, count=3, side=48)
