"""Residual networks as PyTorch computes and names them, in plain float64 NumPy; and a writer of .safetensors files."""

import json
from itertools import product

import numpy as np


def write_safetensors(path, tensors, formats=None):
    """Writes arrays by name, with format codes other than `F32` where `formats` says so."""
    header, numbers = {}, b""
    for name, tensor in tensors.items():
        raw = np.asarray(tensor, None if name in (formats or {}) else np.float32).tobytes()
        place = [len(numbers), len(numbers) + len(raw)]
        header[name] = {
            "dtype": (formats or {}).get(name, "F32"),
            "shape": list(np.shape(tensor)),
            "data_offsets": place,
        }
        numbers += raw
    text = json.dumps({"__metadata__": {"format": "pt"}, **header}).encode()
    path.write_bytes(len(text).to_bytes(8, "little") + text + numbers)
    return path


class Weights:
    """Random tensors by PyTorch's names; norms have means, variances, gains and shifts of their own."""

    def __init__(self, seed=0):
        self.random, self.tensors = np.random.default_rng(seed), {}

    def conv(self, name, outputs, inputs, *space):
        spread = np.sqrt(2 / (inputs * np.prod(space)))
        self._put(f"{name}.weight", self.random.normal(scale=spread, size=(outputs, inputs, *space)))

    def norm(self, name, features, gain=1.0):
        self._put(f"{name}.weight", gain * self.random.uniform(0.7, 1.3, features))
        self._put(f"{name}.bias", self.random.normal(scale=0.1, size=features))
        self._put(f"{name}.running_mean", self.random.normal(scale=0.1, size=features))
        self._put(f"{name}.running_var", self.random.uniform(0.7, 1.3, features))
        self._put(f"{name}.num_batches_tracked", np.float32(7))

    def _put(self, name, values):
        self.tensors[name] = np.asarray(values, np.float32)


