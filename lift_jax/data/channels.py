"""Which channels a run translates: its sources, its targets, and their intensity protocols."""

import dataclasses
from collections.abc import Iterable, Mapping

from ml_collections import ConfigDict

from lift_jax.data.intensity import IntensityProtocol
from lift_jax.data.sources import protocols_of
from lift_jax.errors import UserError


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
