"""The phantom's skull: vault and base around the brain's cavity, with tables, diploë and air cells.

Places are (z, y, x) in mm in the coordinates of the brain template; the head is symmetric but for smooth deformations
and the size of its sinuses.
"""

import dataclasses
import functools

import numpy as np
from scipy import ndimage

from lift_jax.data.phantom.anatomy import template_maps
from lift_jax.data.phantom.fields import smooth_field
from lift_jax.data.phantom.head_tissues import AIR, CORTICAL, MARROW, MUCOSA
from lift_jax.data.phantom.shapes import Canvas, bump, capsule, ellipsoid

CAVITY_STEP = 2
CAVITY_PADDING_MM = 48
CAVITY_CLOSING_MM = 9
"""The cavity is the template's brain with fluid, its clefts closed up to this radius, on a grid of this step."""

FORAMEN = (-18.0, 15.0)
"""The foramen magnum: y of its center, radius."""


@dataclasses.dataclass(frozen=True)
class Skull:
    """A subject's bones: mm of fluid beyond the template's, mm of the vault, parts of a full-grown sinus.

    Attributes:
      gap: between the template's brain and the inner table.
      thickness: of the vault where it is neither thick nor thin.
      table: share of the thickness in each of the two tables.
      frontal, sphenoid, mastoid: how far the air cells have grown; `frontal` left and right.
    """

    gap: float
    thickness: float
    table: float
    frontal: tuple[float, float]
    sphenoid: float
    mastoid: float


def draw_skull(generator: np.random.Generator) -> Skull:
    """Draws a subject's skull: vaults of 5 to 8.5 mm, sinuses from hardly there to large."""
    return Skull(
        gap=generator.uniform(0.5, 2.5),
        thickness=generator.uniform(5.0, 8.5),
        table=generator.uniform(0.2, 0.3),
        frontal=tuple(generator.uniform(0.0, 1.0, 2).tolist()),
        sphenoid=generator.uniform(0.45, 1.1),
        mastoid=generator.uniform(0.2, 1.0),
    )


@functools.cache
def cavity_distance() -> np.ndarray:
    """Signed distance in mm from the brain's cavity on the padded template at `CAVITY_STEP`, negative inside."""
    pad = CAVITY_PADDING_MM
    whole = np.pad(template_maps(1.0)[:3].sum(axis=0), pad)[::CAVITY_STEP, ::CAVITY_STEP, ::CAVITY_STEP] > 0.5
    radius = CAVITY_CLOSING_MM / CAVITY_STEP
    # Closing by distances: within the radius of the brain, and not within it of what is farther away.
    near = ndimage.distance_transform_edt(~whole) <= radius
    cavity = whole | (ndimage.distance_transform_edt(near) > radius)
    outside, inside = ndimage.distance_transform_edt(~cavity), ndimage.distance_transform_edt(cavity)
    distance = ndimage.gaussian_filter((outside - inside).astype(np.float32), 1.0) * CAVITY_STEP
    distance.flags.writeable = False
    return distance


def distance_to_cavity(points: np.ndarray) -> np.ndarray:
    """The cavity's signed distance at template places `[3, D, H, W]`: `[D, H, W]` float32 mm."""
    size = np.array(template_maps(1.0).shape[1:], np.float32)[:, None, None, None]
    voxels = (points + (size - 1) / 2 + CAVITY_PADDING_MM) / CAVITY_STEP
    return ndimage.map_coordinates(cavity_distance(), voxels, order=1, mode="nearest")


def vault_thickness(skull: Skull, points: np.ndarray, field: np.ndarray) -> np.ndarray:
    """Millimeters of bone, `[D, H, W]`: thick behind and in front, thin at the temples and above the orbits."""
    z, y, x = points
    folded = np.stack([z, y, np.abs(x)])
    relief = 1 + np.float32(0.2) * field
    relief += np.float32(0.6) * bump(points, (-25, -95, 0), (16, 14, 14)) + np.float32(0.25) * bump(
        points, (10, 95, 0), (30, 20, 35)
    )
    relief -= np.float32(0.5) * bump(folded, (-15, 20, 68), (18, 32, 14))
    relief -= np.float32(0.55) * bump(folded, (-30, 65, 25), (10, 25, 25))
    relief -= np.float32(0.45) * bump(folded, (-62, -45, 30), (10, 22, 24))
    return np.float32(skull.thickness) * np.clip(relief, 0.25, 2)


