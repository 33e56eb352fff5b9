"""Anybody's synthetic CTs, as NIfTI files, scored against cases in SynthRAD's layout."""

import dataclasses
import os
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from lift_jax.data.hounsfield import normalise_mr
from lift_jax.data.synthrad import pair_paths
from lift_jax.data.volumes import describe_difference, read_header, read_volume
from lift_jax.errors import UserError
from lift_jax.evaluation.aggregates import Row, rank_cases
from lift_jax.evaluation.ct_scores import score_ct
from lift_jax.evaluation.report.pictures import Picture, ct_picture
from lift_jax.evaluation.scores import MODEL

PREDICTION_NAME = re.compile(r"(?P<case>[^/]+?)(-ct)?\.nii(\.gz)?")
"""`<case>-ct.nii.gz`, as `synthesize.py` writes them, or `<case>.nii.gz`."""


@dataclasses.dataclass(frozen=True)
class CtPrediction:
    """A predicted CT of a case: its file, and those of the case's own volumes by kind."""

    case: str
    path: Path
    truth: dict[str, Path]


def score_ct_folder(
    predictions: str | os.PathLike, targets: str | os.PathLike
) -> tuple[list[Row], Iterator[Picture], dict[str, str]]:
    """Scores every synthetic CT in a folder, in Hounsfield units, within the mask of its case.

    Args:
      predictions: holds `<case>-ct.nii.gz` or `<case>.nii.gz` (or `.nii`).
      targets: holds the cases, `<case>/{ct,mask,mr}.nii.gz`; the MR is only shown.

    Returns:
      One row per case; the best, median and worst case, read again one after the other as they are asked for; and the
      facts of a report.

    Raises:
      UserError: predictions that cannot be matched with a case on the same grid, all of them at once and before any is
        scored; or a file that cannot be read or scored.
    """
    found = find_ct_predictions(Path(predictions), Path(targets))
    rows = []
    for prediction in found:
        ct, mask, made = (read_volume(path).array for path in _scored(prediction))
        try:
            scores = score_ct(ct, made, mask > 0.5)
        except ValueError as error:
            raise UserError(f"{prediction.path}: cannot be scored: {error}") from None
        rows.append({"case": prediction.case, "contrast": "ct", "method": MODEL, **scores})
    facts = {
        "predictions": f"{len(found)} files in {predictions}",
        "targets": str(targets),
        "protocol": "SynthRAD2023, native grid; MS-SSIM as SynthRAD2025",
    }
    return rows, _pictures(found, rows), facts


def find_ct_predictions(predictions: Path, targets: Path) -> list[CtPrediction]:
    """The synthetic CTs in a folder with what each is scored against, by case; headers alone are read.

    Raises:
      UserError: a folder is missing or holds no prediction; or predictions cannot be matched, one line for each.
    """
    for folder in (predictions, targets):
        if not folder.is_dir():
            raise UserError(f"{folder}: no such folder; give the folders of the predictions and of the true cases")
    files = sorted(file for file in predictions.iterdir() if file.is_file())
    matches = [(file, match["case"]) for file in files if (match := PREDICTION_NAME.fullmatch(file.name))]
    if not matches:
        raise UserError(f"{predictions}: holds no predictions; name them <case>-ct.nii.gz")
    found: dict[str, CtPrediction] = {}
    problems = []
    for path, case in matches:
        try:
            if case in found:
                raise UserError(f"{path}: predicts the same case as {found[case].path}; keep one of them")
            found[case] = _match(path, case, targets)
        except UserError as error:
            problems.append(str(error))
    if problems:
        first = f"{predictions}: {len(problems)} of {len(matches)} predictions cannot be scored; repair or remove them:"
        raise UserError("\n".join([first, *problems]))
    return [found[case] for case in sorted(found)]


def _match(path: Path, case: str, targets: Path) -> CtPrediction:
    """Finds what a prediction is scored against, and checks that all of it lies on the prediction's grid."""
    truth = pair_paths(targets, case)
    missing = [kind for kind in ("ct", "mask") if kind not in truth]
    if missing:
        wanted = ", ".join(str(targets / case / f"{kind}.nii.gz") for kind in missing)
        raise UserError(f"{path}: has nothing to be scored against; put it at {wanted}")
    grid = read_header(path)
    for other in truth.values():
        difference = describe_difference(grid, read_header(other))
        if difference:
            raise UserError(f"{path}: is not on the grid of {other}: {difference}; resample it onto that grid")
    return CtPrediction(case, path, truth)


def _scored(prediction: CtPrediction) -> tuple[Path, Path, Path]:
    return prediction.truth["ct"], prediction.truth["mask"], prediction.path


def _pictures(found: list[CtPrediction], rows: list[Row]) -> Iterator[Picture]:
    by_name = {prediction.case: prediction for prediction in found}
    for rank, name in rank_cases(rows, "ct").items():
        prediction = by_name[name]
        ct, mask, made = (read_volume(path) for path in _scored(prediction))
        body = mask.array > 0.5
        mr = read_volume(prediction.truth["mr"]).array if "mr" in prediction.truth else body.astype("float32")
        spacing = np.linalg.norm(ct.affine[:3, :3], axis=0)[::-1]
        yield ct_picture(name, rank, normalise_mr(mr, body), ct.array, made.array, body, spacing)
