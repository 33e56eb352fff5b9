"""What a compiled program sends between devices, read out of its text."""

import math
import re

COLLECTIVES = ("all-reduce", "all-gather", "reduce-scatter", "collective-permute", "all-to-all")
BYTES = {"pred": 1, "s8": 1, "u8": 1, "bf16": 2, "f16": 2, "f32": 4, "s32": 4, "u32": 4, "f64": 8, "s64": 8, "u64": 8}


def collective_bytes(hlo: str) -> dict[str, tuple[int, int]]:
    """How many collectives of each type a program in HLO's text has, and the bytes of their results on a device.

    The body of a loop counts once.
    """
    found: dict[str, tuple[int, int]] = {}
    for shapes, kind in re.findall(rf"= (.+?) ({'|'.join(COLLECTIVES)})(?:-start)?\(", hlo):
        size = 0
        for dtype, sides in re.findall(r"(\w+)\[([\d,]*)\]", shapes):
            size += BYTES[dtype] * math.prod(int(side) for side in sides.split(",") if side)
        count, total = found.get(kind, (0, 0))
        found[kind] = count + 1, total + size
    return found
