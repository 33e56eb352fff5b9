"""Our slice translator against the same network in PyTorch, eager and compiled, on the same cores in one run.

    python -m venv peer && peer/bin/pip install torch==2.13.0       # nothing else of this project needs PyTorch
    python -m benchmarks.torch_translator --torch_python=peer/bin/python --config configs/brats_missing_mr.py

PyTorch runs in a process of its own, which has none of this project's other needs. The two processes take turns, a
forward pass, then a forward and backward pass of the same slices in float32, and each waits while the other computes.
The numbers of parameters are printed; they are the same.
"""

import json
import statistics
import subprocess
import sys
import time

import jax
import jax.numpy as jnp
import numpy as np
from absl import app, flags
from ml_collections import config_flags

from lift_jax.data.channels import channels_of
from lift_jax.evaluation.cost import hardware
from lift_jax.models.slice_translator import SliceTranslator
from lift_jax.models.volume_translator import volume_translator

CONFIG = config_flags.DEFINE_config_file("config", None, "of the network")
PYTHON = flags.DEFINE_string("torch_python", None, "the interpreter that has PyTorch")
SLICES = flags.DEFINE_integer("slices", 8, "slices of a pass", 1)
HEIGHT = flags.DEFINE_integer("height", 176, "rows", 1)
WIDTH = flags.DEFINE_integer("width", 144, "columns", 1)
ROUNDS = flags.DEFINE_integer("rounds", 3, "timed rounds, after one that compiles", 1)


class Peer:
    """PyTorch in a process of its own, which runs the command of each line and answers with seconds."""

    def __init__(self, python: str, settings: dict):
        command = [python, "-m", "benchmarks.torch_peer", json.dumps(settings)]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.metadata = json.loads(self._process.stdout.readline())

    def seconds(self, task: str) -> tuple[float, float]:
        """Wall and processor seconds of one run of a task: `eager forward`, `compiled backward`, …."""
        self._process.stdin.write(f"{task}\n")
        self._process.stdin.flush()
        return tuple(json.loads(self._process.stdout.readline()))

    def close(self) -> None:
        """Ends the process."""
        self._process.stdin.close()
        self._process.wait()


def own_passes(translator: SliceTranslator, shape: tuple[int, int, int]):
    """The translator's forward pass, and forward and backward by its parameters, on random slices; and their number."""
    slices = shape[0]
    sources = np.random.default_rng(0).uniform(-1, 1, (*shape, translator.source_channels)).astype(np.float32)
    available = np.ones((slices, translator.source_channels), np.float32)
    target = np.tile(np.eye(translator.target_channels, dtype=np.float32)[0], (slices, 1))
    params = jax.jit(translator.init)(jax.random.key(0), sources[:1], available[:1], target[:1])
    arrays = jax.device_put((sources, available, target))
    forward = jax.jit(lambda params: translator.apply(params, *arrays))
    backward = jax.jit(jax.value_and_grad(lambda params: jnp.mean(jnp.abs(translator.apply(params, *arrays)))))
    count = sum(leaf.size for leaf in jax.tree.leaves(params))
    return {"forward": lambda: forward(params), "backward": lambda: backward(params)}, count


def timed(call) -> tuple[float, float]:
    """Wall and processor seconds of a call."""
    began, began_processor = time.perf_counter(), time.process_time()
    jax.block_until_ready(call())
    return time.perf_counter() - began, time.process_time() - began_processor


def main(_):
    """Prints the table."""
    config = CONFIG.value
    config.model.translator.dtype, config.model.translator.remat = "float32", False
    translator = volume_translator(config.model, channels_of(config.data)).translator
    if translator.products or not translator.combine:
        sys.exit("benchmarks.torch_peer has no products of sources, and no network without weights of sources")
    shape = (SLICES.value, HEIGHT.value, WIDTH.value)
    passes, count = own_passes(translator, shape)
    settings = {
        "shape": shape,
        **{name: getattr(translator, name) for name in ("source_channels", "target_channels", "widths", "blocks")},
        **{name: getattr(translator, name) for name in ("space_to_depth", "groups", "combine", "condition_features")},
    }
    peer = Peer(PYTHON.value, settings)
    print(
        f"{'×'.join(map(str, shape))} slices, float32; {count:,} parameters here, {peer.metadata['parameters']:,} there"
    )
    print(f"PyTorch {peer.metadata['version']}, {peer.metadata['threads']} threads; {hardware()}\n")
    kinds = ("eager", "compiled") if peer.metadata["compiles"] else ("eager",)
    print(
        "| per slice | " + " | ".join(["lift_jax", *(f"PyTorch, {kind}" for kind in kinds), "ratio to the best"]) + " |"
    )
    print("|---" * (3 + len(kinds)) + "|")
    for name, label in (("forward", "forward"), ("backward", "forward and backward")):
        rounds = {kind: [] for kind in ("own", *kinds)}
        for _ in range(ROUNDS.value + 1):
            rounds["own"].append(timed(passes[name]))
            for kind in kinds:
                rounds[kind].append(peer.seconds(f"{kind} {name}"))
        for index, unit in enumerate(("ms", "CPU ms")):
            medians = [1e3 * statistics.median(r[index] for r in times[1:]) / shape[0] for times in rounds.values()]
            cells = " | ".join(f"{median:.1f}" for median in medians)
            print(f"| {label}, {unit} | {cells} | {min(medians[1:]) / medians[0]:.2f} |", flush=True)
    peer.close()


if __name__ == "__main__":
    app.run(main)
