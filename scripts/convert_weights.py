"""Converts published PyTorch weights (.pth) to the .safetensors files that lift_jax reads.

    pip install torch numpy
    python -m scripts.convert_weights --input resnet18-f37072fd.pth --output weights/resnet18.safetensors
    python -m scripts.convert_weights --input resnet_50_23dataset.pth --output weights/medicalnet_resnet50.safetensors

The first file is torchvision's ResNet-18 (https://download.pytorch.org/models/resnet18-f37072fd.pth), the second is of
MedicalNet (https://github.com/Tencent/MedicalNet). lift_jax itself does not need PyTorch. Tensors keep their names, but
for a leading `module.`, and their values, float32.
"""

import argparse
import json
import os
import sys
from pathlib import Path

import numpy as np


def read_state(path: Path) -> dict[str, np.ndarray]:
    """The floating-point tensors of a checkpoint by name; one under the key `state_dict` is found there."""
    import torch

    state = torch.load(path, map_location="cpu", weights_only=True)
    state = state.get("state_dict", state)
    floats = {name: tensor for name, tensor in state.items() if tensor.is_floating_point()}
    return {name.removeprefix("module."): tensor.float().numpy() for name, tensor in floats.items()}


def safetensors_bytes(tensors: dict[str, np.ndarray]) -> bytes:
    """The file: length of the header (8 bytes, little-endian), the header in JSON, then the numbers."""
    header, end = {}, 0
    for name, tensor in tensors.items():
        header[name] = {"dtype": "F32", "shape": tensor.shape, "data_offsets": (end, end + 4 * tensor.size)}
        end += 4 * tensor.size
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)  # so that the numbers begin at a multiple of 8 bytes
    return len(text).to_bytes(8, "little") + text + b"".join(t.astype("<f4").tobytes() for t in tensors.values())


def main() -> None:
    """Reads one file and writes the other, aside first."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--input", type=Path, required=True, help="the .pth file")
    parser.add_argument("--output", type=Path, required=True, help="the .safetensors file")
    arguments = parser.parse_args()
    if not arguments.input.exists():
        sys.exit(f"{arguments.input}: there is no such file; see --help for where to download it")
    try:
        tensors = read_state(arguments.input)
    except ModuleNotFoundError:
        sys.exit("convert_weights.py: PyTorch is not installed; run `pip install torch`")
    arguments.output.parent.mkdir(parents=True, exist_ok=True)
    aside = arguments.output.with_name(arguments.output.name + ".partial")
    aside.write_bytes(safetensors_bytes(tensors))
    os.replace(aside, arguments.output)
    print(f"{arguments.output}: {len(tensors)} tensors, {arguments.output.stat().st_size / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
