"""The compiled parts of a translation: encode a chunk of slices, mix the whole depth, decode a chunk.

Over a mesh, each device has an equal share of a chunk's slices. What was pooled of them is gathered; nothing else is
sent between devices.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np
from jax.sharding import Mesh, NamedSharding
from jax.sharding import PartitionSpec as P

SLICE_AXIS = "slices"

SHARDED, REPLICATED = P(SLICE_AXIS), P()
"""How arrays lie on a mesh: slices, the first axis, divided over the devices, or all of an array on each."""


def slice_mesh() -> Mesh | None:
    """The devices of this process in a row, over which slices are divided; None where there is only one."""
    devices = jax.local_devices()
    return Mesh(np.array(devices), (SLICE_AXIS,)) if len(devices) > 1 else None


def place(tree, mesh: Mesh | None, layout: P = REPLICATED):
    """Arrays on the devices of a mesh as `layout` says, or on the one device; what lies there is not copied."""
    return jax.device_put(tree, None if mesh is None else NamedSharding(mesh, layout))


@functools.partial(jax.jit, static_argnums=0, static_argnames="mesh")
def encode_chunk(network, params, sources, available, mesh=None):
    """A chunk `[n, H, W, C]` to `(skips, bottleneck, pooled [n, g, g, F])`, the last on every device."""

    def encode(params, sources, available):
        repeated = jnp.broadcast_to(available, (sources.shape[0], *available.shape))
        variables = {"params": params}
        skips, bottleneck = network.apply(variables, sources, repeated, method="encode")
        return skips, bottleneck, network.apply(variables, skips, bottleneck, method="pool")

    skips, bottleneck, pooled = _over_slices(encode, mesh, (REPLICATED, SHARDED, REPLICATED))(
        params, sources, available
    )
    if mesh is not None:
        pooled = jax.lax.with_sharding_constraint(pooled, NamedSharding(mesh, REPLICATED))
    return skips, bottleneck, pooled


@functools.partial(jax.jit, static_argnums=0)
def mix_slices(network, params, pooled, depth, available, target):
    """What was pooled `[D, g, g, F]` to contexts `[D, g, g, K]` for target number `target`, or None without a mixer."""
    onehot = jax.nn.one_hot(target, network.translator.target_channels)
    inputs = (x[None] for x in (pooled, depth, available, onehot))
    context = network.apply({"params": params}, *inputs, method="mix")
    return None if context is None else context[0]


@functools.partial(jax.jit, static_argnums=0, static_argnames="mesh")
def decode_chunk(network, params, skips, bottleneck, available, target, context, mesh=None):
    """Features of a chunk to its slices, `[n, H, W]` float32; `target` is its number among the targets."""

    def decode(params, skips, bottleneck, available, target, context):
        n = bottleneck.shape[0]
        onehot = jax.nn.one_hot(jnp.full(n, target), network.translator.target_channels)
        repeated = jnp.broadcast_to(available, (n, *available.shape))
        return network.apply({"params": params}, skips, bottleneck, repeated, onehot, context, method="decode")

    layouts = (REPLICATED, SHARDED, SHARDED, REPLICATED, REPLICATED, SHARDED)
    return _over_slices(decode, mesh, layouts)(params, skips, bottleneck, available, target, context)


def _over_slices(function, mesh: Mesh | None, layouts: tuple[P, ...]):
    """A function of slices that know nothing of each other, each device doing its own."""
    return function if mesh is None else jax.shard_map(function, mesh=mesh, in_specs=layouts, out_specs=SHARDED)
