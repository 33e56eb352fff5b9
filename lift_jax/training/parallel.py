"""The device mesh: one axis, over which a global batch is divided."""

import functools
from collections.abc import Callable

import jax
import numpy as np
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

from lift_jax.errors import UserError

DATA_AXIS = "data"


def data_mesh() -> Mesh:
    """All devices of all processes in a row."""
    return jax.make_mesh((jax.device_count(),), (DATA_AXIS,))


def compile_step(step: Callable, mesh: Mesh) -> Callable:
    """A step `(state, batch) -> (state, metrics)` over the mesh: state shared and donated, batch divided.

    `step` takes `axis_name`, and returns the same state on every device.
    """
    mapped = jax.shard_map(
        functools.partial(step, axis_name=DATA_AXIS), mesh=mesh, in_specs=(P(), P(DATA_AXIS)), out_specs=(P(), P())
    )
    return jax.jit(mapped, donate_argnums=0)


def replicate(tree, mesh: Mesh):
    """A copy of every array on every device."""
    return jax.device_put(tree, NamedSharding(mesh, P()))


def shard_batch(batch: dict[str, np.ndarray], mesh: Mesh) -> dict[str, jax.Array]:
    """This process's windows as its share of global arrays, divided over the devices along the first axis."""
    sharding = NamedSharding(mesh, P(DATA_AXIS))
    return {name: jax.make_array_from_process_local_data(sharding, array) for name, array in batch.items()}


def check_batch(batch: int, accumulate: int, devices: int, key: str) -> None:
    """Refuses a global batch that does not divide over devices and parts; `key` names it in the message."""
    unit = devices * accumulate
    if batch % unit:
        below, above = batch // unit * unit, (batch // unit + 1) * unit
        nearest = f"{below} or {above}" if below else f"{above}"
        each = f"{devices} device{'s' if devices > 1 else ''}" + (
            f" in {accumulate} parts each" if accumulate > 1 else ""
        )
        raise UserError(f"config.{key}: {batch} windows do not divide over {each}; {nearest} would")
