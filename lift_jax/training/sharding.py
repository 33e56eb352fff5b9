"""The device mesh: one axis, over which a global batch is divided."""

import functools
from collections.abc import Callable

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from lift_jax.errors import UserError
from lift_jax.training.step import TrainState

DATA_AXIS = "data"

SHARDED, REPLICATED = P(DATA_AXIS), P()
"""Layouts of a batch: its first axis divided over the devices, or all of it on each."""


def data_mesh() -> Mesh:
    """All devices of all processes in a row, those of a process next to each other, as its rows of a batch are."""
    devices = sorted(jax.devices(), key=lambda device: (device.process_index, device.id))
    return Mesh(np.array(devices), (DATA_AXIS,))


def compile_step(step: Callable, mesh: Mesh, layout: P = SHARDED, shardings=None) -> Callable:
    """A step `(state, batch) -> (state, metrics)` over the mesh: state donated, batch `SHARDED` or `REPLICATED`.

    Args:
      step: takes `axis_name`, and `over_devices` where there are shardings; see `training.step.train_step`.
      mesh: the devices.
      layout: of the batch.
      shardings: of the state, from `state_shardings`; None: all of it on every device.
    """
    named = functools.partial(step, axis_name=DATA_AXIS)
    if shardings is None:
        mapped = jax.shard_map(named, mesh=mesh, in_specs=(REPLICATED, layout), out_specs=(REPLICATED, REPLICATED))
        return jax.jit(mapped, donate_argnums=0)
    over_devices = functools.partial(jax.shard_map, mesh=mesh, in_specs=(REPLICATED, layout), out_specs=REPLICATED)
    return jax.jit(
        functools.partial(named, over_devices=over_devices),
        donate_argnums=0,
        out_shardings=(shardings, NamedSharding(mesh, REPLICATED)),
    )


def state_shardings(state: TrainState, mesh: Mesh) -> TrainState:
    """The sharding of each array with optimizer state and average divided over devices (ZeRO-1, arXiv 1910.02054).

    An array is divided along its longest axis of those that divide; without one it is on every device, as are the
    parameters.
    """

    def divided(x):
        axes = [axis for axis, size in enumerate(x.shape) if size % mesh.size == 0 and size > 0]
        longest = max(axes, key=lambda axis: x.shape[axis], default=None)
        return NamedSharding(mesh, P(*(DATA_AXIS if axis == longest else None for axis in range(x.ndim))))

    replicated = jax.tree.map(lambda _: NamedSharding(mesh, REPLICATED), state)
    return replicated.replace(
        optimizer_state=jax.tree.map(divided, state.optimizer_state), ema=jax.tree.map(divided, state.ema)
    )


def lay_out(tree, shardings):
    """Arrays that are the same on all processes as global ones with the given `shardings`."""

    def place(x, sharding):
        if jax.dtypes.issubdtype(x.dtype, jax.dtypes.prng_key):
            return jax.random.wrap_key_data(place(jax.random.key_data(x), sharding), impl=jax.random.key_impl(x))
        x = np.asarray(x)
        return jax.make_array_from_callback(x.shape, sharding, lambda index: x[index])

    return jax.tree.map(place, tree, shardings)


def replicate(tree, mesh: Mesh):
    """A copy of every array on every device; arrays are the same on all processes."""
    return lay_out(tree, jax.tree.map(lambda _: NamedSharding(mesh, REPLICATED), tree))


def compile_gather(mesh: Mesh) -> Callable:
    """A function of a tree of arrays that returns it with all of each array on every device."""
    return jax.jit(lambda tree: tree, out_shardings=NamedSharding(mesh, REPLICATED))


def place_batch(batch: dict, mesh: Mesh, layout: P = SHARDED) -> dict:
    """This process's arrays as its share of global ones, `SHARDED` along the first axis or `REPLICATED`."""
    sharding = NamedSharding(mesh, layout)
    return jax.tree.map(lambda array: jax.make_array_from_process_local_data(sharding, array), batch)


def check_batch(batch: int, accumulate: int, devices: int, key: str) -> None:
    """Refuses a global batch that does not divide over devices and parts; `key` names it in the message."""
    unit = devices * accumulate
    if batch % unit:
        below, above = batch // unit * unit, (batch // unit + 1) * unit
        nearest = f"{below} or {above}" if below else f"{above}"
        each = f"{devices} device{'s' if devices > 1 else ''}"
        each += f" in {accumulate} parts each" if accumulate > 1 else ""
        raise UserError(f"config.{key}: {batch} does not divide over {each}; {nearest} would")
