"""Many small images as one picture."""

import numpy as np


def planes_picture(volumes: np.ndarray) -> np.ndarray:
    """The three middle planes of volumes `[n, D, H, W]` in [0, 1], a row each, superior and anterior up."""
    rows = []
    for plane in range(3):
        images = np.take(volumes, volumes.shape[1 + plane] // 2, axis=1 + plane)[:, ::-1]
        side = max(volumes.shape[1:])
        missing = [side - size for size in images.shape[1:]]
        rows.append(np.pad(images, ((0, 0), *((n // 2, n - n // 2) for n in missing))))
    return tile(np.concatenate(rows), len(volumes))


def tile(images: np.ndarray, columns: int) -> np.ndarray:
    """Images `[n, h, w]` in [0, 1], row by row, as a picture `[height, width, 3]` uint8; n is a multiple of columns."""
    _, height, width = images.shape
    rows = images.reshape(-1, columns, height, width).transpose(0, 2, 1, 3).reshape(-1, columns * width)
    gray = (np.clip(np.nan_to_num(rows.astype(np.float32)), 0, 1) * 255).astype(np.uint8)
    return np.repeat(gray[..., None], 3, axis=-1)
