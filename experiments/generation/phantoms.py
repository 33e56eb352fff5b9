"""Makes phantom volumes of one channel: `python -m experiments.generation.phantoms OUT SIDE SPACING FIRST COUNT`.

Files of float16 `[V, D, H, W]` in [0, 1], T1n with slice gains removed (`targets`). Resumable in blocks of 64 volumes.
"""

import sys
from pathlib import Path

import numpy as np

from lift_jax.data.datasets import BRATS_CHANNELS as CHANNELS
from lift_jax.data.phantom.brain import make_phantom

CHANNEL = list(CHANNELS).index("t1n")


def main(out: str, side: int, spacing: float, first: int, count: int) -> None:
    out = Path(out)
    out.mkdir(parents=True, exist_ok=True)
    for start in range(first, first + count, 64):
        file = out / f"{start:06d}.npy"
        if file.exists():
            continue
        block = [make_phantom(0, i, (side,) * 3, spacing).targets[..., CHANNEL] for i in range(start, start + 64)]
        temporary = file.with_suffix(".part")
        with temporary.open("wb") as stream:
            np.save(stream, np.stack(block).astype(np.float16))
        temporary.rename(file)


def load(folder: str, first: int, count: int) -> np.ndarray:
    """Volumes `[count, D, H, W]` float32 in [0, 1]."""
    blocks = range(first, first + count, 64)
    return np.concatenate([np.load(Path(folder) / f"{b:06d}.npy") for b in blocks])[:count].astype(np.float32)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]), float(sys.argv[3]), int(sys.argv[4]), int(sys.argv[5]))
