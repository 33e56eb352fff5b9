"""Published network weights: `.safetensors` files, PyTorch's tensor names, frozen batch norms folded in."""

import dataclasses
import os
from collections.abc import Mapping
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict
from jax.typing import DTypeLike
from safetensors import SafetensorError, deserialize

from lift_jax.errors import UserError

DTYPES: dict[str, DTypeLike] = {
    "F64": "<f8",
    "F32": "<f4",
    "F16": "<f2",
    "BF16": jnp.bfloat16,
    "I64": "<i8",
    "I32": "<i4",
}
"""Formats of network weights; others (8-bit floats, booleans) are refused."""


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
        return {name: np.frombuffer(t["data"], np.dtype(DTYPES[t["dtype"]])).reshape(t["shape"]) for name, t in tensors}
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from None
    except (SafetensorError, ValueError) as error:
        reason = " ".join(str(error).split())
        raise UserError(
            f"{path}: is damaged, or no .safetensors file ({reason}); download or convert it again"
        ) from None


EPSILON = 1e-5
"""What PyTorch's batch norm adds to the variance."""

NORM_TENSORS = ("weight", "bias", "running_mean", "running_var")


@dataclasses.dataclass(frozen=True)
class Source:
    """Where a network's weights come from.

    Attributes:
      name: of the network, for people.
      download: the published file.
      ignored: first words of tensors that the encoder leaves out.
    """

    name: str
    download: str
    ignored: tuple[str, ...]


def load_folded(path: str | os.PathLike, shapes: Mapping, source: Source) -> dict:
    """Parameters of convolutions, each with the frozen batch norm behind it folded in.

    The module names its convolutions as the file does, `_` for `.`: `layer1_0/conv1` is `layer1.0.conv1`, its norm
    `layer1.0.bn1`; the norm of `downsample.0` is `downsample.1`. `norm(w * x) = (w g) * x + (b - m g)` with
    `g = weight / √(running_var + 1e-5)`.

    Args:
      path: a `.safetensors` file; `module.` in front of names is left out.
      shapes: the module's parameters, arrays or their shapes, `{...: {"kernel", "bias"}}`.
      source: what to tell who lacks the file.

    Returns:
      Float32 NumPy arrays in the structure of `shapes`.

    Raises:
      UserError: no such file, a damaged one, or one that is not of this network.
    """
    if not Path(path).exists():
        raise UserError(
            f"{path}: there are no weights of {source.name}; download {source.download}, convert it by "
            f"`python -m scripts.convert_weights --input FILE.pth --output {path}`"
        )
    tensors = {name.removeprefix("module."): tensor for name, tensor in read_safetensors(path).items()}
    kernels = {k[:-1]: leaf.shape for k, leaf in flatten_dict(dict(shapes)).items() if k[-1] == "kernel"}
    expected = _expected({_torch_name(module): shape for module, shape in kernels.items()})
    _check_architecture(path, tensors, expected, source)
    folded = {}
    for module in kernels:
        name = _torch_name(module)
        kernel = np.asarray(tensors[f"{name}.weight"], np.float64)
        gain, shift, mean, variance = (np.asarray(tensors[f"{_norm(name)}.{t}"], np.float64) for t in NORM_TENSORS)
        gain = gain / np.sqrt(variance + EPSILON)
        # PyTorch keeps kernels as [out, in, ...space], Flax as [...space, in, out].
        folded[*module, "kernel"] = np.moveaxis(kernel, (1, 0), (-2, -1)) * gain
        folded[*module, "bias"] = shift - mean * gain
    return jax.tree.map(np.float32, unflatten_dict(folded))


def _torch_name(module: tuple[str, ...]) -> str:
    return ".".join(module).replace("_", ".")


def _norm(conv: str) -> str:
    """The name of the norm behind a convolution."""
    return conv[: -len("0")] + "1" if conv.endswith("downsample.0") else conv.replace("conv", "bn")


def _expected(kernels: Mapping[str, tuple[int, ...]]) -> dict[str, tuple[int, ...]]:
    """Names and shapes of the tensors in the file, from the kernels `[...space, in, out]` by PyTorch's names."""
    shapes: dict[str, tuple[int, ...]] = {}
    for name, (*space, inputs, outputs) in kernels.items():
        shapes[f"{name}.weight"] = (outputs, inputs, *space)
        shapes |= {f"{_norm(name)}.{tensor}": (outputs,) for tensor in NORM_TENSORS}
    return shapes


def _check_architecture(path, tensors: Mapping[str, np.ndarray], expected: Mapping, source: Source) -> None:
    """Raises UserError at the first tensor that is missing, of another shape, not finite, or one too many."""
    remedy = f"give the weights of {source.name} ({source.download})"
    for name, shape in expected.items():
        if name not in tensors:
            raise UserError(f"{path}: tensor {name} of shape {shape} is missing; {remedy}")
        if tensors[name].shape != shape:
            raise UserError(f"{path}: tensor {name} has shape {tensors[name].shape}, not {shape}; {remedy}")
        if not np.isfinite(tensors[name].astype(np.float64)).all():
            raise UserError(f"{path}: tensor {name} holds values that are not finite; {remedy}")
    for name in tensors:
        if name not in expected and not name.startswith(source.ignored) and not name.endswith("num_batches_tracked"):
            raise UserError(f"{path}: tensor {name} is none of {source.name}'s; {remedy}")
