"""Reading of `.safetensors` files, with errors that name the file."""

import os
from pathlib import Path

import jax.numpy as jnp
import numpy as np
from safetensors import SafetensorError, deserialize

from lift_jax.errors import UserError

DTYPES = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "BF16": jnp.bfloat16, "I64": "<i8", "I32": "<i4"}
"""The formats that network weights come in; others (8-bit floats, booleans) are refused."""


def read_safetensors(path: str | os.PathLike) -> dict[str, np.ndarray]:
    """All tensors of a file by name, read-only arrays in the formats that they are stored in.

    Raises:
      UserError: if the file cannot be read, or is not what the format says.
    """
    try:
        tensors = deserialize(Path(path).read_bytes())
        for name, tensor in tensors:
            if tensor["dtype"] not in DTYPES:
                raise ValueError(f"{name} is stored as {tensor['dtype']}")
        return {name: np.frombuffer(t["data"], DTYPES[t["dtype"]]).reshape(t["shape"]) for name, t in tensors}
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from None
    except (SafetensorError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise UserError(
            f"{path}: is damaged, or no .safetensors file ({reason}); download or convert it again"
        ) from None
