"""What a step, or a translation, costs each device and sends: over 1, 2, 4, 8 simulated devices, and on paper beyond.

    taskset -c 0 python -m benchmarks.scaling            # tiny networks, compiled and timed
    python -m benchmarks.scaling --paper                 # native resolution: traced, not timed

A device's share of the batch stays the same as devices are added. Simulated devices share the cores that there are: on
one core, n devices take n times as long at best, and the time says only that nothing worse happens.
"""

import os

DEVICES = 8
if __name__ == "__main__":
    os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count={DEVICES}"
    os.environ.setdefault("NPROC", "32")

import dataclasses  # noqa: E402
import functools  # noqa: E402
import statistics  # noqa: E402
import time  # noqa: E402
from collections.abc import Callable  # noqa: E402

import jax  # noqa: E402
import numpy as np  # noqa: E402
from absl import app, flags  # noqa: E402
from jax.sharding import Mesh, NamedSharding  # noqa: E402
from jax.sharding import PartitionSpec as P  # noqa: E402

from benchmarks.chips import CHIPS, efficiency  # noqa: E402
from benchmarks.collectives import collective_bytes  # noqa: E402
from benchmarks.translation_steps import joint_step, random_slabs  # noqa: E402
from configs import brats_missing_mr, brats_unconditional, phantom_unconditional, quickstart  # noqa: E402
from lift_jax.data.channels import channels_of  # noqa: E402
from lift_jax.evaluation.cost import lowered_passes, translation_flops  # noqa: E402
from lift_jax.inference.translate import SLICE_AXIS, plan_chunks  # noqa: E402
from lift_jax.losses.triplanar import PLANES  # noqa: E402
from lift_jax.models.generation_networks import generation_networks, initial_generation_parameters  # noqa: E402
from lift_jax.models.volume_translator import initial_parameters, volume_translator  # noqa: E402
from lift_jax.training.generation_losses import mapper_loss  # noqa: E402
from lift_jax.training.sharding import DATA_AXIS, REPLICATED, SHARDED, compile_step  # noqa: E402
from lift_jax.training.step import grouped_adamw, initial_state, train_step  # noqa: E402

PAPER = flags.DEFINE_boolean("paper", False, "trace the native configurations instead of timing tiny ones")
STEPS = flags.DEFINE_integer("steps", 5, "timed steps, after one that compiles", 1)


@dataclasses.dataclass(frozen=True)
class Problem:
    """A step to be compiled: the function, and the shapes of state and global batch."""

    step: Callable
    state: object
    batch: dict
    layout: P

    def lower(self, devices: int):
        """The step lowered for so many devices."""
        mesh = Mesh(np.array(jax.devices()[:devices]), (DATA_AXIS,))
        place = functools.partial(jax.tree.map, lambda x, spec: self._shape(x, mesh, spec))
        state = place(self.state, jax.tree.map(lambda _: REPLICATED, self.state))
        batch = place(self.batch, jax.tree.map(lambda _: self.layout, self.batch))
        return compile_step(self.step, mesh, self.layout).lower(state, batch), state, batch

    @staticmethod
    def _shape(x, mesh, spec):
        return jax.ShapeDtypeStruct(x.shape, x.dtype, sharding=NamedSharding(mesh, spec))


def _problem(params, trained, loss, batch, layout) -> Problem:
    optimizer = grouped_adamw({g: 1e-4 for g in trained}, steps=100, warmup_steps=1, weight_decay=0.01, clip_norm=1.0)
    step = functools.partial(train_step, loss_function=loss, optimizer=optimizer, trained=trained, ema_decay=0.999)
    state = jax.eval_shape(lambda p: initial_state(p, optimizer, trained, jax.random.key(0)), params)
    return Problem(step, state, batch, layout)


def translation(config, side: int, devices: int) -> Problem:
    """LiFT-C's joint stage with one slab a device."""
    joint = joint_step(config)
    batch = random_slabs(joint.channels, (devices, config.stage.joint.slices, side, side))
    return Problem(
        joint.step, joint.state, jax.tree.map(lambda x: jax.ShapeDtypeStruct(x.shape, x.dtype), batch), SHARDED
    )


def generation(config, side: int, devices: int, volumes: int = 64) -> Problem:
    """LiFT-U's mapper stage with one generated and `stage.mapper.positives / batch` real volumes a device."""
    networks, stage = generation_networks(config, (side, side, side)), config.stage.mapper
    params = jax.eval_shape(lambda: initial_generation_parameters(networks, config))
    image = jax.ShapeDtypeStruct((volumes * side, side, side, 1), np.float32)
    features = jax.eval_shape(networks.encode, params, image)
    bank = {
        plane: {
            name: jax.ShapeDtypeStruct((volumes, side, *x.shape[1:]), np.dtype(jax.numpy.dtype(config.features.dtype)))
            for name, x in features.items()
        }
        for plane in PLANES
    }
    loss = mapper_loss(
        networks,
        shape=(side, side, side),
        batch=devices,
        positives=devices * stage.positives // stage.batch,
        positions=stage.positions,
        chunk=side * DEVICES,  # no loop, of which only one turn would be counted
        planes=config.loss.planes,
        particles=config.loss.particles,
        temperatures=tuple(config.loss.temperatures),
        field=config.loss.field,
        axis_name=DATA_AXIS,
    )
    return _problem(params, ("mapper",), loss, bank, REPLICATED)


