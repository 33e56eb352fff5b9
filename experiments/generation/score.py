"""Scores volumes against held-out phantoms: VGG16 Fréchet distance per plane, |Δz| and voxel deviation."""

import os
from pathlib import Path

import numpy as np

from experiments.generation.imagenet import scorer

VGG = os.environ.get("LIFTU_VGG16", "weights/vgg16.safetensors")
SLICES = int(os.environ.get("LIFTU_SLICES", "8"))


def plane_slices(volumes: np.ndarray, plane: int, count: int = SLICES) -> np.ndarray:
    """`[V, D, H, W]` to `count` slices of each along an axis, evenly over the middle three quarters."""
    size = volumes.shape[1 + plane]
    places = np.round(np.linspace(size / 8, size * 7 / 8 - 1, count)).astype(int)
    slices = np.moveaxis(np.take(volumes, places, axis=1 + plane), 1 + plane, 1)
    return slices.reshape(-1, *slices.shape[2:])


def vgg_features(slices: np.ndarray, chunk: int = 128) -> np.ndarray:
    """Slices `[N, h, w]` in [0, 1] to `[N, 384]`."""
    encode = scorer(VGG)
    x = 2 * slices[..., None].astype(np.float32) - 1
    pad = -len(x) % chunk
    x = np.concatenate([x, np.zeros_like(x[:1]).repeat(pad, 0)]) if pad else x
    return np.concatenate([np.asarray(encode(x[i : i + chunk])) for i in range(0, len(x), chunk)])[: len(slices)]


def frechet(a: np.ndarray, b: np.ndarray) -> float:
    a, b = a.astype(np.float64), b.astype(np.float64)
    values, vectors = np.linalg.eigh(np.cov(b.T))
    root = (vectors * np.sqrt(values.clip(0))) @ vectors.T
    covariance = np.cov(a.T)
    cross = np.sqrt(np.linalg.eigvalsh(root @ covariance @ root).clip(0)).sum()
    return float(((a.mean(0) - b.mean(0)) ** 2).sum() + np.trace(covariance) + values.sum() - 2 * cross)


class Score:
    """Against fixed held-out volumes `[V, D, H, W]` in [0, 1]."""

    def __init__(self, held_out: np.ndarray, cache: str = ""):
        file = Path(f"{cache}.{len(held_out)}.{SLICES}.npy")
        if cache and file.exists():
            self.features = np.load(file)
        else:
            self.features = np.stack([vgg_features(plane_slices(held_out, p)) for p in range(3)])
            if cache:
                np.save(file, self.features)
        self.delta, self.deviation = _moments(held_out)

    def __call__(self, volumes: np.ndarray) -> dict:
        """Fréchet distances, and |Δz| and voxel standard deviation relative to the held-out ones."""
        distances = [frechet(vgg_features(plane_slices(volumes, p)), self.features[p]) for p in range(3)]
        delta, deviation = _moments(volumes)
        return {
            "frechet": [round(d, 1) for d in distances],
            "delta_z": round(float(100 * (delta / self.delta - 1)), 1),
            "deviation": round(float(100 * (deviation / self.deviation - 1)), 1),
        }


def _moments(volumes):
    return np.abs(np.diff(volumes, axis=1)).mean(), np.sqrt(volumes.var(0).mean())


def picture(path: str, rows: list[np.ndarray], count: int = 8, zoom: int = 4) -> None:
    """Middle axial, coronal and sagittal slices of the first `count` volumes of each set, enlarged."""
    import matplotlib.image

    lines = []
    for volumes in rows:
        depth, height, width = volumes.shape[1:]
        shown = volumes[:count]
        for slices in (shown[:, depth // 2], shown[:, ::-1, height // 2], shown[:, ::-1, :, width // 2 - 2]):
            lines.append(np.concatenate(slices, axis=1))
    image = np.concatenate(lines).clip(0, 1)
    image = np.kron(image, np.ones((zoom, zoom)))
    matplotlib.image.imsave(path, image, cmap="gray", vmin=0, vmax=1)
