"""Hides each target channel of a subject in turn, so that it can be predicted from the channels that are left."""

import dataclasses
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from lift_jax.data.channels import Channels
from lift_jax.data.datasets.base import ScannedSubjects
from lift_jax.data.intensity import IntensityProtocol
from lift_jax.data.subject import Subject, SubjectSource, foreground
from lift_jax.evaluation.report.pictures import Picture, ct_picture, mr_picture
from lift_jax.evaluation.scores import ScoredChannel


@dataclasses.dataclass(frozen=True)
class HiddenChannel:
    """A target channel that was hidden.

    Attributes:
      subject: the channels that are left, and nothing that was derived from the hidden one.
      sources: names of those channels, in order.
      target: name of the hidden channel.
      truth: what a prediction is scored with.
    """

    subject: Subject
    sources: tuple[str, ...]
    target: str
    truth: ScoredChannel


def hidden_channels(
    subjects: SubjectSource, index: int, channels: Channels, targets: Sequence[str] | None = None
) -> Iterator[HiddenChannel]:
    """Every target that a subject has and that another of its channels can predict.

    Sources are read without the target: where no mask is given, the foreground follows from the sources alone.

    Args:
      subjects: the subjects.
      index: of the subject.
      channels: of the run.
      targets: those to hide; None: all of the run.

    Raises:
      UserError: a file cannot be used.
    """
    asked = channels.predictable(subjects.channels(index))
    asked = [target for target in asked if targets is None or target in targets]
    if not asked:
        return
    whole = subjects.load(index)
    for target in asked:
        yield hide(subjects, index, channels, whole, target)


def hide(subjects: SubjectSource, index: int, channels: Channels, whole: Subject, target: str) -> HiddenChannel:
    """Hides one channel of a subject; `whole` is the subject with all channels, of which the truth is taken."""
    sources = channels.sources_of(target, whole.images)
    if isinstance(subjects, ScannedSubjects) and not subjects.has_mask(index):
        inputs = subjects.load(index, sources)  # so that the hidden channel has no part in the foreground
    else:
        inputs = dataclasses.replace(whole, images={channel: whole.images[channel] for channel in sources})
    truth = scored_channel(channels.protocols, target, whole.reference(target), inputs, sources, whole.segmentation)
    return HiddenChannel(inputs, sources, target, truth)


def scored_channel(
    protocols: Mapping[str, IntensityProtocol],
    target: str,
    reference: np.ndarray,
    inputs: Subject,
    sources: Sequence[str],
    segmentation: np.ndarray | None,
) -> ScoredChannel:
    """What a prediction of `target` is scored with.

    Args:
      protocols: channel to intensity protocol.
      target: name of the channel; reference: the true channel `[D, H, W]`.
      inputs: the subject as its sources show it; with a mask, where there are no sources.
      sources: channels that the prediction was made from.
      segmentation: `[D, H, W]` labels, or None.
    """
    return ScoredChannel(
        protocols[target],
        reference,
        foreground(inputs, sources, protocols),
        foreground(inputs, sources[:1], protocols),
        {channel: inputs.images[channel] for channel in sources},
        {channel: protocols[channel].unit for channel in sources},
        segmentation,
    )


def picture_of(hidden: HiddenChannel, prediction, rank: str) -> Picture:
    """The prediction beside the first source and the truth; `rank` says why this subject is shown."""
    subject, truth, first = hidden.subject, hidden.truth, hidden.sources[0]
    return scored_picture(subject.name, hidden.target, rank, first, truth, prediction, subject.spacing)


def scored_picture(
    name: str, channel: str, rank: str, first: str | None, truth: ScoredChannel, prediction, spacing
) -> Picture:
    """A scored prediction as it is shown, in the windows of its unit.

    Args:
      name: of the subject; channel: that was predicted; rank: why it is shown.
      first: the source that is shown; None shows the foreground.
      truth: what the prediction was scored with.
      prediction: `[D, H, W]` in the unit of the target.
      spacing: voxel sides in mm along `(D, H, W)`.
    """
    source = truth.foreground.astype(np.float32) if first is None else truth.sources[first]
    source_is_hu = first is not None and truth.units[first] == "HU"
    if truth.protocol.unit == "HU":
        picture = ct_picture(name, rank, source, truth.target, prediction, truth.foreground, spacing)
        picture = dataclasses.replace(picture, channel=channel)
        return dataclasses.replace(picture, source_window=picture.windows[0]) if source_is_hu else picture
    picture = mr_picture(name, channel, rank, source, truth.target, prediction, spacing)
    if source_is_hu:
        shown = ct_picture(name, rank, source, source, source, truth.foreground, spacing).windows[0]
        return dataclasses.replace(picture, source_window=shown, mask=truth.foreground)
    return picture
