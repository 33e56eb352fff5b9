"""The phantom's pathology: a tumor of core, rim and edema, and small white-matter lesions."""

import dataclasses

import numpy as np

from lift_jax.data.phantom.fields import Field
from lift_jax.data.phantom.tissues import CORE, CSF, EDEMA, GRAY, RIM, WHITE

TUMOR_RADIUS_MM = (8.0, 34.0)
"""Range of the radius of core and rim together; its logarithm is uniform."""
RIM_THICKNESS_MM = (1.5, 5.0)
EDEMA_REACH_MM = (4.0, 30.0)
MASS_EFFECT = (0.0, 0.3)
"""Growth of the local magnification that pushes tissue off the tumor's center."""
LESION_COUNT = (3, 25)
LESION_RADIUS_MM = (1.3, 4.0)


@dataclasses.dataclass(frozen=True)
class Tumor:
    """A tumor: `center` (z, y, x) in template coordinates, lengths in mm, `stretch` of its three axes."""

    center: tuple[float, float, float]
    radius: float
    stretch: tuple[float, float, float]
    rim_thickness: float
    edema_reach: float
    roughness: float
    mass_effect: float


@dataclasses.dataclass(frozen=True)
class Lesion:
    """A white-matter lesion: `center` (z, y, x) in template coordinates, half-axes in mm."""

    center: tuple[float, float, float]
    half_axes: tuple[float, float, float]


def draw_tumor(generator: np.random.Generator, candidates: np.ndarray) -> Tumor:
    """Draws a tumor whose center is one of `candidates [M, 3]`."""
    return Tumor(
        center=tuple(generator.choice(candidates).tolist()),
        radius=float(np.exp(generator.uniform(*np.log(TUMOR_RADIUS_MM)))),
        stretch=tuple(np.exp(0.2 * generator.standard_normal(3)).tolist()),
        rim_thickness=generator.uniform(*RIM_THICKNESS_MM),
        edema_reach=generator.uniform(*EDEMA_REACH_MM),
        roughness=generator.uniform(0.15, 0.35),
        mass_effect=generator.uniform(*MASS_EFFECT),
    )


def draw_lesions(generator: np.random.Generator, candidates: np.ndarray) -> list[Lesion]:
    """Draws some lesions whose centers are among `candidates [M, 3]`."""
    count = int(generator.integers(*LESION_COUNT))
    centers = generator.choice(candidates, count)
    smallest, largest = np.log(LESION_RADIUS_MM)
    radii = np.exp(generator.uniform(smallest, largest, (count, 1)))
    half_axes = radii * np.exp(0.25 * generator.standard_normal((count, 3)))
    return [Lesion(tuple(c), tuple(h)) for c, h in zip(centers.tolist(), half_axes.tolist(), strict=True)]


def add_lesions(fractions: np.ndarray, points: np.ndarray, lesions: list[Lesion], spacing: float) -> None:
    """Turns white and gray matter `[N, TISSUES]` into lesions, in place; `points [N, 3]` are template coordinates."""
    healthy = np.ones(len(points), np.float32)
    for lesion in lesions:
        near = np.flatnonzero(
            np.abs(points - np.array(lesion.center, np.float32)).max(axis=1) < 3 * max(lesion.half_axes) + spacing
        )
        depth = _ellipsoid_depth(points[near], lesion.center, lesion.half_axes)
        healthy[near] *= 1 - _inside(depth, spacing)
    fractions[:, EDEMA] += (1 - healthy) * (fractions[:, GRAY] + fractions[:, WHITE])
    fractions[:, GRAY] *= healthy
    fractions[:, WHITE] *= healthy


def add_tumor(field: Field, fractions: np.ndarray, points: np.ndarray, tumor: Tumor, spacing: float) -> None:
    """Replaces tissue `[N, TISSUES]` by core and rim, and lets edema into white matter, in place.

    The tumor's surface is an ellipsoid roughened by smooth fields; it yields to CSF; edema follows white matter.
    """
    half_axes = tuple(tumor.radius * stretch for stretch in tumor.stretch)
    depth = _ellipsoid_depth(points, tumor.center, half_axes)
    for relative_pitch in (0.8, 0.4, 0.2):
        roughness = np.float32(tumor.roughness * tumor.radius * relative_pitch**0.5)
        depth += roughness * field(relative_pitch * tumor.radius + 3)
    depth -= 4 * fractions[:, CSF]
    fingers = np.float32(0.3 * tumor.edema_reach) * field(9.0)
    wet = _inside(depth + fingers + np.float32(tumor.edema_reach), np.hypot(spacing, 6))
    soaked = fractions[:, (GRAY, WHITE)] * wet[:, None] * np.array((0.25, 0.95), np.float32)
    fractions[:, (GRAY, WHITE)] -= soaked
    fractions[:, EDEMA] += soaked.sum(axis=1)
    tumor_share = _inside(depth, spacing)
    thickness = np.float32(tumor.rim_thickness) * (1 + 0.5 * field(7.0))
    core_share = np.minimum(_inside(depth - np.maximum(thickness, 0.5), spacing), tumor_share)
    fractions *= (1 - tumor_share)[:, None]
    fractions[:, CORE] += core_share
    fractions[:, RIM] += tumor_share - core_share


def _ellipsoid_depth(points: np.ndarray, center: tuple, half_axes: tuple) -> np.ndarray:
    """Approximate depth in mm below an ellipsoid's surface, negative outside: `[N]` float32."""
    scaled = (points - np.array(center, np.float32)) / np.array(half_axes, np.float32)
    return np.float32(np.mean(half_axes)) * (1 - np.sqrt(np.einsum("nc,nc->n", scaled, scaled)))


def _inside(depth: np.ndarray, spacing: float) -> np.ndarray:
    """The share of a voxel of `spacing` mm that lies inside a surface at `depth` mm from its center."""
    return 1 / (1 + np.exp(np.clip(-depth / np.float32(0.28 * np.hypot(spacing, 1)), -30, 30)))
