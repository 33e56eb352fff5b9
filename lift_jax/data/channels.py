"""Which channels a run reads and translates: their intensity protocols, sources and targets."""

import dataclasses
import re
from collections.abc import Iterable, Mapping

from ml_collections import ConfigDict

from lift_jax.data.datasets import DATASETS
from lift_jax.data.intensity import PROTOCOLS, IntensityProtocol, get_protocol
from lift_jax.errors import UserError

CHANNEL_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_+.-]*")
"""Channels name files of the cache and keys of reports."""


@dataclasses.dataclass(frozen=True)
class Channels:
    """The channels of a translation, in the order of the network's axes.

    Attributes:
      sources: channels that may be given.
      targets: channels that may be predicted; a channel can be both.
      protocols: channel to intensity protocol, of all of them.
    """

    sources: tuple[str, ...]
    targets: tuple[str, ...]
    protocols: Mapping[str, IntensityProtocol]

    @property
    def same_unit(self) -> bool:
        """Whether all channels have one unit, so that a target can be a weighted sum of sources."""
        return len({protocol.unit for protocol in self.protocols.values()}) == 1

    def sources_of(self, target: str, present: Iterable[str]) -> tuple[str, ...]:
        """Of the channels that are present, those that `target` can be predicted from, in order."""
        present = set(present)
        return tuple(channel for channel in self.sources if channel in present and channel != target)

    def predictable(self, present: Iterable[str]) -> tuple[str, ...]:
        """Of the targets that are present, those that another present channel can predict: what training asks for."""
        present = set(present)
        return tuple(target for target in self.targets if target in present and self.sources_of(target, present))


def channels_of(data: ConfigDict) -> Channels:
    """The channels of a data section of a translation.

    Raises:
      UserError: with one line for each channel that cannot be used; or there is nothing to translate.
    """
    protocols = protocols_of(data)
    sources, targets = tuple(data.sources) or tuple(protocols), tuple(data.targets) or tuple(protocols)
    for target in targets:
        if not any(source != target for source in sources):
            raise UserError(f"config.data.sources: {target} has no other channel to be predicted from; add one")
    return Channels(sources, targets, protocols)


def configured_channels(data: ConfigDict) -> dict[str, str]:
    """Channel to the name of its protocol; of a known data set all its channels, where none is configured."""
    configured = {channel: data.channels[channel] for channel in data.channels}
    return configured or dict(DATASETS[data.dataset].channels if data.dataset in DATASETS else {})


def protocols_of(data: ConfigDict) -> dict[str, IntensityProtocol]:
    """The channels of a configured data set and their protocols: `data.sources` in order, then further `data.targets`.

    Raises:
      UserError: with one line for each channel that cannot be used.
    """
    channels = configured_channels(data)
    problems = []
    if data.dataset not in DATASETS:
        problems.append(f"config.data.dataset: {data.dataset!r} is none of {', '.join(DATASETS)}")
    elif not channels:
        problems.append("config.data.channels: not set; give each channel its protocol, such as {'T1': 'mr_quantile'}")
    known = DATASETS[data.dataset].channels if data.dataset in DATASETS else {}
    for channel, name in channels.items():
        key = f"config.data.channels.{channel}"
        if not CHANNEL_NAME.fullmatch(channel):
            problems.append(f"{key}: name channels by letters, digits and _+.-")
        if name not in PROTOCOLS:
            wrong = "has no protocol" if not name else f"{name!r} is no protocol"
            problems.append(f"{key}: {wrong}; give one of {', '.join(PROTOCOLS)}")
        if known and channel not in known:
            problems.append(f"{key}: the data set {data.dataset} has only the channels {', '.join(known)}")
    for key in ("sources", "targets"):
        for channel in data[key]:
            if channels and channel not in channels:
                problems.append(f"config.data.{key}: {channel!r} is no channel; give some of {', '.join(channels)}")
    low, high = data.hu_range
    if not low < high:
        problems.append(f"config.data.hu_range: {tuple(data.hu_range)} must rise, such as (-1024, 3000)")
    if problems:
        raise UserError("\n".join(problems))
    usual = [*(channel for channel in known if channel in channels), *sorted(set(channels) - set(known))]
    names = dict.fromkeys((*(data.sources or usual), *(data.targets or usual)))
    return {channel: get_protocol(channels[channel], (float(low), float(high))) for channel in names}
