"""Efficiency on paper: a step computes, then communicates, and neither waits for anything else."""

import dataclasses
from collections.abc import Mapping


@dataclasses.dataclass(frozen=True)
class Chips:
    """Some accelerators of one kind, all connected.

    Attributes:
      name: of the kind.
      count: how many.
      flops: operations a second of one, as a training step reaches them.
      bandwidth: bytes a second that one sends while it receives as many.
      latency: seconds that a collective takes whatever its size.
    """

    name: str
    count: int
    flops: float
    bandwidth: float
    latency: float


CHIPS = (
    # H100 SXM data sheet: 989 TFLOP/s dense bfloat16, NVLink 900 GB/s both ways together. NCCL over 8: tens of µs.
    Chips("8×H100", 8, 0.4 * 989e12, 0.8 * 450e9, 30e-6),
    # TPU v5e data sheet: 197 TFLOP/s bfloat16, ICI 1.6 Tbit/s both ways together. A 16×16 torus: 60 hops of 1 µs.
    Chips("256×TPU v5e", 256, 0.4 * 197e12, 0.8 * 100e9, 60e-6),
)
"""40 % of the peak in convolutions and 80 % of the links' rate are assumptions, not measurements."""

COLLECTIVES_LEFT = 8
"""Collectives of a step after XLA has combined the small ones; an assumption."""


def efficiency(chips: Chips, flops: float, sent: Mapping[str, tuple[int, int]], devices: int) -> float:
    """Time of a step on one chip over its time on all, each chip with the same share of a batch that grows with them.

    Rings: of n chips each sends 2 (n - 1) / n of what is reduced and (n - 1) / n of what is gathered.

    Args:
      chips: the hardware.
      flops: operations of a device and step.
      sent: `{collective: (count, bytes of the results)}` as found over `devices`; what is gathered grows with devices.
      devices: over how many that was.
    """
    n = chips.count
    reduced = sum(size for kind, (_, size) in sent.items() if kind == "all-reduce")
    gathered = sum(size for kind, (_, size) in sent.items() if kind != "all-reduce") * n / devices
    seconds = (2 * reduced + gathered) * (n - 1) / n / chips.bandwidth + COLLECTIVES_LEFT * chips.latency
    compute = flops / chips.flops
    return compute / (compute + seconds)