def seconds_per_step(compiled, state, batch, steps: int) -> float:
    """Median seconds of a compiled step on arrays of small numbers."""
    rng = np.random.default_rng(0)

    def fill(x):
        if jax.dtypes.issubdtype(x.dtype, jax.dtypes.prng_key):
            return jax.device_put(jax.random.key(0), x.sharding)
        return jax.device_put(rng.normal(scale=0.05, size=x.shape).astype(x.dtype), x.sharding)

    state, batch, times = jax.tree.map(fill, state), jax.tree.map(fill, batch), []
    for _ in range(steps + 1):
        began = time.perf_counter()
        state, _ = jax.block_until_ready(compiled(state, batch))
        times.append(time.perf_counter() - began)
    return statistics.median(times[1:])


def measure(make: Callable[[int], Problem]) -> None:
    """Prints a row of the table for each number of devices."""
    for devices in (1, 2, 4, 8):
        lowered, state, batch = make(devices).lower(devices)
        compiled = lowered.compile()
        sent = collective_bytes(compiled.as_text())
        traffic = ", ".join(f"{count} {kind} {size / 2**10:.1f} KiB" for kind, (count, size) in sorted(sent.items()))
        gigaflops = compiled.cost_analysis()["flops"] / 1e9
        seconds = seconds_per_step(compiled, state, batch, STEPS.value)
        print(f"| {devices} | {gigaflops:.3f} | {traffic or 'nothing'} | {seconds:.3f} |", flush=True)


def measure_translation(config, shape: tuple[int, int, int, int]) -> None:
    """Prints a row for each number of devices over which the slices of one volume are divided."""
    network = volume_translator(config.model, channels_of(config.data))
    options = {"chunk": 4, "skip_cache_gib": config.inference.skip_cache_gib}
    params = jax.eval_shape(lambda key: initial_parameters(network, key), jax.random.key(0))
    alone = translation_flops(network, params, shape, **options)
    for devices in (1, 2, 4, 8):
        mesh = Mesh(np.array(jax.devices()[:devices]), (SLICE_AXIS,))
        flops = translation_flops(network, params, shape, mesh=mesh, **options)
        slices, _ = plan_chunks(network, params, shape, devices=devices, **options)
        chunks = -(-shape[0] // (slices * devices))
        sent = [
            collective_bytes(part.compile().as_text()) for part in lowered_passes(network, params, shape, slices, mesh)
        ]
        size = chunks * sum(size for part in sent for _, size in part.values())
        print(f"| {devices} | {flops / 1e9:.3f} | {alone / flops / devices:.1%} | {size / 2**10:.1f} KiB |", flush=True)


def estimate(make: Callable[[int], Problem]) -> None:
    """Prints what a step of a native configuration costs and sends, and its efficiency on paper."""
    lowered, _, _ = make(DEVICES).lower(DEVICES)
    sent = collective_bytes(lowered.as_text("hlo"))
    flops = lowered.cost_analysis()["flops"]
    traffic = ", ".join(f"{kind} {size / 2**20:.2f} MiB" for kind, (_, size) in sorted(sent.items()))
    print(f"{flops / 1e12:.2f} TFLOP a device and step; over {DEVICES} devices {traffic}")
    for chips in CHIPS:
        print(f"  {chips.name}: {100 * efficiency(chips, flops, sent, DEVICES):.1f} %", flush=True)


def main(_):
    """Prints both tables."""
    if PAPER.value:
        print("LiFT-C, configs/brats_missing_mr.py, one slab of 48 slices, 240×240, a device:")
        estimate(functools.partial(translation, brats_missing_mr.get_config(), 240))
        print("LiFT-U, mapper of configs/brats_unconditional.py, one volume of 128³ a device:")
        estimate(functools.partial(generation, brats_unconditional.get_config(), 128))
        return
    header = "| devices | GFLOP a device | collectives and the bytes of their results | s a step |\n|---|---|---|---|"
    print(f"LiFT-C, joint stage of configs/quickstart.py:tiny, one slab of 16 slices, 32×32, a device\n\n{header}")
    measure(functools.partial(translation, quickstart.get_config("tiny"), 32))
    print(f"\nLiFT-U, mapper of configs/phantom_unconditional.py:tiny, one volume of 32³ a device\n\n{header}")
    measure(functools.partial(generation, phantom_unconditional.get_config("tiny"), 32))
    print("\nLiFT-C of configs/quickstart.py:tiny, translating 64 slices of 32×32\n")
    print("| devices | GFLOP a device | of them needed | results of collectives, all chunks |\n|---|---|---|---|")
    measure_translation(quickstart.get_config("tiny"), (64, 32, 32, 4))


if __name__ == "__main__":
    app.run(main)
