"""Anybody's predictions, as files, scored against true subjects."""

import dataclasses
import os
import re
import warnings
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
from ml_collections import ConfigDict

from lift_jax.data.datasets import BRATS_CHANNELS, BRATS_WORDS, SYNTHRAD_CHANNELS, scan
from lift_jax.data.intensity import get_protocol
from lift_jax.data.naming import SubjectFiles
from lift_jax.data.scans import ScannedSubjects, check_same_grid, header_errors, read_labels
from lift_jax.data.volumes import read_header, read_volume
from lift_jax.errors import DataWarning, UserError
from lift_jax.evaluation.columns import columns_of
from lift_jax.evaluation.prediction_files import ReadPrediction, read_prediction
from lift_jax.evaluation.report.pictures import Picture, scored_picture
from lift_jax.evaluation.scores import ScoredChannel, score_rows, scored_channel
from lift_jax.evaluation.statistics import Column, Row, distinct, rank_subjects

ENDING_PATTERN = r"\.(?:nii|nii\.gz|mha)"


@dataclasses.dataclass(frozen=True)
class ScoringProtocol:
    """How predictions of others are scored.

    Attributes:
      dataset: layout of the true subjects.
      channels: channel to intensity protocol.
      targets: word in the name of a prediction's file, to the channel that it predicts.
      needs_mask: whether a mask file must lie beside the truth.
      form: names of predictions, for messages.
      description: for reports.
    """

    dataset: str
    channels: Mapping[str, str]
    targets: Mapping[str, str]
    needs_mask: bool
    form: str
    description: str

    @property
    def name_pattern(self) -> re.Pattern[str]:
        """Matches the name of a prediction's file; a single target may be left out of it."""
        words = "|".join(sorted(self.targets, key=len, reverse=True))
        optional = "?" if len(set(self.targets.values())) == 1 else ""
        return re.compile(rf"(?P<subject>[^/]+?)(?:[-_](?P<kind>{words})){optional}{ENDING_PATTERN}", re.DOTALL)

    @property
    def unit(self) -> str:
        """The unit of the targets."""
        return get_protocol(self.channels[next(iter(self.targets.values()))]).unit

    @property
    def columns(self) -> tuple[Column, ...]:
        """The metrics of its tables."""
        return columns_of([self.unit])


def _synthrad(name: str) -> ScoringProtocol:
    described = "SynthRAD2023, native grid; MS-SSIM as SynthRAD2025"
    return ScoringProtocol(name, SYNTHRAD_CHANNELS, {"ct": "ct"}, True, "<subject>-ct.nii.gz", described)


SCORING_PROTOCOLS = {
    "cwdm": ScoringProtocol(
        "brats",
        BRATS_CHANNELS,
        BRATS_WORDS,
        False,
        "<subject>-{t1n,t1c,t2w,t2f}.nii.gz",
        "cWDM, native grid",
    ),
    "synthrad2023": _synthrad("synthrad2023"),
    "synthrad2025": _synthrad("synthrad2025"),
}
"""Values of `--protocol`."""


@dataclasses.dataclass(frozen=True)
class Prediction:
    """A file, and the channel and the subject that it predicts."""

    path: Path
    subject: str
    channel: str
    index: int


def score_folder(
    predictions: str | os.PathLike,
    targets: str | os.PathLike,
    protocol: str = "cwdm",
    prediction_range: tuple[float, float] | None = None,
) -> tuple[list[Row], Iterator[Picture], dict[str, str]]:
    """Scores every prediction in a folder, and the methods without training on the same subjects.

    Sources are the subject's channels other than the predicted one. The first of them defines the background.

    Args:
      predictions: holds `<subject>-<channel>.nii.gz`, side by side or in a folder for each subject.
      targets: holds the true subjects, in the layout of the protocol's data set.
      protocol: one of `SCORING_PROTOCOLS`.
      prediction_range: see `read_prediction`.

    Returns:
      One row per subject, channel and method; the best, median and worst subject of every channel, read again one
      after the other as they are asked for; and the metadata of a report.

    Raises:
      UserError: predictions that cannot be matched with a target on the same grid, all of them at once and before
        any is scored; or a file that cannot be read or scored, or is in another unit.
    """
    if protocol not in SCORING_PROTOCOLS:
        raise UserError(f"--protocol: {protocol!r} is none of {', '.join(SCORING_PROTOCOLS)}")
    scoring = SCORING_PROTOCOLS[protocol]
    subjects, found = _find_predictions(Path(predictions), Path(targets), scoring)
    rows: list[Row] = []
    read = []
    for prediction in found:
        truth, volume = _read(subjects, prediction, prediction_range)
        rows += score_rows(str(prediction.path), prediction.subject, prediction.channel, truth, volume.array)
        read.append(dataclasses.replace(volume, array=np.empty(0)))  # whose description is needed, and not the voxels
    metadata = {
        "predictions": f"{len(found)} files of {len(distinct(rows, 'subject'))} subjects in {predictions}",
        "targets": str(targets),
        "protocol": scoring.description,
        "prediction intensities": _describe_intensities(read, scoring.unit, prediction_range),
    }
    return rows, _pictures(subjects, found, rows, prediction_range), metadata


