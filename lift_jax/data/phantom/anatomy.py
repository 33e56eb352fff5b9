"""The phantom's anatomy: the MNI ICBM152 tissue maps under a random affine and a smooth random deformation."""

import dataclasses
import functools
from importlib import resources

import nibabel as nib
import numpy as np
from scipy import ndimage

from lift_jax.data.phantom.fields import Field, smooth_field
from lift_jax.data.phantom.pathology import Lesion, Tumor, add_lesions, add_tumor
from lift_jax.data.phantom.tissues import CSF, GRAY, MEMBRANE, TISSUES, VESSEL

TEMPLATE_LEVELS = 15
"""The template file holds fractions in steps of 1/15: four bits, so that it compresses well."""

SCALE_RANGE = (0.82, 0.94)
"""Size of a head relative to the template, which is larger than most: BraTS brains fit in 155 mm along z."""
ROTATION_DEGREES = 5.0
SHIFT_MM = 2.0
ANISOTROPY = 0.03
"""Standard deviations of rotation about each axis, of shift, and of relative scale and shear along each axis."""

DEFORMATIONS = ((40.0, 2.5), (18.0, 1.3))
"""Random displacement: (control point pitch in mm, standard deviation in mm) of the fields that add up."""

VENTRICLES_MM = (2.0, -5.0, 0.0)
"""Center of the lateral ventricles in template coordinates (z, y, x)."""
VENTRICLES_REACH_MM = 26.0
VENTRICLES_GROWTH = (-0.15, 0.4)
"""Reach and range of the local magnification that narrows or widens the ventricles."""

CSF_LOG_ODDS = 0.45
CSF_FIELDS = ((16.0, 0.4), (6.0, 0.5))
GRAY_LOG_ODDS = 0.15
GRAY_FIELDS = ((8.0, 0.35),)
"""Random log-odds of CSF and of gray matter where tissues mix (subject's standard deviation, and fields as
(pitch in mm, standard deviation)): width of sulci and thickness of cortex vary between and within subjects."""


STRIPPING_BLUR_MM = 2.5
STRIPPING_THRESHOLD = (0.4, 0.85)
STRIPPING_FIELD = (20.0, 0.04)
"""Skull stripping: the mask is where the head, blurred, exceeds a threshold drawn per subject, with a field (pitch in
mm, standard deviation) added: from a rim of CSF all around to a mask that touches the cortex."""

VESSEL_PITCH_MM = 6.0
VESSEL_WIDTH = (0.3, 1.1)
"""Vessels run through CSF along the curves where two fields vanish: control point pitch, and range of the distance
from zero, in standard deviations, that still counts."""
SINUS_RADIUS_MM = (0.0, 6.0)
"""Range of the radius of what is left of the superior sagittal sinus, in the midline at the surface."""

MEMBRANE_REACH = (0.0, 0.2)
MEMBRANE_PITCH_MM = 25.0
"""Patches of dura along the edge of the mask: how far into the template's blurred brain share they reach, at most, and
the pitch of the field that says where."""
PLEXUS_MM = (6.0, -28.0, 24.0)
PLEXUS_REACH_MM = (0.0, 9.0)
"""Choroid plexus: its place (z, y, |x|) in the CSF of the lateral ventricles, and range of its reach."""


@dataclasses.dataclass(frozen=True)
class Anatomy:
    """The tissues of one head on a grid.

    Attributes:
      mask: `[D, H, W]` bool, the brain with its CSF.
      fractions: `[N, TISSUES]` float32, which sum to 1, for the N voxels of the mask in C order.
    """

    mask: np.ndarray
    fractions: np.ndarray


