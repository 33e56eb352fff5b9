"""The embedded data set: brains made on demand, with real anatomy, the physics of four channels, and slice gains."""

import dataclasses
import functools

import numpy as np
from scipy import ndimage

from lift_jax.data.intensity import get_protocol
from lift_jax.data.phantom.anatomy import Anatomy, make_anatomy, template_maps
from lift_jax.data.phantom.fields import check_grid, grid_affine, grid_axes
from lift_jax.data.phantom.mr import (
    Imaging,
    Protocol,
    draw_gains,
    draw_imaging,
    draw_protocol,
    scan,
)
from lift_jax.data.phantom.pathology import draw_lesions, draw_tumor
from lift_jax.data.phantom.tissues import Relaxation, draw_relaxation

VERSION = 4
"""Part of every fingerprint: to be raised with any change that changes a subject."""

TUMOR_PROBABILITY = 0.75
LESIONS_PROBABILITY = 0.3

HEAD_MM = (155.0, 192.0, 192.0)
"""Field of view along D, H, W that holds every head."""


def head_spacing(shape: tuple[int, int, int]) -> float:
    """The voxel size in mm at which a head fits in a grid `(D, H, W)`: 4 for 48³, 6 for 32³, 1 for 155×240×240."""
    return max(extent / size for extent, size in zip(HEAD_MM, shape, strict=True))


@dataclasses.dataclass(frozen=True)
class PhantomBrain:
    """A brain in the four channels of BraTS, in the order of `datasets.BRATS_CHANNELS`.

    Attributes:
      name: made from seed and index.
      sources: `[D, H, W, 4]` float32 in [0, 1], after the gains of `slice_gains`; what a model sees.
      targets: `[D, H, W, 4]` float32 in [0, 1], without gains; what a prediction is compared with.
      affine: `[4, 4]` float64, voxel `(i, j, k)` to millimeters; `sources[k, j, i]`.
    """

    name: str
    sources: np.ndarray
    targets: np.ndarray
    affine: np.ndarray


def name_of(seed: int, index: int) -> str:
    """The name of brain `index` of the data set `seed`."""
    return f"phantom-{seed}-{index:05d}"


def make_head(seed: int, index: int, shape: tuple[int, int, int], spacing: float) -> Anatomy:
    """Makes the anatomy and pathology of subject `index` of the data set `seed`, as `make_phantom` scans it."""
    check_grid(shape, spacing)
    pathology, anatomy, *_ = _streams(seed, index)
    tumors, lesion_sites = _pathology_sites()
    tumor = draw_tumor(pathology, tumors) if pathology.random() < TUMOR_PROBABILITY else None
    lesions = draw_lesions(pathology, lesion_sites) if pathology.random() < LESIONS_PROBABILITY else []
    return make_anatomy(anatomy, grid_axes(shape, spacing), spacing, tumor, lesions)


def make_phantom(seed: int, index: int, shape: tuple[int, int, int], spacing: float) -> PhantomBrain:
    """Makes subject `index` of the data set `seed` on a grid; one subject at every resolution, but for noise and gains.

    Args:
      seed: of the data set, 0 or more.
      index: of the subject, 0 or more.
      shape: the grid `(D, H, W)`.
      spacing: voxel size in mm.

    Raises:
      UserError: the grid can't hold a volume.
    """
    head = make_head(seed, index, shape, spacing)
    image = _streams(seed, index)[3]
    imaging = imaging_of(seed, index)
    axes = grid_axes(shape, spacing)
    clean = scan(image, axes, head.mask, head.fractions, *session(seed, index), imaging)
    gains = slice_gains(seed, index, shape[0])[:, None, None]
    return PhantomBrain(
        name=name_of(seed, index),
        sources=_normalize(clean * gains, head.mask, imaging.headroom),
        targets=_normalize(clean, head.mask, imaging.headroom),
        affine=grid_affine(shape, spacing),
    )


def session(seed: int, index: int) -> tuple[Relaxation, Protocol]:
    """Draws the tissues and the sequences that subject `index` of the data set `seed` is scanned with."""
    physics = _streams(seed, index)[2]
    return draw_relaxation(physics), draw_protocol(physics)


def imaging_of(seed: int, index: int) -> Imaging:
    """Draws resolution, registration and headroom of the channels of subject `index`."""
    return draw_imaging(_streams(seed, index)[5])


def slice_gains(seed: int, index: int, slices: int) -> np.ndarray:
    """Draws the factor on each slice of each source of subject `index`, `[slices, CHANNELS]` float32."""
    return draw_gains(_streams(seed, index)[4], slices)


def _streams(seed: int, index: int) -> list[np.random.Generator]:
    """Independent generators of pathology, anatomy, physics, image, gains and imaging, so that none shifts others."""
    return [np.random.default_rng(sequence) for sequence in np.random.SeedSequence([seed, index]).spawn(6)]


def _normalize(volumes: np.ndarray, mask: np.ndarray, headroom: np.ndarray) -> np.ndarray:
    """Normalizes `[D, H, W, C]` channel by channel, to [0, headroom]."""
    protocol = get_protocol("mr_quantile")
    normalized = np.empty_like(volumes)
    for channel in range(volumes.shape[-1]):
        volume = np.ascontiguousarray(volumes[..., channel])
        normalized[..., channel] = np.float32(headroom[channel]) * protocol.normalize(volume, mask)
    return normalized


def tumor_sites() -> np.ndarray:
    """Template coordinates `[M, 3]` (z, y, x) in mm where a tumor may have its center."""
    return _pathology_sites()[0]


@functools.cache
def _pathology_sites() -> tuple[np.ndarray, np.ndarray]:
    """Template coordinates (z, y, x) in mm where tumors and where white-matter lesions may have their centers.

    Tumors: tissue, rather white, above the brain stem. Lesions: white matter close to the lateral ventricles.
    """
    step = 3
    maps = template_maps(float(step))
    points = np.stack(np.meshgrid(*[np.arange(n) - (n - 1) / 2 for n in maps.shape[1:]], indexing="ij"))
    z, y, x = points
    _, white, csf, _ = maps
    ventricles = csf * ((np.abs(x) < 28) & (np.abs(y) < 50) & (z > -15) & (z < 30))
    near_ventricles = ndimage.gaussian_filter(ventricles, 4.0)
    masks = (white > 0.3) & (csf < 0.1) & (z > -25), (white > 0.85) & (near_ventricles > 0.04)
    coarse = (slice(None, None, step),) * 3
    tumors, lesions = (points[(slice(None), *coarse)][:, mask[coarse]].T for mask in masks)
    return tumors, lesions