def score_file(
    prediction: Path,
    target: Path,
    protocol: str = "cwdm",
    prediction_range: tuple[float, float] | None = None,
    mask: Path | None = None,
) -> tuple[list[Row], Iterator[Picture], dict[str, str]]:
    """Scores one file against another; without sources there is no background, so the prediction is scored as it is.

    Args:
      prediction: the file that is scored; target: the true one, on the same grid.
      protocol: one of `SCORING_PROTOCOLS`.
      prediction_range: see `read_prediction`.
      mask: the brain or body; None: the foreground of the target.

    Returns:
      As `score_folder`.

    Raises:
      UserError: as `score_folder`.
    """
    scoring = SCORING_PROTOCOLS[protocol]
    channel = "ct" if scoring.unit == "HU" else "t1n"  # any of its channels; all have one protocol
    files = SubjectFiles(target.name.split(".")[0], {channel: target}, mask)
    subjects = ScannedSubjects((files,), {channel: get_protocol(scoring.channels[channel])})
    grid = read_header(target)
    for path in filter(None, (prediction, mask)):
        check_same_grid(target, grid, path, read_header(path))
    if scoring.unit == "HU" and mask is None:
        warnings.warn(f"{target}: no --mask; the body is found by threshold in the true CT", DataWarning, stacklevel=2)
    subject = subjects.load(0)
    protocols = subjects.protocols
    region = subject.mask if subject.mask is not None else subject.images[channel] > protocols[channel].background
    everywhere = np.ones(subject.shape, bool)
    visible = subject.mask if mask is not None and subject.mask is not None else everywhere
    truth = ScoredChannel(protocols[channel], subject.reference(channel), region, visible, {}, {})
    volume = read_prediction(prediction, protocols[channel], truth.target, region, prediction_range)
    rows = score_rows(str(prediction), files.name, "target", truth, volume.array)
    metadata = {
        "prediction": str(prediction),
        "target": str(target),
        "protocol": scoring.description,
        "foreground": str(mask) if mask else "that of the target; give --mask where there is one",
        "prediction intensities": _describe_intensities([volume], scoring.unit, prediction_range),
    }
    picture = scored_picture(files.name, "target", "median", truth, volume.array, subject.spacing)
    return rows, iter([picture]), metadata


def _find_predictions(
    predictions: Path, targets: Path, scoring: ScoringProtocol
) -> tuple[ScannedSubjects, list[Prediction]]:
    """The true subjects, and the predictions of a folder by channel and subject; only headers are read.

    Raises:
      UserError: a folder is missing or holds no prediction; or predictions cannot be matched, one line for each.
    """
    for flag, folder in (("--predictions", predictions), ("--targets", targets)):
        if not folder.is_dir():
            single = "; score single files by --prediction FILE --target FILE" if folder.is_file() else ""
            raise UserError(f"{flag}: {folder} is no folder{single or '; check the path'}")
    files = sorted(file for pattern in ("*", "*/*") for file in predictions.glob(pattern) if file.is_file())
    matches = [(file, match) for file in files if (match := scoring.name_pattern.fullmatch(file.name))]
    if not matches:
        raise UserError(f"{predictions}: holds no predictions; name them {scoring.form}")
    scanned = scan(ConfigDict({"dataset": scoring.dataset, "root": str(targets), "channels": dict(scoring.channels)}))
    protocols = {channel: get_protocol(name) for channel, name in scoring.channels.items()}
    subjects = ScannedSubjects(scanned, protocols)
    indices = {name: index for index, name in enumerate(subjects.names)}
    found: dict[tuple[str, str], Prediction] = {}
    problems = []
    for path, match in matches:
        only = next(iter(scoring.targets.values()))
        subject, channel = match["subject"], scoring.targets[match["kind"]] if match["kind"] else only
        if (channel, subject) in found:
            other = found[channel, subject].path
            problems.append(f"{path}: predicts the same channel and subject as {other}; keep one of them")
            continue
        errors = _match_errors(path, subject, channel, targets, scoring, subjects, indices.get(subject))
        problems += errors
        if not errors:
            found[channel, subject] = Prediction(path, subject, channel, indices[subject])
    if problems:
        first = f"{predictions}: {len(matches) - len(found)} of {len(matches)} predictions cannot be scored; "
        raise UserError("\n".join([f"{first}repair or remove them:", *problems]))
    order = list(scoring.channels)
    return subjects, sorted(found.values(), key=lambda each: (order.index(each.channel), each.subject))


