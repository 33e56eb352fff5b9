"""The embedded data set of MR to CT: whole heads, made on demand, in T1-weighted MR and in Hounsfield units."""

import dataclasses

import numpy as np
from scipy import ndimage

from lift_jax.data.intensity import get_protocol
from lift_jax.data.phantom import anatomy
from lift_jax.data.phantom.brain import TUMOR_PROBABILITY, tumor_sites
from lift_jax.data.phantom.ct import scan_ct
from lift_jax.data.phantom.fields import Canvas, check_grid, grid_affine, grid_axes, smooth_field
from lift_jax.data.phantom.head_anatomy import (
    distance_to_cavity,
    draw_face,
    draw_skull,
    head_outline,
    paint_base,
    paint_face,
    paint_soft_tissue,
    paint_vault,
    vault_thickness,
)
from lift_jax.data.phantom.mr import (
    BIAS_DEVIATION,
    BIAS_PITCH_MM,
    NOISE_RANGE,
    draw_gains,
    draw_protocol,
    signals,
)
from lift_jax.data.phantom.pathology import Tumor, add_tumor, draw_tumor
from lift_jax.data.phantom.tissues import AIR, CSF, SKIN, TISSUES, WHITE, draw_head_tissues, draw_relaxation

VERSION = 2
"""Part of every fingerprint: to be raised with any change that changes a subject."""

FIELD_MM = (184.0, 216.0, 184.0)
"""Field of view along D, H, W that holds every head down to the teeth."""

FORWARD_MM = 7.5
"""The field of view lies this far in front of the brain's center, for the face."""

TEXTURE_FIELDS = ((12.0, 0.03), (5.0, 0.03))
"""Relative variation of the MR signal within tissues: (pitch in mm, standard deviation)."""

T1_WEIGHTED, T2_WEIGHTED = 0, 2
"""Indices of sequences among those of the brain phantom."""

_STREAM = 5
"""Tells these random streams from those of the brains of the same seed and index."""


def field_spacing(shape: tuple[int, int, int]) -> float:
    """The voxel size in mm at which a head fits in a grid `(D, H, W)`: 3.4 for 64³, 1.2 for 155×240×240."""
    return max(extent / size for extent, size in zip(FIELD_MM, shape, strict=True))


@dataclasses.dataclass(frozen=True)
class PhantomHead:
    """A made head in MR and CT.

    Attributes:
      name: made from seed and index.
      mr: `[D, H, W]` float32 in [0, 1], T1-weighted, zero outside the mask.
      ct: `[D, H, W]` float32 in Hounsfield units.
      mask: `[D, H, W]` bool, the head, cavities included.
      affine: `[4, 4]` float64, voxel `(i, j, k)` to millimeters; `mr[k, j, i]`.
    """

    name: str
    mr: np.ndarray
    ct: np.ndarray
    mask: np.ndarray
    affine: np.ndarray


def name_of(seed: int, index: int) -> str:
    """The name of head `index` of the data set `seed`."""
    return f"phantom-head-{seed}-{index:05d}"


def make_phantom_head(seed: int, index: int, shape: tuple[int, int, int], spacing: float) -> PhantomHead:
    """Makes subject `index` of the data set `seed`; one subject at every resolution, but for noise and gains.

    The MR is T1-weighted, with bias field, Rician noise and a gain on every slice; the CT has noise and
    beam-hardening streaks. The mask is the head, cavities included.

    Args:
      seed: of the data set, 0 or more.
      index: of the subject, 0 or more.
      shape: the grid `(D, H, W)`.
      spacing: voxel size in mm.

    Raises:
      UserError: the grid can't hold a volume.
    """
    canvas, mask, mr = _scan_head(seed, index, shape, spacing, T1_WEIGHTED)
    ct = scan_ct(_streams(seed, index)[4], canvas.volumes[0], mask, spacing)
    return PhantomHead(name_of(seed, index), mr, ct, mask, grid_affine(shape, spacing))


def make_t2_weighted(seed: int, index: int, shape: tuple[int, int, int], spacing: float) -> np.ndarray:
    """The T2-weighted MR of the head that `make_phantom_head` makes, `[D, H, W]` float32 in [0, 1]."""
    return _scan_head(seed, index, shape, spacing, T2_WEIGHTED)[2]


def _streams(seed: int, index: int) -> list[np.random.Generator]:
    """Independent generators: anatomy, physics, T1-weighted image, gains, CT, T2-weighted image."""
    return [np.random.default_rng(each) for each in np.random.SeedSequence([seed, index, _STREAM]).spawn(6)]


