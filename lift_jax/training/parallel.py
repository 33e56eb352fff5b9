"""The device mesh: one axis, over which a global batch is divided."""

import functools
from collections.abc import Callable

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from lift_jax.errors import UserError

DATA_AXIS = "data"

DIVIDED, WHOLE = P(DATA_AXIS), P()
"""How a batch lies on the devices: its first axis divided over them, or all of it on each."""


def data_mesh() -> Mesh:
    """All devices of all processes in a row, those of a process next to each other, as its rows of a batch are."""
    devices = sorted(jax.devices(), key=lambda device: (device.process_index, device.id))
    return Mesh(np.array(devices), (DATA_AXIS,))


def compile_step(step: Callable, mesh: Mesh, layout: P = DIVIDED) -> Callable:
    """A step `(state, batch) -> (state, metrics)` over the mesh: state shared and donated, batch `DIVIDED` or `WHOLE`.

    `step` takes `axis_name`, and returns the same state on every device.
    """
    mapped = jax.shard_map(
        functools.partial(step, axis_name=DATA_AXIS), mesh=mesh, in_specs=(WHOLE, layout), out_specs=(WHOLE, WHOLE)
    )
    return jax.jit(mapped, donate_argnums=0)


def replicate(tree, mesh: Mesh):
    """A copy of every array, the same on all processes, on every device."""
    sharding = NamedSharding(mesh, WHOLE)

    def place(x):
        if jax.dtypes.issubdtype(x.dtype, jax.dtypes.prng_key):
            return jax.random.wrap_key_data(place(jax.random.key_data(x)), impl=jax.random.key_impl(x))
        return jax.make_array_from_process_local_data(sharding, np.asarray(x))

    return jax.tree.map(place, tree)


def place_batch(batch: dict, mesh: Mesh, layout: P = DIVIDED) -> dict:
    """This process's arrays as its share of global ones, `DIVIDED` along the first axis or `WHOLE`."""
    sharding = NamedSharding(mesh, layout)
    return jax.tree.map(lambda array: jax.make_array_from_process_local_data(sharding, array), batch)


def check_batch(batch: int, accumulate: int, devices: int, key: str) -> None:
    """Refuses a global batch that does not divide over devices and parts; `key` names it in the message."""
    unit = devices * accumulate
    if batch % unit:
        below, above = batch // unit * unit, (batch // unit + 1) * unit
        nearest = f"{below} or {above}" if below else f"{above}"
        each = f"{devices} device{'s' if devices > 1 else ''}" + (
            f" in {accumulate} parts each" if accumulate > 1 else ""
        )
        raise UserError(f"config.{key}: {batch} does not divide over {each}; {nearest} would")
