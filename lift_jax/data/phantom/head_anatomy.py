"""The phantom's head around the brain: skull, soft tissue, face, jaw and neck."""

import dataclasses
import functools

import numpy as np
from scipy import ndimage

from lift_jax.data.phantom.anatomy import template_maps
from lift_jax.data.phantom.fields import Canvas, bump, capsule, ellipsoid, smooth_field, smooth_union
from lift_jax.data.phantom.tissues import AIR, CORTICAL, CSF, ENAMEL, FAT, MARROW, MUCOSA, MUSCLE, SKIN, VITREOUS, WHITE

CAVITY_STEP = 2
CAVITY_PADDING_MM = 48
CAVITY_CLOSING_MM = 9
"""The cavity is the template's brain with CSF, its clefts closed up to this radius, on a grid of this step."""

FORAMEN = (-18.0, 15.0)
"""The foramen magnum: y of its center, radius."""


@dataclasses.dataclass(frozen=True)
class Skull:
    """A subject's bones: mm of CSF and bone, air cells as parts of full-grown ones.

    Attributes:
      csf_gap: mm between the template's brain and the inner table.
      thickness: of the vault where it is neither thick nor thin.
      table: share of the thickness in each of the two tables.
      frontal, sphenoid, mastoid: how far the air cells have grown; `frontal` left and right.
    """

    csf_gap: float
    thickness: float
    table: float
    frontal: tuple[float, float]
    sphenoid: float
    mastoid: float