def _describe_intensities(
    read: Sequence[ReadPrediction], unit: str, prediction_range: tuple[float, float] | None
) -> str:
    """In which unit predictions were given, and what was done about overshoots; warnings are repeated."""
    text = f"in {unit}, as given" if prediction_range is None else "{:g} to {:g}, as stated".format(*prediction_range)
    overshoots = [each.overshoot for each in read if each.overshoot > 0]
    if overshoots:
        text += (
            f"; {len(overshoots)} of {len(read)} overshoot the range by up to {max(overshoots):.2%} and were clamped"
        )
    warned = [each.warning for each in read if each.warning]
    return "; ".join([text, *warned])


def _match_errors(path, subject, channel, targets, scoring, subjects: ScannedSubjects, index) -> list[str]:
    """What keeps a prediction from being scored, one line each."""
    ending = ".mha" if scoring.dataset == "synthrad2025" else ".nii.gz"
    prefix = f"{subject}-" if scoring.dataset == "brats" else ""
    truth = {} if index is None else subjects.files[index].channels
    if channel not in truth:
        return [f"{path}: has no target; put it at {targets / subject / f'{prefix}{channel}{ending}'}"]
    files = subjects.files[index]
    if scoring.needs_mask and files.mask is None:
        return [f"{path}: has no mask to be scored in; put it at {targets / subject / f'mask{ending}'}"]
    if not scoring.needs_mask and len(truth) < 2:
        return [f"{path}: {subject} has no channel but the target in {targets}; add one, it shows the brain"]
    errors = list(header_errors(files))
    try:
        check_same_grid(truth[channel], read_header(truth[channel]), path, read_header(path))
    except UserError as error:
        errors.append(str(error))
    return errors


def _read(subjects: ScannedSubjects, prediction: Prediction, prediction_range):
    """The truth and the prediction, which is read within it."""
    index, channel = prediction.index, prediction.channel
    target = subjects.load(index, (channel,))
    sources = tuple(other for other in subjects.channels(index) if other != channel)
    inputs = subjects.load(index, sources) if sources else target
    path = subjects.files[index].segmentation
    labels = read_labels(path, lambda file: read_volume(file).array) if path else None
    truth = scored_channel(subjects.protocols, channel, target.reference(channel), inputs, sources, labels)
    volume = read_prediction(
        prediction.path, subjects.protocols[channel], truth.target, truth.foreground, prediction_range
    )
    if volume.warning:
        warnings.warn(volume.warning, DataWarning, stacklevel=2)
    if volume.overshoot:
        warnings.warn(
            f"{prediction.path}: overshoots [0, 1] by {volume.overshoot:.2%} of the range; clamped", DataWarning, 2
        )
    return truth, volume


def _pictures(
    subjects: ScannedSubjects, found: Sequence[Prediction], rows: Sequence[Row], prediction_range
) -> Iterator[Picture]:
    by_name = {(prediction.channel, prediction.subject): prediction for prediction in found}
    for channel in distinct(rows, "channel"):
        for rank, name in rank_subjects(rows, channel).items():
            prediction = by_name[channel, name]
            truth, volume = _read(subjects, prediction, prediction_range)
            shown = volume.array if truth.protocol.unit == "HU" else np.where(truth.visible, volume.array, 0)
            yield scored_picture(name, channel, rank, truth, shown, read_header(prediction.path).spacing)
