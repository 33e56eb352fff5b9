"""From a subject in protocol units to predicted channels in protocol units."""

from collections.abc import Sequence

import jax
import numpy as np

from lift_jax.data.channels import Channels
from lift_jax.data.intensity import from_network, to_network
from lift_jax.data.subject import Subject, foreground, foreground_box
from lift_jax.inference.translate import translate_volume
from lift_jax.models.slice_translator import BACKGROUND
from lift_jax.models.volume_translator import VolumeTranslator


def predict_channels(
    network: VolumeTranslator,
    params: dict,
    channels: Channels,
    subject: Subject,
    sources: Sequence[str],
    targets: Sequence[str],
    *,
    chunk: int,
    skip_cache_gib: float,
    in_foreground_box: bool = True,
    mesh: jax.sharding.Mesh | None = None,
) -> dict[str, np.ndarray]:
    """Target channels of a subject, each `[D, H, W]` float32 in the unit of its protocol, clipped to its range.

    Outside the foreground that the sources show they are the protocol's background.

    Args:
      network: the network; params: its parameters.
      channels: its channels.
      subject: of whose images those of `sources` are used, and no others.
      sources: channels to predict from, which the subject has.
      targets: channels to predict.
      chunk, skip_cache_gib, mesh: see `translate_volume`.
      in_foreground_box: compute only the box around the foreground, see `foreground_box`; else the whole grid.
    """
    inside = foreground(subject, sources, channels.protocols)
    box = foreground_box(inside).slices if in_foreground_box else (slice(None),) * 3
    given = np.full((*inside[box].shape, len(channels.sources)), BACKGROUND, np.float32)
    for channel in sources:
        part = to_network(channels.protocols[channel], subject.images[channel][box])
        given[..., channels.sources.index(channel)] = part
    predictions = translate_volume(
        network,
        params,
        given,
        np.isin(channels.sources, sources),
        [channels.targets.index(target) for target in targets],
        chunk=chunk,
        skip_cache_gib=skip_cache_gib,
        mesh=mesh,
    )
    results = {}
    for target, prediction in zip(targets, predictions, strict=True):
        protocol = channels.protocols[target]
        results[target] = np.full(subject.shape, protocol.background, np.float32)
        results[target][box] = np.where(inside[box], from_network(protocol, prediction), protocol.background)
    return results
