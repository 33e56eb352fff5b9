"""The phantom's outline and soft tissue, and all that hangs below the brain: face, sinuses, jaw and neck.

Places are (z, y, x) in mm in the coordinates of the brain template, as in `phantom_skull`.
"""

import dataclasses

import numpy as np

from lift_jax.data.phantom.fields import smooth_field
from lift_jax.data.phantom.head_tissues import AIR, CORTICAL, ENAMEL, FAT, MARROW, MUCOSA, MUSCLE, SKIN, VITREOUS
from lift_jax.data.phantom.shapes import Canvas, bump, capsule, ellipsoid, smooth_union
from lift_jax.data.phantom.tissues import CSF, WHITE


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
