"""When each part of a work through subjects was busy, and how long it was idle."""

import dataclasses
import time
from typing import Any


@dataclasses.dataclass
class Timed:
    """A `SubjectWork` that notes when each part of another one was busy, `(part, began, ended)`."""

    work: Any
    busy: list[tuple[str, float, float]] = dataclasses.field(default_factory=list)

    def __len__(self) -> int:
        """How many subjects there are."""
        return len(self.work)

    def __getattr__(self, name):
        method = getattr(self.work, name)
        if name not in ("read", "predict", "write"):
            return method

        def noted(*arguments):
            began = time.perf_counter()
            try:
                return method(*arguments)
            finally:
                self.busy.append((name, began, time.perf_counter()))

        return noted


def idle_shares(busy: list[tuple[str, float, float]]) -> dict[str, float]:
    """Of the time from the first beginning to the last end, the share in which each part did nothing.

    Args:
      busy: `(part, began, ended)`; a part does one thing at a time.
    """
    whole = max(ended for *_, ended in busy) - min(began for _, began, _ in busy)
    parts = dict.fromkeys(part for part, *_ in busy)
    return {part: 1 - sum(ended - began for name, began, ended in busy if name == part) / whole for part in parts}
