"""Missing contrasts of NIfTI cases, written as NIfTI in the geometry of the case's own files."""

import dataclasses
import json
import pathlib
import time

import jax
import numpy as np

from lift_jax.data.brats import BratsCases
from lift_jax.data.cases import CONTRASTS
from lift_jax.data.intensities import brain_mask
from lift_jax.data.regrid import regrid_brain_onto
from lift_jax.data.volumes import write_volume
from lift_jax.errors import UserError
from lift_jax.inference.complete import predict_contrasts
from lift_jax.run_directory import write_aside
from lift_jax.trained import Trained


def synthesize_case(
    trained: Trained, cases: BratsCases, index: int, output: pathlib.Path, target: str | None = None
) -> list[pathlib.Path]:
    """Predicts what a case lacks, or one contrast that is asked for, and writes `<case>-<contrast>.nii.gz`.

    Voxels are float32 in [0, 1], the protocol's unit: the scanner's unit of a contrast that was never scanned is not
    known. Beside them, `<case>-synthesis.json` says what they were made from. A run that was trained at a fixed voxel
    size works at that size, and its result is interpolated onto the case's grid.

    Args:
      trained: the run.
      cases: a folder of cases; index: which of them.
      output: folder for the results; made if it is not there.
      target: the contrast to predict, from all others; None predicts all that are missing.

    Returns:
      The NIfTI files.

    Raises:
      UserError: if the case cannot be used, lacks nothing, or has no source; or if results cannot be written.
    """
    began = time.perf_counter()
    name = cases.names[index]
    case, grid = cases.load(index), cases.geometry(index)
    targets = wanted_contrasts(name, case.available, target)
    available = case.available & ~np.isin(CONTRASTS, targets)
    if not available.any():
        raise UserError(f"{name}: nothing to predict {', '.join(targets)} from; add another contrast")
    config = trained.config
    predictions = predict_contrasts(
        trained.network,
        trained.params,
        case,
        available,
        [CONTRASTS.index(contrast) for contrast in targets],
        oracle=config.model.oracle,
        chunk=config.inference.chunk,
        skip_memory=config.inference.skip_memory,
    )
    _make_folder(output)
    paths = []
    if cases.spacing is not None:
        native = dataclasses.replace(cases, spacing=None).load(index)
        brain = brain_mask(native.sources[..., available])
        predictions = [regrid_brain_onto(p, case.affine, brain, native.affine) for p in predictions]
    for contrast, prediction in zip(targets, predictions, strict=True):
        paths.append(output / f"{name}-{contrast}.nii.gz")
        write_volume(paths[-1], prediction, grid)
    facts = {
        "case": name,
        "targets": targets,
        "sources": [contrast for contrast, there in zip(CONTRASTS, available, strict=True) if there],
        "stage": trained.stage,
        "step": trained.step,
        "spacing_mm": cases.spacing,
        "seconds": round(time.perf_counter() - began, 3),
        "device": jax.devices()[0].device_kind,
        "config": config.to_dict(),
    }
    write_aside(output / f"{name}-synthesis.json", json.dumps(facts, indent=2) + "\n")
    return paths


def wanted_contrasts(name: str, available: np.ndarray, target: str | None) -> list[str]:
    """The contrasts to predict: `target` if one is named, else all that are not available.

    Raises:
      UserError: if the target is not a contrast, or nothing is missing.
    """
    if target is not None:
        if target not in CONTRASTS:
            raise UserError(f"--target: {target!r} is none of {', '.join(CONTRASTS)}")
        return [target]
    missing = [contrast for contrast, there in zip(CONTRASTS, available, strict=True) if not there]
    if not missing:
        raise UserError(f"{name}: lacks no contrast; name one with --target to predict it from the others")
    return missing


def _make_folder(folder: pathlib.Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"{folder}: cannot be made ({error.strerror}); name another --output") from None
