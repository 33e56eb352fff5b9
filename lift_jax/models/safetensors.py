"""Reading of `.safetensors` files: a length, a JSON header, then raw little-endian numbers."""

import json
import os
from pathlib import Path

import jax.numpy as jnp
import numpy as np

from lift_jax.errors import UserError

LENGTH_BYTES = 8
"""Bytes of the unsigned little-endian number in front, the length of the header."""

DTYPES = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "BF16": jnp.bfloat16, "I64": "<i8", "I32": "<i4"}
"""The formats that network weights come in; others (8-bit floats, booleans) are refused."""


def read_safetensors(path: str | os.PathLike) -> dict[str, np.ndarray]:
    """All tensors of a file by name, read-only arrays in the formats that they are stored in.

    Source: the format's description at huggingface/safetensors. Tensors must lie one after the other and fill the file,
    as it demands.

    Raises:
      UserError: if the file cannot be read, or is not what the format says.
    """
    try:
        content = Path(path).read_bytes()
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from None
    start = LENGTH_BYTES + int.from_bytes(content[:LENGTH_BYTES], "little")
    try:
        if len(content) < LENGTH_BYTES or start > len(content):
            raise ValueError("its header is cut off")
        header = json.loads(content[LENGTH_BYTES:start])
        header.pop("__metadata__", None)
        entries = {name: _entry(entry) for name, entry in header.items()}
        _require_gapless([span for _, _, span in entries.values()], len(content) - start)
        return {
            name: np.frombuffer(content, dtype, int(np.prod(shape)), start + begin).reshape(shape)
            for name, (dtype, shape, (begin, _)) in entries.items()
        }
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise UserError(
            f"{path}: is damaged, or no .safetensors file ({error}); download or convert it again"
        ) from None


def _entry(entry: dict) -> tuple[np.dtype, tuple[int, ...], tuple[int, int]]:
    """Format, shape and place of a tensor; raises ValueError, TypeError or KeyError if they do not agree."""
    if entry["dtype"] not in DTYPES:
        raise ValueError(f"a tensor is stored as {entry['dtype']}")
    dtype, shape, (begin, end) = np.dtype(DTYPES[entry["dtype"]]), tuple(entry["shape"]), entry["data_offsets"]
    if not all(type(number) is int and number >= 0 for number in (*shape, begin, end)):
        raise ValueError("a shape or place is no whole number")
    if end - begin != int(np.prod(shape, dtype=object)) * dtype.itemsize:
        raise ValueError(f"a tensor of shape {shape} takes {end - begin} bytes")
    return dtype, shape, (begin, end)


def _require_gapless(spans: list[tuple[int, int]], size: int) -> None:
    spans = sorted(spans)
    begins, ends = [begin for begin, _ in spans], [end for _, end in spans]
    if [*begins, size] != [0, *ends]:
        raise ValueError(f"its tensors do not fill the {size} bytes behind the header")
