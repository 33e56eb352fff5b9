"""Draws phantom heads: three planes in MR, and in CT through a brain and a bone window.

python -m scripts.phantom_head_montage --output montage.png --count 2 --shape 64 64 64
"""

import matplotlib.pyplot as plt
import numpy as np

from lift_jax.data.phantom.head import PhantomHead, field_spacing, make_phantom_head
from scripts.montage import write_montage

WINDOWS = {"MR": (0.0, 1.0), "CT, brain window": (0.0, 80.0), "CT, bone window": (-550.0, 1450.0)}
"""Lower and upper end of the gray scale: W80 L40 and W2000 L450."""

AXIAL = (0.24, 0.33, 0.42, 0.5, 0.65, 0.8)
CORONAL = (0.25, 0.45, 0.62, 0.75)
SAGITTAL = (0.5, 0.36)
"""Places of the planes, as shares of the field of view."""


def planes_of(volume: np.ndarray) -> list[np.ndarray]:
    """Axial, coronal and sagittal planes of `[D, H, W]`, head and nose up."""
    depth, height, width = volume.shape
    return [
        *(volume[int(share * depth), ::-1] for share in AXIAL),
        *(volume[::-1, int(share * height)] for share in CORONAL),
        *(volume[::-1, :, int(share * width)] for share in SAGITTAL),
    ]


def draw(heads: list[PhantomHead]) -> plt.Figure:
    """One row per head and window, one column per plane."""
    columns, rows = len(AXIAL) + len(CORONAL) + len(SAGITTAL), len(heads) * len(WINDOWS)
    figure, panels = plt.subplots(
        rows, columns, figsize=(1.7 * columns, 1.8 * rows), facecolor="black", layout="constrained", squeeze=False
    )
    for i, head in enumerate(heads):
        for j, (name, (low, high)) in enumerate(WINDOWS.items()):
            volume = head.mr if name == "MR" else head.ct
            for panel, plane in zip(panels[len(WINDOWS) * i + j], planes_of(volume), strict=True):
                panel.imshow(plane, cmap="gray", vmin=low, vmax=high, interpolation="nearest")
                panel.set_axis_off()
            panels[len(WINDOWS) * i + j, 0].set_title(name, color="white", fontsize=8)
    return figure


def phantom(seed: int, index: int, shape: tuple[int, int, int]):
    """A head whose field of view holds the head."""
    return make_phantom_head(seed, index, shape, field_spacing(shape))


if __name__ == "__main__":
    write_montage(__doc__, phantom, draw, count=2, side=64)