def paint_vault(
    canvas: Canvas, skull: Skull, points: np.ndarray, distance: np.ndarray, thickness: np.ndarray, porosity: np.ndarray
) -> None:
    """Paints two tables with diploë between them around the cavity, open where the spine enters, and frontal sinuses.

    Args:
      canvas: what is painted on.
      skull: the subject's.
      points: template places `[3, D, H, W]`.
      distance: of the cavity, `[D, H, W]` mm.
      thickness: of the bone, `[D, H, W]` mm.
      porosity: `[D, H, W]`, a field of zero mean and unit variance, that makes diploë uneven.
    """
    z, y, x = points
    foramen_y, foramen_radius = FORAMEN
    opening = canvas.inside(np.maximum(np.hypot(y - np.float32(foramen_y), x) - np.float32(foramen_radius), z + 52))
    sides = (bump(points, (-2, 96, 11 * side), (11, 16, 9)) for side in (-1, 1))
    sinus = sum(np.float32(grown) * side for grown, side in zip(skull.frontal, sides, strict=True))
    thickness = thickness + 9 * sinus
    bone = canvas.shell(distance, np.float32(skull.gap), np.float32(skull.gap) + thickness) * (1 - opening)
    canvas.paint(bone, CORTICAL)
    table = np.maximum(np.float32(skull.table) * thickness, np.float32(1.1))
    inner, outer = np.float32(skull.gap) + table, np.float32(skull.gap) + thickness - table
    spongy = canvas.shell(distance, inner, np.maximum(inner, outer)) * (1 - opening)
    canvas.paint_mixture(spongy, MARROW, CORTICAL, np.clip(np.float32(0.08) + np.float32(0.1) * porosity, 0, 0.4))
    hollow = canvas.shell(distance, np.float32(skull.gap + 1.8), np.float32(skull.gap - 1.8) + thickness)
    canvas.paint(hollow * np.clip(4 * (sinus - np.float32(0.3)), 0, 1), AIR)


def paint_base(
    canvas: Canvas,
    skull: Skull,
    points: np.ndarray,
    distance: np.ndarray,
    brain: np.ndarray,
    generator: np.random.Generator,
    axes: list[np.ndarray],
) -> None:
    """Paints what lies between the lobes: petrous and mastoid bone with its cells, sphenoid, clivus, ear canals.

    Args:
      canvas, skull, points, distance: as in `paint_vault`.
      brain: `[D, H, W]`, the share of brain and its fluid; bone gives way to it.
      generator, axes: for the field that forms the cells.
    """
    z, y, x = points
    folded = np.stack([z, y, np.abs(x)])
    free = np.clip(1 - 1.5 * brain, 0, 1)
    cells = smooth_field(generator, axes, 5.0)

    petrous = canvas.inside(capsule(folded, (-44, 4, 13), (-48, -11, 50), 6.5, 10)) * free
    canvas.paint_mixture(petrous, CORTICAL, MARROW, np.clip(np.float32(0.2) + np.float32(0.2) * cells, 0, 0.6))
    mastoid = canvas.inside(ellipsoid(folded, (-58, -20, 55), (19, 15, 12))) * free
    mastoid *= 1 - canvas.inside(distance - np.float32(skull.gap + 1))
    canvas.paint(mastoid, CORTICAL)
    grown = np.float32(skull.mastoid) * canvas.inside(ellipsoid(folded, (-57, -20, 54), (16, 12, 9.5)))
    canvas.paint(mastoid * grown * np.clip(0.75 + 1.2 * cells, 0, 1), AIR)
    canvas.paint(canvas.inside(capsule(folded, (-50, -8, 46), (-51, -12, 95), 3.2)), AIR)
    canvas.paint(canvas.inside(ellipsoid(folded, (-47, -8, 43), (6, 5, 3))) * free, AIR)

    body = capsule(points, (-45, 32, 0), (-67, 0, 0), 12, 7)
    canvas.paint(canvas.inside(body) * free, CORTICAL)
    canvas.paint(canvas.inside(body + np.float32(2)) * free, MARROW)
    canvas.paint(canvas.inside(capsule(folded, (-47, 36, 12), (-54, 36, 38), 5, 3)) * free, CORTICAL)
    canvas.paint(canvas.inside(capsule(folded, (-56, 38, 13), (-82, 42, 16), 1.8)) * free, CORTICAL)
    size = np.float32(skull.sphenoid)
    sinus = ellipsoid(points, (-45, 37, 1), (10 * size, 12 * size, 13 * size))
    canvas.paint(canvas.shell(sinus, -0.5, 1.2) * free, CORTICAL)
    canvas.paint(canvas.inside(sinus + np.float32(0.5)) * free, AIR)
    septum = np.abs(x - 2) - np.float32(0.7)
    canvas.paint(canvas.inside(np.maximum(septum, sinus)) * free, CORTICAL)
    canvas.paint(canvas.shell(sinus, -1.5, -0.5) * free * np.float32(0.6), MUCOSA)