def _scan_head(
    seed: int, index: int, shape: tuple[int, int, int], spacing: float, channel: int
) -> tuple[Canvas, np.ndarray, np.ndarray]:
    """The painted head (CT numbers and MR signal), its mask, and the MR of a channel in [0, 1]."""
    check_grid(shape, spacing)
    body, physics, t1_image, interleaving, _, t2_image = _streams(seed, index)
    axes = grid_axes(shape, spacing)
    axes[1] = axes[1] + np.float32(FORWARD_MM)
    relaxation, protocol = draw_relaxation(physics), draw_protocol(physics)
    hounsfield, relaxation = draw_head_tissues(physics, relaxation)
    signal = signals(relaxation, protocol)[:, channel]
    signal = signal / signal.max()
    canvas, mask = _draw_head(body, axes, shape, spacing, np.stack([hounsfield, signal], axis=-1))
    is_t1 = channel == T1_WEIGHTED
    image = t1_image if is_t1 else t2_image
    mr = _scan_mr(image, axes, canvas.volumes[1], protocol.gamma[channel], signal[WHITE])
    mr *= draw_gains(interleaving, shape[0], least=1.0 if is_t1 else 0.0)[:, channel, None, None]
    mr = np.where(mask, mr, np.float32(0))  # without the noise of the air, so that zero is certain
    return canvas, mask, get_protocol("mr_foreground").normalize(mr, mask)


def _draw_head(
    generator: np.random.Generator,
    axes: list[np.ndarray],
    shape: tuple[int, int, int],
    spacing: float,
    levels: np.ndarray,
) -> tuple[Canvas, np.ndarray]:
    """Paints a subject from the outside inwards; the canvas, and the mask of the head."""
    skull, face = draw_skull(generator), draw_face(generator)
    tumor = draw_tumor(generator, tumor_sites()) if generator.random() < TUMOR_PROBABILITY else None
    points = anatomy.template_points(generator, axes)
    relief, lobes, porosity = (smooth_field(generator, axes, pitch) for pitch in (30.0, 16.0, 7.0))
    distance = distance_to_cavity(points)
    thickness = vault_thickness(skull, points, relief)
    outline = head_outline(face, points, distance - np.float32(skull.csf_gap) - thickness)

    canvas = Canvas(levels, AIR, shape, spacing)
    paint_soft_tissue(canvas, face, points, outline, lobes)
    paint_face(canvas, face, points, generator, axes)
    paint_vault(canvas, skull, points, distance, thickness, porosity)
    cavity = canvas.inside(distance - np.float32(skull.csf_gap))
    canvas.paint(cavity, CSF)
    brain = _paint_brain(canvas, generator, axes, points, cavity, spacing, tumor)
    paint_base(canvas, skull, points, distance, brain, generator, axes)
    canvas.paint(1 - canvas.inside(outline + np.float32(face.skin)), SKIN)  # no bone breaks it
    canvas.paint(1 - canvas.inside(outline), AIR)
    return canvas, ndimage.binary_fill_holes(outline < 0)


def _paint_brain(
    canvas: Canvas,
    generator: np.random.Generator,
    axes: list[np.ndarray],
    points: np.ndarray,
    cavity: np.ndarray,
    spacing: float,
    tumor: Tumor | None,
) -> np.ndarray:
    """Paints gray and white matter, vessels and pathology; returns the share of brain in every voxel."""
    points = points.copy()
    anatomy.warp_inside(generator, points, tumor)
    maps = anatomy.template_maps(spacing)
    voxels = points + (np.array(maps.shape[1:], np.float32)[:, None, None, None] - 1) / 2
    interior = ndimage.map_coordinates(maps[3], voxels, order=1)
    mask = interior > 0.02
    fractions = np.zeros((np.count_nonzero(mask), len(TISSUES)), np.float32)
    inside = voxels[:, mask]
    fractions[:, :3] = np.stack([ndimage.map_coordinates(tissue, inside, order=1) for tissue in maps[:3]], axis=-1)
    covered = np.clip(fractions.sum(axis=1), 0, 1)

    def field(pitch: float) -> np.ndarray:
        return smooth_field(generator, axes, pitch)[mask]

    anatomy.vary_tissues(generator, field, fractions)
    anatomy.add_vessels(generator, field, fractions, interior[mask])
    if tumor is not None:
        add_tumor(field, fractions, points[:, mask].T, tumor, spacing)
    share = covered * np.clip(cavity[mask] + np.float32(0.3), 0, 1)
    painted = fractions @ canvas.levels[: len(TISSUES)]
    for volume, level in zip(canvas.volumes, painted.T, strict=True):
        volume[mask] += share * (level - volume[mask])
    brain = np.zeros(mask.shape, np.float32)
    brain[mask] = covered
    return brain


def _scan_mr(
    generator: np.random.Generator, axes: list[np.ndarray], signal: np.ndarray, gamma: float, white: float
) -> np.ndarray:
    """The magnitude image of a head's signal, `[D, H, W]` float32: texture, gamma, bias field and Rician noise."""
    texture = 1 + sum(np.float32(d) * smooth_field(generator, axes, pitch) for pitch, d in TEXTURE_FIELDS)
    bias = np.exp(np.float32(BIAS_DEVIATION) * smooth_field(generator, axes, BIAS_PITCH_MM))
    clean = np.maximum(signal * texture, 0) ** np.float32(gamma) * bias
    noise = np.float32(generator.uniform(*NOISE_RANGE) * white**gamma)
    quadratures = noise * generator.standard_normal((2, *signal.shape), dtype=np.float32)
    return np.hypot(clean + quadratures[0], quadratures[1])
