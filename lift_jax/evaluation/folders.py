"""Anybody's predictions, as NIfTI files, scored against cases in BraTS layout."""

import dataclasses
import os
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from lift_jax.data.brats import contrast_paths
from lift_jax.data.cases import CONTRASTS
from lift_jax.data.intensities import apply_cwdm_background, normalise_cwdm
from lift_jax.data.volumes import describe_difference, read_header, read_volume
from lift_jax.errors import UserError
from lift_jax.evaluation.aggregates import Row, distinct, rank_cases
from lift_jax.evaluation.report.pictures import Picture, mr_picture
from lift_jax.evaluation.scores import score_methods_cwdm

PROTOCOLS = ("cwdm",)

UNIT_TOLERANCE = 1.001
"""Highest value that a prediction in [0, 1] may hold; one above it is in other units, and normalised as targets are."""

PREDICTION_NAME = re.compile(rf"(?P<case>[^/]+)-(?P<contrast>{'|'.join(CONTRASTS)})\.nii(\.gz)?")


@dataclasses.dataclass(frozen=True)
class Prediction:
    """A predicted contrast of a case: its file, and those of the true contrast and of the case's other contrasts."""

    case: str
    contrast: str
    path: Path
    target: Path
    sources: tuple[Path, ...]


def score_folder(
    predictions: str | os.PathLike, targets: str | os.PathLike, protocol: str = "cwdm"
) -> tuple[list[Row], Iterator[Picture], dict[str, str]]:
    """Scores every prediction in a folder, and on the same cases the two baselines of `scores.score_methods_cwdm`.

    Targets and sources are normalised by the cWDM protocol; the sources are the case's contrasts other than the
    predicted one, and the first of them in the order of `CONTRASTS` tells background. Predictions are taken to be in
    [0, 1]; one that reaches beyond is normalised like a target, and the facts say of how many that holds.

    Args:
      predictions: holds `<case>-<contrast>.nii.gz` (or `.nii`), side by side or in a folder for each case.
      targets: holds the cases, `<case>/<case>-<contrast>.nii.gz`.
      protocol: one of `PROTOCOLS`.

    Returns:
      One row per case, contrast and method; the best, median and worst case of every contrast, read again one after the
      other as they are asked for; and the facts of a report.

    Raises:
      UserError: predictions that cannot be matched with a target on the same grid, all of them at once and before
        any is scored; or a file that cannot be read or scored.
    """
    if protocol not in PROTOCOLS:
        raise UserError(f"protocol {protocol}: unknown; the protocols of folders are: {', '.join(PROTOCOLS)}")
    found = find_predictions(Path(predictions), Path(targets))
    rows, normalised = [], 0
    for prediction in found:
        predicted, was_normalised = _read_prediction(prediction.path)
        normalised += was_normalised
        target, sources = _read_unit(prediction.target), np.stack([_read_unit(p) for p in prediction.sources], axis=-1)
        try:
            scores = score_methods_cwdm(target, predicted, sources, sources[..., 0])
        except ValueError as error:
            raise UserError(f"{prediction.path}: cannot be scored: {error}") from None
        named = {"case": prediction.case, "contrast": prediction.contrast}
        rows += [named | {"method": method} | values for method, values in scores.items()]
    facts = {
        "predictions": f"{len(found)} files of {len(distinct(rows, 'case'))} cases in {predictions}",
        "targets": str(targets),
        "protocol": "cWDM, native grid",
        "prediction intensities": _intensities_in_words(normalised, len(found)),
    }
    return rows, _pictures(found, rows), facts


def find_predictions(predictions: Path, targets: Path) -> list[Prediction]:
    """The predictions in a folder with what each is scored against, by contrast and case; headers alone are read.

    Raises:
      UserError: a folder is missing or holds no prediction; or predictions cannot be matched, one line for each.
    """
    for folder in (predictions, targets):
        if not folder.is_dir():
            raise UserError(f"{folder}: no such folder; give the folders of the predictions and of the true cases")
    files = sorted(file for pattern in ("*", "*/*") for file in predictions.glob(pattern) if file.is_file())
    matches = [(file, match) for file in files if (match := PREDICTION_NAME.fullmatch(file.name))]
    if not matches:
        names = f"<case>-{{{','.join(CONTRASTS)}}}.nii.gz"
        raise UserError(f"{predictions}: holds no predictions; name them {names}, side by side or in a folder a case")
    found: dict[tuple[str, str], Prediction] = {}
    problems = []
    for path, match in matches:
        case, contrast = match["case"], match["contrast"]
        try:
            if (contrast, case) in found:
                other = found[contrast, case].path
                raise UserError(f"{path}: predicts the same contrast and case as {other}; keep one of them")
            found[contrast, case] = _match(path, case, contrast, targets)
        except UserError as error:
            problems.append(str(error))
    if problems:
        first = f"{predictions}: {len(problems)} of {len(matches)} predictions cannot be scored; repair or remove them:"
        raise UserError("\n".join([first, *problems]))
    return sorted(found.values(), key=lambda prediction: (CONTRASTS.index(prediction.contrast), prediction.case))


def _match(path: Path, case: str, contrast: str, targets: Path) -> Prediction:
    """Finds what a prediction is scored against, and checks that all of it lies on the prediction's grid."""
    paths = contrast_paths(targets, case)
    if contrast not in paths:
        raise UserError(f"{path}: has no target; put it at {targets / case / f'{case}-{contrast}.nii.gz'}")
    sources = tuple(source for name, source in paths.items() if name != contrast)
    if not sources:
        raise UserError(f"{path}: case {case} has no contrast but the target in {targets}; add one, it tells the brain")
    grid = read_header(path)
    for other in (paths[contrast], *sources):
        difference = describe_difference(grid, read_header(other))
        if difference:
            raise UserError(f"{path}: is not on the grid of {other}: {difference}; resample it onto that grid")
    return Prediction(case, contrast, path, paths[contrast], sources)


def _read_prediction(path: Path) -> tuple[np.ndarray, bool]:
    """A prediction in [0, 1], `[D, H, W]`, and whether it had to be normalised."""
    array = read_volume(path).array
    if array.max() <= UNIT_TOLERANCE:
        return array, False
    return _normalised(path, array), True


def _read_unit(path: Path) -> np.ndarray:
    return _normalised(path, read_volume(path).array)


def _normalised(path: Path, array: np.ndarray) -> np.ndarray:
    try:
        return normalise_cwdm(array)
    except ValueError as error:
        raise UserError(f"{path}: {error}") from None


def _pictures(found: list[Prediction], rows: list[Row]) -> Iterator[Picture]:
    by_name = {(prediction.contrast, prediction.case): prediction for prediction in found}
    for contrast in distinct(rows, "contrast"):
        for rank, case in rank_cases(rows, contrast).items():
            yield _picture(by_name[contrast, case], rank)


def _picture(prediction: Prediction, rank: str) -> Picture:
    """A prediction as it is scored, background applied, beside the first source and the target."""
    volume = read_volume(prediction.sources[0])
    source = _normalised(prediction.sources[0], volume.array)
    return mr_picture(
        prediction.case,
        prediction.contrast,
        rank,
        source,
        _read_unit(prediction.target),
        apply_cwdm_background(_read_prediction(prediction.path)[0], source),
        np.linalg.norm(volume.affine[:3, :3], axis=0)[::-1],
    )


def _intensities_in_words(normalised: int, total: int) -> str:
    if normalised == 0:
        return "in [0, 1], as given"
    return f"{normalised} of {total} predictions hold values above 1 and were normalised by the protocol, like targets"
