"""The scores of one finished run of a sweep, and its volumes to be shown, on disk."""

import dataclasses
import io
import json
import os
import pathlib

import numpy as np

from lift_jax import run_directory
from lift_jax.data.cases import CONTRASTS
from lift_jax.data.contrasts import volume_spacing
from lift_jax.data.sources import case_source
from lift_jax.evaluation.aggregates import CWDM_COLUMNS, aggregate, distinct
from lift_jax.evaluation.cost import hardware
from lift_jax.evaluation.generation_runs import HELD_OUT, INDEPENDENT, real_volumes, sampled_sets
from lift_jax.evaluation.generation_runs import MODEL as SAMPLES
from lift_jax.evaluation.held_out import other_contrasts, predict_hidden
from lift_jax.evaluation.plane_features import slice_encoder
from lift_jax.evaluation.runs import score_cases, volume_flops
from lift_jax.evaluation.scores import BEST_SOURCE, MEAN_OF_SOURCES, MODEL
from lift_jax.evaluation.unconditional import score_unconditional
from lift_jax.places import write_aside
from lift_jax.sweeps.columns import TASK_COLUMNS
from lift_jax.trained import Trained, load_generation, load_trained

SCORES_FILE, PICTURES_FILE = "scores.json", "pictures.npz"

SHOWN = 3
"""Samples of a run of LiFT-U that are kept to be shown."""

BASELINES = {"unconditional": (INDEPENDENT, HELD_OUT), "missing_mr": (BEST_SOURCE, MEAN_OF_SOURCES)}
"""Task to what is scored beside the model."""


@dataclasses.dataclass(frozen=True)
class Shown:
    """One volume of a run to be shown, beside those it belongs to, all `[D, H, W]` in [0, 1].

    Attributes:
      name: what it is, the same for all runs.
      references: real volumes by heading, the same for all runs of a seed.
      made: what the run made.
    """

    name: str
    references: dict[str, np.ndarray]
    made: np.ndarray


def write_scores(workdir: pathlib.Path) -> None:
    """Scores a trained run, and writes `pictures.npz` and, last, `scores.json` into its work directory.

    `scores.json` holds `scores[name][metric]` for the name "model" and for what it is compared with, `n` (volumes, or
    cases, that were scored) and `hardware`.
    """
    task = run_directory.read_config(workdir).task
    scores, count, shown, spacing = {"unconditional": _score_generation, "missing_mr": _score_translation}[task](
        workdir
    )
    _write_shown(workdir / PICTURES_FILE, shown, spacing)
    record = {"scores": scores, "n": count, "hardware": hardware()}
    write_aside(workdir / SCORES_FILE, json.dumps(record, indent=2) + "\n")


def read_scores(workdir: pathlib.Path) -> dict | None:
    """What `write_scores` wrote, or None."""
    path = workdir / SCORES_FILE
    return json.loads(path.read_text()) if path.exists() else None


def read_shown(workdir: pathlib.Path) -> tuple[list[Shown], tuple[float, float, float]]:
    """The volumes of a scored run to be shown, and the millimetres between their voxels along `(z, y, x)`."""
    with np.load(workdir / PICTURES_FILE, allow_pickle=False) as arrays:
        spacing = tuple(float(step) for step in arrays["spacing"])
        parts = {tuple(key.split("|")): arrays[key].astype(np.float32) for key in arrays if key != "spacing"}
    shown = []
    for name in dict.fromkeys(name for name, _ in parts):
        own = {label: volume for (other, label), volume in parts.items() if other == name}
        made = own.pop("")
        shown.append(Shown(name, own, made))
    return shown, spacing


def _score_generation(workdir: pathlib.Path):
    trained = load_generation(workdir)
    real = real_volumes(trained, workdir)
    count = min(len(real["validation"]), len(real["test"]))
    sets, _ = sampled_sets(trained, real["validation"], count)
    encoder = slice_encoder(trained.networks.encoder, trained.params["encoder"])
    # Intervals over the volumes of one run are not shown, so none are drawn.
    scored = score_unconditional(
        sets, real["test"], real["train"], slice_encoders={"": encoder}, volume_encoders={}, frechet_resamples=0
    )
    keys = {column.key for column in TASK_COLUMNS["unconditional"]}
    scores = {
        name if name != SAMPLES else MODEL: {
            key.rstrip("_"): _number(estimate.mean) for key, estimate in row.items() if key.rstrip("_") in keys
        }
        for name, row in scored.table.items()
    }
    return scores, count, _shown_samples(sets[SAMPLES], real["test"]), (volume_spacing(trained.config.data),) * 3


def _shown_samples(samples: np.ndarray, real: np.ndarray) -> list[Shown]:
    return [Shown(f"sample {i}", {"real": real[i]}, samples[i]) for i in range(min(SHOWN, len(samples), len(real)))]


def _score_translation(workdir: pathlib.Path):
    trained = load_trained(workdir)
    cases = case_source(trained.config.data, "test")
    rows, shape, _ = score_cases(trained, cases)
    keys = [column for column in CWDM_COLUMNS if column.key in {c.key for c in TASK_COLUMNS["missing_mr"]}]
    table = aggregate([row | {"contrast": "all", "case": f"{row['case']} {row['contrast']}"} for row in rows], keys)
    scores = {
        method: {key: _number(estimate.mean) for key, estimate in contrasts["all"].items()}
        for method, contrasts in table.items()
    }
    scores[MODEL]["gflop"] = _number(volume_flops(trained, shape) / 1e9)
    shown, spacing = _shown_predictions(trained, cases, rows)
    return scores, len(cases.names), shown, spacing


def _shown_predictions(trained: Trained, cases, rows) -> tuple[list[Shown], tuple[float, float, float]]:
    """Of every contrast the case in the middle by how like its best source is, which all runs agree on."""
    shown = []
    for contrast in distinct(rows, "contrast"):
        likeness = {
            row["case"]: row["psnr"] for row in rows if row["contrast"] == contrast and row["method"] == BEST_SOURCE
        }
        name = sorted(likeness, key=lambda case: (likeness[case], case))[len(likeness) // 2]
        case = cases.load(list(cases.names).index(name))
        source = case.sources[..., np.flatnonzero(other_contrasts(case, contrast))[0]]
        references = {"source": source, "truth": case.targets[..., CONTRASTS.index(contrast)]}
        made = predict_hidden(trained.network, trained.params, case, contrast, trained.config)
        shown.append(Shown(f"{contrast} of {name}", references, made))
    return shown, tuple(np.linalg.norm(case.affine[:3, :3], axis=0)[::-1])


def _write_shown(path: pathlib.Path, shown: list[Shown], spacing: tuple[float, float, float]) -> None:
    arrays = {"spacing": np.array(spacing)}
    for each in shown:
        for label, volume in {**each.references, "": each.made}.items():
            arrays[f"{each.name}|{label}"] = np.asarray(volume, np.float16)
    written = io.BytesIO()
    np.savez_compressed(written, **arrays)
    aside = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        aside.write_bytes(written.getvalue())
        os.replace(aside, path)
    finally:
        aside.unlink(missing_ok=True)


def _number(value: float) -> float | None:
    """A number as JSON knows it."""
    return float(value) if np.isfinite(value) else None
