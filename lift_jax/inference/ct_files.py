"""Synthetic CTs of NIfTI cases, in Hounsfield units, in the geometry of the case's own MR."""

import dataclasses
import json
import pathlib
import time

import jax
import numpy as np

from lift_jax.data.hounsfield import OUTSIDE
from lift_jax.data.paired_cases import PairedCase
from lift_jax.data.regrid import regrid_brain_onto
from lift_jax.data.synthrad import SynthradCases
from lift_jax.data.volumes import write_volume
from lift_jax.errors import UserError
from lift_jax.inference.ct import predict_ct
from lift_jax.run_directory import write_aside
from lift_jax.trained import Trained


def synthesize_ct(trained: Trained, cases: SynthradCases, index: int, output: pathlib.Path) -> list[pathlib.Path]:
    """Translates the MR of a case and writes `<case>-ct.nii.gz`, int16 in HU, -1024 outside the body.

    Beside it, `<case>-synthesis.json` says what it was made from, and whether the body was given or found. Where the
    cases are resampled (`cases.side`), the result is interpolated back onto the MR's own grid.

    Args:
      trained: the run.
      cases: a folder of cases; index: which of them. A CT that a case has is not looked at.
      output: folder for the results; made if it is not there.

    Returns:
      The NIfTI files.

    Raises:
      UserError: if the case cannot be used, or results cannot be written.
    """
    began = time.perf_counter()
    config, name = trained.config, cases.names[index]
    case, grid = cases.load(index, kinds=("mr", "mask")), cases.geometry(index)
    prediction = predict_ct(
        trained.network,
        trained.params,
        case,
        chunk=config.inference.chunk,
        skip_memory=config.inference.skip_memory,
    )
    if cases.side is not None:
        native = dataclasses.replace(cases, side=None).load(index, kinds=("mr", "mask"))
        prediction = _onto_body(prediction, case, native)
    try:
        output.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"{output}: cannot be made ({error.strerror}); name another --output") from None
    path = output / f"{name}-ct.nii.gz"
    write_volume(path, prediction, grid, dtype=np.int16)
    facts = {
        "case": name,
        "targets": ["ct"],
        "sources": ["mr"],
        "unit": "HU",
        "body": "mask of the case" if cases.has_mask(index) else "found by threshold in the MR; check its outline",
        "stage": trained.stage,
        "step": trained.step,
        "side": cases.side,
        "seconds": round(time.perf_counter() - began, 3),
        "device": jax.devices()[0].device_kind,
        "config": config.to_dict(),
    }
    write_aside(output / f"{name}-synthesis.json", json.dumps(facts, indent=2) + "\n")
    return [path]


def _onto_body(prediction: np.ndarray, case: PairedCase, native: PairedCase) -> np.ndarray:
    """A prediction on the grid of `native`, interpolated within the body alone: its skin is not mixed with air."""
    above = np.where(case.mask, prediction - OUTSIDE + 1, 0)  # 1 or more wherever something is known
    above = regrid_brain_onto(above, case.affine, native.mask, native.affine)
    return np.maximum(above + OUTSIDE - 1, OUTSIDE)