def draw_skull(generator: np.random.Generator) -> Skull:
    """Draws a subject's skull: vaults of 5 to 8.5 mm, sinuses from hardly there to large."""
    return Skull(
        csf_gap=generator.uniform(0.5, 2.5),
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
    bone = canvas.shell(distance, np.float32(skull.csf_gap), np.float32(skull.csf_gap) + thickness) * (1 - opening)
    canvas.paint(bone, CORTICAL)
    table = np.maximum(np.float32(skull.table) * thickness, np.float32(1.1))
    inner, outer = np.float32(skull.csf_gap) + table, np.float32(skull.csf_gap) + thickness - table
    spongy = canvas.shell(distance, inner, np.maximum(inner, outer)) * (1 - opening)
    canvas.paint_mixture(spongy, MARROW, CORTICAL, np.clip(np.float32(0.08) + np.float32(0.1) * porosity, 0, 0.4))
    hollow = canvas.shell(distance, np.float32(skull.csf_gap + 1.8), np.float32(skull.csf_gap - 1.8) + thickness)
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
      brain: `[D, H, W]`, the share of brain and its CSF; bone gives way to it.
      generator, axes: for the field that forms the cells.
    """
    z, y, x = points
    folded = np.stack([z, y, np.abs(x)])
    free = np.clip(1 - 1.5 * brain, 0, 1)
    cells = smooth_field(generator, axes, 5.0)

    petrous = canvas.inside(capsule(folded, (-44, 4, 13), (-48, -11, 50), 6.5, 10)) * free
    canvas.paint_mixture(petrous, CORTICAL, MARROW, np.clip(np.float32(0.2) + np.float32(0.2) * cells, 0, 0.6))
    mastoid = canvas.inside(ellipsoid(folded, (-58, -20, 55), (19, 15, 12))) * free
    mastoid *= 1 - canvas.inside(distance - np.float32(skull.csf_gap + 1))
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


@dataclasses.dataclass(frozen=True)
class Face:
    """A subject's soft tissue, in mm, and sinuses.

    Attributes:
      skin: thickness of the skin.
      fat: thickness of the fat under it.
      galea: of the muscle and fascia on the vault.
      maxillary: size of the left and right maxillary sinus, 1 for the usual.
      swelling: mucosa that lines those sinuses, mm.
      nose: how far the nose stands out, mm.
    """

    skin: float
    fat: float
    galea: float
    maxillary: tuple[float, float]
    swelling: float
    nose: float


def draw_face(generator: np.random.Generator) -> Face:
    """Draws a subject's face."""
    return Face(
        skin=generator.uniform(1.5, 2.5),
        fat=generator.uniform(1.5, 5.0),
        galea=generator.uniform(1.0, 2.5),
        maxillary=tuple(generator.uniform(0.7, 1.1, 2).tolist()),
        swelling=max(0.3, generator.exponential(1.2)),
        nose=generator.uniform(10, 18),
    )


def head_outline(face: Face, points: np.ndarray, vault: np.ndarray) -> np.ndarray:
    """Signed distance to the skin, `[D, H, W]` mm; `vault` is that to the outer table."""
    z, y, x = points
    folded = np.stack([z, y, np.abs(x)])
    temporal_muscle = 9 * bump(folded, (-18, 34, 68), (20, 22, 16))
    scalp = vault - np.float32(face.skin + face.fat + face.galea) - temporal_muscle
    powers = [
        np.abs((axis - np.float32(center)) * np.float32(1 / half)) ** np.float32(2.6)
        for axis, center, half in zip(points, (-75, 46, 0), (72, 58, 62), strict=True)
    ]
    front = (sum(powers) ** np.float32(1 / 2.6) - 1) * 58
    neck = np.maximum((np.hypot((y + 22) / 56, x / 58) - 1) * 57, z + 45)
    nose = capsule(points, (-38, 98, 0), (-64, 100 + face.nose, 0), 5, 11)
    outline = smooth_union(smooth_union(scalp, front, 14), neck, 14)
    outline = smooth_union(outline, nose, 6)
    ear = ellipsoid(folded, (-42, -24, 83), (27, 15, 4))
    return smooth_union(outline, ear, 3)


def paint_soft_tissue(canvas: Canvas, face: Face, points: np.ndarray, outline: np.ndarray, lobes: np.ndarray) -> None:
    """Paints skin, the fat under it and muscle, with lobes of fat in face and neck; `lobes` is a field."""
    canvas.paint(canvas.inside(outline), SKIN)
    canvas.paint(canvas.inside(outline + np.float32(face.skin)), FAT)
    below = np.clip((-35 - points[0]) / 15, 0, 1)
    deep = outline + np.float32(face.skin + face.fat) + np.float32(0.8 * face.fat) * below
    canvas.paint_mixture(canvas.inside(deep), MUSCLE, FAT, below * np.clip(0.8 * lobes, 0, 0.7))


def paint_face(
    canvas: Canvas, face: Face, points: np.ndarray, generator: np.random.Generator, axes: list[np.ndarray]
) -> None:
    """Paints jaws, orbits, nose, the air of its cavities, and the upper spine."""
    cells = smooth_field(generator, axes, 6.0)
    folded = np.stack([points[0], points[1], np.abs(points[2])])
    _paint_jaws(canvas, points, folded)
    _paint_nose(canvas, face, points, folded, cells)
    _paint_orbits(canvas, folded)
    _paint_spine(canvas, points, folded)


def _bone(canvas: Canvas, distance: np.ndarray, wall: float) -> None:
    """A bone with a wall of so many mm and marrow inside."""
    canvas.paint(canvas.inside(distance), CORTICAL)
    canvas.paint(canvas.inside(distance + np.float32(wall)), MARROW)


def _paint_jaws(canvas: Canvas, points: np.ndarray, folded: np.ndarray) -> None:
    """Paints ramus, condyle and body of the mandible, zygoma and its arch, alveolar bone, teeth and palate."""
    z, y, x = folded
    _bone(canvas, ellipsoid(folded, (-88, 20, 49), (34, 17, 4.5)), 1.6)
    _bone(canvas, capsule(folded, (-57, 12, 49), (-70, 14, 49), 5.5, 4), 1.5)
    _bone(canvas, capsule(folded, (-112, 26, 46), (-116, 84, 14), 9), 2.5)
    _bone(canvas, capsule(folded, (-57, 86, 40), (-57, 66, 56), 6.5, 5), 2.0)
    _bone(canvas, capsule(folded, (-57, 66, 57), (-56, 14, 66), 4, 3), 1.4)
    arch = np.abs(np.hypot(x / 25, (y - 58) / 35) - 1) * 28
    alveolus = np.maximum(np.maximum(arch - 6, np.abs(z + 87) - 5), 52 - y)
    _bone(canvas, alveolus, 1.5)
    teeth = np.maximum(np.maximum(arch - 3.5, np.abs(z + 97) - 6), 55 - y)
    canvas.paint(canvas.inside(teeth) * np.clip(0.75 + 0.4 * np.sin(np.arctan2(x, y - 58) * 14), 0, 1), ENAMEL)
    canvas.paint(canvas.inside(ellipsoid(points, (-82, 66, 0), (2, 30, 21))), CORTICAL)


def _paint_nose(canvas: Canvas, face: Face, points: np.ndarray, folded: np.ndarray, cells: np.ndarray) -> None:
    """Paints the nose with its septum and turbinates, ethmoid cells, nasal bones, maxillary sinuses and throat."""
    x = points[2]
    cavity = ellipsoid(points, (-62, 70, 0), (19, 30, 14))
    canvas.paint(canvas.shell(cavity, 0, 1.2), CORTICAL)
    canvas.paint_mixture(canvas.inside(cavity), MUCOSA, AIR, np.clip(0.55 + 1.3 * cells, 0, 1))
    canvas.paint(canvas.inside(np.maximum(np.abs(x) - 1, cavity)), MUCOSA)
    ethmoid = ellipsoid(points, (-41, 62, 0), (10, 19, 12))
    canvas.paint(canvas.inside(ethmoid), AIR)
    canvas.paint(canvas.inside(ethmoid) * np.clip(1 - 6 * np.abs(cells), 0, 1), CORTICAL)
    canvas.paint(canvas.shell(ethmoid, 0, 1), CORTICAL)
    canvas.paint(canvas.inside(capsule(points, (-32, 97, 0), (-46, 106, 0), 3, 2.5)), CORTICAL)
    canvas.paint(canvas.inside(capsule(folded, (-68, 92, 6), (-67, 108, 5), 3.5)), AIR)
    for side, size in zip((-1, 1), face.maxillary, strict=True):
        sinus = ellipsoid(points, (-67, 66, 29 * side), (17 * size, 18 * size, 13.5 * size))
        canvas.paint(canvas.shell(sinus, 0, 1.6), CORTICAL)
        canvas.paint(canvas.inside(sinus), MUCOSA)
        canvas.paint(canvas.inside(sinus + np.float32(face.swelling)), AIR)
    throat = capsule(points, (-72, 36, 0), (-88, 27, 0), 9, 8)
    throat = smooth_union(throat, capsule(points, (-88, 27, 0), (-135, 16, 0), 7), 3)
    canvas.paint(canvas.inside(throat - 2), MUCOSA)
    canvas.paint(canvas.inside(throat), AIR)


def _paint_orbits(canvas: Canvas, folded: np.ndarray) -> None:
    """Paints the walls of the orbits, their fat, muscles and nerve, and the eyes with their lenses."""
    orbit = ellipsoid(folded, (-42, 72, 31), (18, 27, 18))
    behind = np.clip((92 - folded[1]) / 4, 0, 1)
    canvas.paint(canvas.shell(orbit, 0, 1.6) * behind, CORTICAL)
    canvas.paint(canvas.inside(orbit) * behind, FAT)
    for dz, dx in ((11, 0), (-11, 0), (0, 11), (0, -11)):
        canvas.paint(canvas.inside(capsule(folded, (-39, 48, 16), (-42 + dz, 80, 31 + dx), 1.6, 2.2)), MUSCLE)
    canvas.paint(canvas.inside(capsule(folded, (-39, 45, 14), (-42, 72, 31), 2.2)), WHITE)
    globe = ellipsoid(folded, (-42, 84, 32), (12, 12, 12))
    canvas.paint(canvas.inside(globe), MUSCLE)
    canvas.paint(canvas.inside(globe + np.float32(1.2)), VITREOUS)
    canvas.paint(canvas.inside(ellipsoid(folded, (-42, 93, 32), (4.5, 2.2, 4.5))), MUCOSA)


def _paint_spine(canvas: Canvas, points: np.ndarray, folded: np.ndarray) -> None:
    """Paints two vertebrae, the dens, and the spinal canal with its cord."""
    z, y, x = points
    from_canal = np.hypot(y + 19, x)
    for level, height in ((-88, 4), (-107, 6)):
        ring = np.maximum(np.abs(from_canal - 17) - 3.5, np.abs(z - level) - height)
        _bone(canvas, ring, 1.5)
    _bone(canvas, ellipsoid(folded, (-86, -12, 22), (9, 11, 10)), 1.8)
    _bone(canvas, ellipsoid(folded, (-104, -12, 20), (8, 10, 9)), 1.8)
    _bone(canvas, capsule(points, (-80, -1, 0), (-100, -1, 0), 5.5, 7), 1.5)
    _bone(canvas, ellipsoid(points, (-113, 1, 0), (14, 9, 12)), 1.5)
    below = z + 66
    canvas.paint(canvas.inside(np.maximum(from_canal - 11, below)), CSF)
    canvas.paint(canvas.inside(np.maximum(np.hypot(y + 19, x / 1.3) - 5.5, below)), WHITE)