def make_anatomy(
    generator: np.random.Generator, axes: list[np.ndarray], spacing: float, tumor: Tumor | None, lesions: list[Lesion]
) -> Anatomy:
    """Draws a head: where each voxel lies in the template, which tissues are there, and what pathology adds.

    The draws don't depend on the grid, whose voxel centers along D, H, W are at `axes` mm, `spacing` mm apart.
    """
    points = template_points(generator, axes)
    warp_inside(generator, points, tumor)
    maps = template_maps(spacing)
    voxels = points + (np.array(maps.shape[1:], np.float32)[:, None, None, None] - 1) / 2
    sampled = [ndimage.map_coordinates(tissue, voxels, order=1) for tissue in maps]
    threshold = generator.uniform(*STRIPPING_THRESHOLD)
    pitch, deviation = STRIPPING_FIELD
    interior = sampled.pop()
    mask = interior > np.clip(threshold + deviation * smooth_field(generator, axes, pitch), 0.1, 0.9)
    fractions = np.zeros((np.count_nonzero(mask), len(TISSUES)), np.float32)
    fractions[:, :3] = np.stack([tissue[mask] for tissue in sampled], axis=-1)

    def field(pitch: float) -> np.ndarray:
        return smooth_field(generator, axes, pitch)[mask]

    vary_tissues(generator, field, fractions)
    add_vessels(generator, field, fractions, interior[mask])
    inside = points[:, mask].T
    add_sinus(generator, fractions, inside, interior[mask])
    add_membranes(generator, field, fractions, inside, interior[mask] - np.float32(threshold))
    if lesions:
        add_lesions(fractions, inside, lesions, spacing)
    if tumor is not None:
        add_tumor(field, fractions, inside, tumor, spacing)
    return Anatomy(mask, fractions)


@functools.lru_cache(maxsize=2)
def template_maps(spacing: float) -> np.ndarray:
    """The template for voxels of `spacing` mm, `[4, K, J, I]` float32 at 1 mm.

    Fractions of gray, white and CSF, averaged as the voxels average them, and their sum, blurred, for the skull
    stripping.
    """
    path = resources.files("lift_jax.data") / "template" / "mni_icbm152_tissues.nii.gz"
    with resources.as_file(path) as file:
        stored = np.asarray(nib.Nifti1Image.from_filename(file).dataobj)
    maps = np.ascontiguousarray(stored.transpose(3, 2, 1, 0), dtype=np.float32) / TEMPLATE_LEVELS
    # The variance of a box of `spacing` mm, less that of the template's own 1 mm voxels.
    sigma = np.sqrt(max(spacing**2 - 1, 0) / 12)
    if sigma > 0:
        maps = np.stack([ndimage.gaussian_filter(tissue, sigma) for tissue in maps])
    maps = np.concatenate([maps, ndimage.gaussian_filter(maps.sum(axis=0), STRIPPING_BLUR_MM)[None]])
    maps.flags.writeable = False
    return maps


def template_points(generator: np.random.Generator, axes: list[np.ndarray]) -> np.ndarray:
    """Where the voxels of the grid lie in the template: `[3, D, H, W]` float32, (z, y, x) in mm from its center."""
    angles = np.radians(ROTATION_DEGREES) * generator.standard_normal(3)
    matrix = np.eye(3)
    for (first, second), angle in zip(((0, 1), (0, 2), (1, 2)), angles, strict=True):
        rotation = np.eye(3)
        rotation[first, first] = rotation[second, second] = np.cos(angle)
        rotation[first, second], rotation[second, first] = np.sin(angle), -np.sin(angle)
        matrix = matrix @ rotation
    matrix = matrix @ (np.eye(3) + ANISOTROPY * generator.standard_normal((3, 3))) / generator.uniform(*SCALE_RANGE)
    shift = SHIFT_MM * generator.standard_normal(3)
    depth, height, width = (axis.reshape(shape) for axis, shape in zip(axes, ((-1, 1, 1), (-1, 1), (-1,)), strict=True))
    points = np.empty((3, *(len(axis) for axis in axes)), np.float32)
    for row, offset, out in zip(matrix.astype(np.float32), shift.astype(np.float32), points, strict=True):
        out[...] = row[0] * depth + row[1] * height + (row[2] * width + offset)
        for pitch, deviation in DEFORMATIONS:
            out += np.float32(deviation) * smooth_field(generator, axes, pitch)
    return points


