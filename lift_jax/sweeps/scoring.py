"""The scores of one finished run of a sweep, and its volumes to be shown, on disk."""

import io
import json
import os
import pathlib

import numpy as np

from lift_jax import run_directory
from lift_jax.evaluation.cost import hardware
from lift_jax.paths import atomic_write
from lift_jax.tasks import task_of
from lift_jax.tasks.base import Shown

SCORES_FILE, PICTURES_FILE = "scores.json", "pictures.npz"


def write_scores(workdir: pathlib.Path) -> None:
    """Scores a trained run, and writes `pictures.npz` and, last, `scores.json` into its work directory.

    `scores.json` holds `scores[name][metric]` for the name "model" and for what it is compared with, `n` (volumes, or
    subjects, that were scored) and `hardware`.
    """
    scored = task_of(run_directory.read_config(workdir)).sweep.score(workdir)
    _write_shown(workdir / PICTURES_FILE, scored.shown, scored.spacing)
    record = {"scores": scored.scores, "n": scored.count, "hardware": hardware()}
    atomic_write(workdir / SCORES_FILE, json.dumps(record, indent=2) + "\n")


def read_scores(workdir: pathlib.Path) -> dict | None:
    """What `write_scores` wrote, or None."""
    path = workdir / SCORES_FILE
    return json.loads(path.read_text()) if path.exists() else None


def read_shown(workdir: pathlib.Path) -> tuple[list[Shown], tuple[float, float, float]]:
    """The volumes of a scored run to be shown, and the millimeters between their voxels along `(D, H, W)`."""
    with np.load(workdir / PICTURES_FILE, allow_pickle=False) as arrays:
        spacing = tuple(float(step) for step in arrays["spacing"])
        parts = {tuple(key.split("|")): arrays[key].astype(np.float32) for key in arrays if key != "spacing"}
    shown = []
    for name in dict.fromkeys(key[1] for key in parts):
        volumes = {key[2]: array for key, array in parts.items() if key[:2] == ("volume", name)}
        windows = {key[2]: tuple(map(float, array)) for key, array in parts.items() if key[:2] == ("window", name)}
        made = volumes.pop("")
        shown.append(Shown(name, volumes, made, windows))
    return shown, spacing


def _write_shown(path: pathlib.Path, shown: list[Shown], spacing: tuple[float, float, float]) -> None:
    arrays = {"spacing": np.array(spacing)}
    for each in shown:
        for label, volume in {**each.references, "": each.made}.items():
            arrays[f"volume|{each.name}|{label}"] = np.asarray(volume, np.float16)
        for label, window in each.windows.items():
            arrays[f"window|{each.name}|{label}"] = np.array(window)
    written = io.BytesIO()
    np.savez_compressed(written, **arrays)
    aside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        aside.write_bytes(written.getvalue())
        os.replace(aside, path)
    finally:
        aside.unlink(missing_ok=True)
