"""Where a training step of LiFT-C spends its time: encoder, mixer, decoder, each loss term, optimizer and input.

    python -m benchmarks.training_step --config configs/brats_missing_mr.py --config.model.translator.dtype=float32
    python -m benchmarks.training_step --config … --height=240 --width=240     # whole slices in place of a box

Each part is compiled by itself and differentiated by all that reaches it, on random arrays, so the parts add up to the
step but for what XLA fuses across them. Times are processor seconds of this process (user and system), which other
programs on the machine disturb less than wall time; wall time stands beside them. On an accelerator only wall time says
anything. Input is a slab out of a cached subject, made by one thread.
"""

import os

from absl import app, flags
from ml_collections import config_flags

from benchmarks.step_parts import input_cost, measure, parts_of, step_cost
from lift_jax.evaluation.cost import hardware, peak_memory

CONFIG = config_flags.DEFINE_config_file("config", None, "whose stage joint is measured")
HEIGHT = flags.DEFINE_integer("height", 176, "rows of the slices", 1)
WIDTH = flags.DEFINE_integer("width", 144, "columns", 1)
REPEATS = flags.DEFINE_integer("repeats", 3, "timed runs of each part, after one that compiles", 1)


def main(_):
    """Prints a table in Markdown."""
    config, repeats = CONFIG.value, REPEATS.value
    stage = config.stage.joint
    shape = (stage.batch, stage.slices, HEIGHT.value, WIDTH.value)
    whole = step_cost(config, shape, repeats)
    rows = {"input": input_cost(config, shape, repeats)}
    rows |= {
        name: measure(function, *arrays, repeats=repeats)
        for name, (function, arrays) in parts_of(config, shape).items()
    }
    print(f"slabs of {'×'.join(map(str, shape))}, {config.model.translator.dtype}; {hardware()}")
    print(f"load {os.getloadavg()[0]:.1f}, peak {peak_memory():.2f} GiB\n")
    print("| part, forward and backward | CPU s | of the step | s | GFLOP |\n|---|---|---|---|---|")
    for name, cost in (rows | {"the step": whole}).items():
        share = cost.processor / whole.processor
        print(f"| {name} | {cost.processor:.3f} | {share:.1%} | {cost.wall:.3f} | {cost.flops / 1e9:.1f} |", flush=True)


if __name__ == "__main__":
    app.run(main)
