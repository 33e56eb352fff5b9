"""Hides each target channel of a subject in turn, so that it can be predicted from the channels that are left."""

import dataclasses
from collections.abc import Iterator, Sequence

import numpy as np

from lift_jax.data.channels import Channels
from lift_jax.data.scans import ScannedSubjects
from lift_jax.data.subject import Subject, SubjectSource
from lift_jax.evaluation.report.pictures import Picture, scored_picture
from lift_jax.evaluation.scores import ScoredChannel, scored_channel


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
    predictable = channels.predictable(subjects.channels(index))
    asked = [target for target in predictable if targets is None or target in targets]
    if not asked:
        return
    whole = subjects.load(index)
    for target in asked:
        yield _hide(subjects, index, channels, whole, target)


def _hide(subjects: SubjectSource, index: int, channels: Channels, whole: Subject, target: str) -> HiddenChannel:
    """Hides one channel of a subject; `whole` is the subject with all channels, of which the truth is taken."""
    sources = channels.sources_of(target, whole.images)
    if isinstance(subjects, ScannedSubjects) and not subjects.has_mask(index):
        inputs = subjects.load(index, sources)  # so that the hidden channel has no part in the foreground
    else:
        inputs = dataclasses.replace(whole, images={channel: whole.images[channel] for channel in sources})
    truth = scored_channel(channels.protocols, target, whole.reference(target), inputs, sources, whole.segmentation)
    return HiddenChannel(inputs, sources, target, truth)


def picture_of(hidden: HiddenChannel, prediction: np.ndarray, rank: str) -> Picture:
    """The prediction beside the first source and the truth; `rank` says why this subject is shown."""
    subject = hidden.subject
    return scored_picture(subject.name, hidden.target, rank, hidden.truth, prediction, subject.spacing)