def conv(x, kernel, stride=1, padding=0, dilation=1):
    """`x [N, C, *space]`, `kernel [O, C, *window]`: a sum over the window's places."""
    x = np.pad(np.asarray(x, np.float64), [(0, 0), (0, 0)] + [(padding, padding)] * (x.ndim - 2))
    sides = [(n - dilation * (k - 1) - 1) // stride + 1 for n, k in zip(x.shape[2:], kernel.shape[2:], strict=True)]
    total = 0
    for place in product(*map(range, kernel.shape[2:])):
        view = x[
            (..., *(slice(dilation * p, dilation * p + stride * n, stride) for p, n in zip(place, sides, strict=True)))
        ]
        total = total + np.einsum("nc...,oc->no...", view, np.float64(kernel[(..., *place)]))
    return total


def batch_norm(x, tensors, name):
    weight, bias, mean, variance = (
        np.float64(tensors[f"{name}.{part}"]).reshape(-1, *[1] * (x.ndim - 2))
        for part in ("weight", "bias", "running_mean", "running_var")
    )
    return (x - mean) / np.sqrt(variance + 1e-5) * weight + bias


def relu(x):
    return np.maximum(x, 0)


def max_pool(x):
    """Windows of 3, steps of 2, one place of padding that never wins."""
    space = x.ndim - 2
    x = np.pad(x, [(0, 0), (0, 0)] + [(1, 1)] * space, constant_values=-np.inf)
    sides = [(n - 3) // 2 + 1 for n in x.shape[2:]]
    views = [
        x[(..., *(slice(p, p + 2 * n, 2) for p, n in zip(place, sides, strict=True)))]
        for place in product(range(3), repeat=space)
    ]
    return np.max(views, axis=0)


def resnet18_weights(seed=0, blocks=(2, 2, 2, 2)):
    weights, inputs = Weights(seed), 64
    weights.conv("conv1", 64, 3, 7, 7)
    weights.norm("bn1", 64)
    for layer, (features, count) in enumerate(zip((64, 128, 256, 512), blocks, strict=True), 1):
        for block in range(count):
            name = f"layer{layer}.{block}"
            weights.conv(f"{name}.conv1", features, inputs, 3, 3)
            weights.norm(f"{name}.bn1", features)
            weights.conv(f"{name}.conv2", features, features, 3, 3)
            weights.norm(f"{name}.bn2", features, gain=0.5)
            if inputs != features:
                weights.conv(f"{name}.downsample.0", features, inputs, 1, 1)
                weights.norm(f"{name}.downsample.1", features)
            inputs = features
    weights._put("fc.weight", np.zeros((5, 512)))
    weights._put("fc.bias", np.zeros(5))
    return weights.tensors


def resnet18_maps(tensors, images):
    """Maps `[N, C, h, w]` after the four layers, of gray images `[N, H, W]` in [-1, 1]."""
    mean, deviation = ([[[m]] * 1 for m in v] for v in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
    x = (np.stack([(np.float64(images) + 1) / 2] * 3, axis=1) - np.array(mean)) / np.array(deviation)
    x = max_pool(relu(batch_norm(conv(x, tensors["conv1.weight"], 2, 3), tensors, "bn1")))
    maps = []
    for layer in range(1, 5):
        for block in range(2):
            name, stride = f"layer{layer}.{block}", 2 if layer > 1 and block == 0 else 1
            h = relu(batch_norm(conv(x, tensors[f"{name}.conv1.weight"], stride, 1), tensors, f"{name}.bn1"))
            h = batch_norm(conv(h, tensors[f"{name}.conv2.weight"], 1, 1), tensors, f"{name}.bn2")
            if stride == 2:
                x = conv(x, tensors[f"{name}.downsample.0.weight"], 2)
                x = batch_norm(x, tensors, f"{name}.downsample.1")
            x = relu(x + h)
        maps.append(x)
    return maps


def medicalnet_weights(features, seed=0):
    """Tensors of MedicalNet's ResNet-50 with a first layer of `features`."""
    weights, inputs = Weights(seed), features
    weights.conv("conv1", features, 1, 7, 7, 7)
    weights.norm("bn1", features)
    for layer, count in enumerate((3, 4, 6, 3)):
        width = features * 2**layer
        for block in range(count):
            name = f"layer{layer + 1}.{block}"
            weights.conv(f"{name}.conv1", width, inputs, 1, 1, 1)
            weights.norm(f"{name}.bn1", width)
            weights.conv(f"{name}.conv2", width, width, 3, 3, 3)
            weights.norm(f"{name}.bn2", width)
            weights.conv(f"{name}.conv3", 4 * width, width, 1, 1, 1)
            weights.norm(f"{name}.bn3", 4 * width, gain=0.5)
            if block == 0:
                weights.conv(f"{name}.downsample.0", 4 * width, inputs, 1, 1, 1)
                weights.norm(f"{name}.downsample.1", 4 * width)
            inputs = 4 * width
    weights._put("conv_seg.0.weight", np.zeros((3, 2)))
    return weights.tensors


def bottleneck(x, tensors, name, stride=1, dilation=1):
    h = relu(batch_norm(conv(x, tensors[f"{name}.conv1.weight"]), tensors, f"{name}.bn1"))
    h = conv(h, tensors[f"{name}.conv2.weight"], stride, dilation, dilation)
    h = relu(batch_norm(h, tensors, f"{name}.bn2"))
    h = batch_norm(conv(h, tensors[f"{name}.conv3.weight"]), tensors, f"{name}.bn3")
    if f"{name}.downsample.0.weight" in tensors:
        x = batch_norm(conv(x, tensors[f"{name}.downsample.0.weight"], stride), tensors, f"{name}.downsample.1")
    return relu(x + h)


def medicalnet_features(tensors, volumes):
    """Pooled features `[N, C]` of volumes `[N, X, Y, Z]`."""
    x = conv(np.float64(volumes)[:, None], tensors["conv1.weight"], 2, 3)
    x = max_pool(relu(batch_norm(x, tensors, "bn1")))
    plan = ((3, 1, 1), (4, 2, 1), (6, 1, 2), (3, 1, 4))
    for layer, (count, stride, dilation) in enumerate(plan, 1):
        for block in range(count):
            x = bottleneck(x, tensors, f"layer{layer}.{block}", 1 if block else stride, dilation)
    return x.mean((2, 3, 4))