def warp_inside(generator: np.random.Generator, points: np.ndarray, tumor: Tumor | None) -> None:
    """Widens or narrows the ventricles and lets a tumor push tissue aside, in place."""
    _local_warp(points, VENTRICLES_MM, VENTRICLES_REACH_MM, generator.uniform(*VENTRICLES_GROWTH))
    if tumor is not None:
        _local_warp(points, tumor.center, 1.3 * tumor.radius, tumor.mass_effect)


def _local_warp(points: np.ndarray, center: tuple[float, float, float], reach: float, growth: float) -> None:
    """Contracts points towards a center, in place: what is there looks larger, and what is around it pushed away."""
    offsets = points - np.array(center, np.float32)[:, None, None, None]
    weight = np.einsum("czyx,czyx->zyx", offsets, offsets)
    weight *= np.float32(-0.5 / reach**2)
    np.exp(weight, out=weight)
    offsets *= np.float32(growth) * weight
    points -= offsets


def vary_tissues(generator: np.random.Generator, field: Field, fractions: np.ndarray) -> None:
    """Adds random log-odds to gray matter and CSF `[N, TISSUES]`, in place, and makes the sum 1."""
    for tissue, subject, fields in ((CSF, CSF_LOG_ODDS, CSF_FIELDS), (GRAY, GRAY_LOG_ODDS, GRAY_FIELDS)):
        log_odds: np.ndarray = np.full(len(fractions), subject * generator.standard_normal(), np.float32)
        for pitch, deviation in fields:
            log_odds = log_odds + np.float32(deviation) * field(pitch)
        fractions[:, tissue] *= np.exp(log_odds)
    total = fractions.sum(axis=1, keepdims=True)
    fractions[:, CSF] += total[:, 0] < 1e-3  # just off the template's edge: nothing but CSF
    fractions /= fractions.sum(axis=1, keepdims=True)


def add_vessels(generator: np.random.Generator, field: Field, fractions: np.ndarray, interior: np.ndarray) -> None:
    """Runs vessels through CSF `[N, TISSUES]`, in place: mostly near the surface, where `interior` falls below 1."""
    from_axis = np.hypot(*(field(VESSEL_PITCH_MM) for _ in range(2)))
    share = np.clip(3 * (np.float32(generator.uniform(*VESSEL_WIDTH)) - from_axis), 0, 1)
    near_surface = np.clip(4 * (1.05 - interior), 0, 1)
    fractions[:, VESSEL] = fractions[:, CSF] * share * near_surface
    fractions[:, CSF] -= fractions[:, VESSEL]


def add_sinus(generator: np.random.Generator, fractions: np.ndarray, points: np.ndarray, interior: np.ndarray) -> None:
    """Puts a venous sinus `[N, TISSUES]` at the surface in the midline above the brain's center, in place."""
    radius = np.float32(generator.uniform(*SINUS_RADIUS_MM))
    z, _, x = points.T
    share = np.clip(radius - np.abs(x), 0, 1) * np.clip(8 * (np.float32(0.97) - interior), 0, 1) * (z > 0)
    fractions *= (1 - share)[:, None]
    fractions[:, VESSEL] += share


def add_membranes(
    generator: np.random.Generator, field: Field, fractions: np.ndarray, points: np.ndarray, above_edge: np.ndarray
) -> None:
    """Puts dura along the edge of the mask and choroid plexus into the ventricles `[N, TISSUES]`, in place.

    `above_edge [N]` is how far the blurred brain share lies above the threshold of skull stripping.
    """
    reach = np.float32(generator.uniform(*MEMBRANE_REACH))
    patches = np.clip(0.5 + field(MEMBRANE_PITCH_MM), 0, 1)
    dura = np.clip(15 * (reach * patches - above_edge), 0, 1)
    z, y, x = (points - np.array([*PLEXUS_MM[:2], 0], np.float32)).T
    distance = np.sqrt((z * z + y * y) / 4 + (np.abs(x) - np.float32(PLEXUS_MM[2])) ** 2)
    plexus = np.clip(np.float32(generator.uniform(*PLEXUS_REACH_MM)) - distance, 0, 1) * fractions[:, CSF]
    share = np.maximum(dura, plexus)
    fractions *= (1 - share)[:, None]
    fractions[:, MEMBRANE] += share
