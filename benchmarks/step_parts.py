"""The parts of LiFT-C's training step, each compiled and timed by itself, and the whole step as training runs it."""

import functools
import statistics
import tempfile
import time
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict

from benchmarks.balls import Balls
from benchmarks.translation_steps import fill_state, joint_step, random_slabs
from lift_jax.data.cache import cache_subjects
from lift_jax.data.slabs import RandomSlab
from lift_jax.losses.paired import LossWeights, paired_terms
from lift_jax.training.sharding import compile_step, data_mesh, place_batch, replicate
from lift_jax.training.translation import loss_weights


class Cost(NamedTuple):
    """Medians over some runs of a compiled function: seconds on the clock and of the processors, and its operations."""

    wall: float
    processor: float
    flops: float


def measure(function: Callable, *arrays, repeats: int) -> Cost:
    """The cost of a compiled function whose result is waited for."""
    compiled = jax.jit(function).lower(*arrays).compile()
    return Cost(*time_calls(lambda: compiled(*arrays), repeats), (compiled.cost_analysis() or {}).get("flops", 0.0))


def time_calls(call: Callable[[], object], repeats: int) -> tuple[float, float]:
    """Median seconds of a call on the clock and of this process's processors, after one that is not counted."""
    walls, processors = [], []
    for _ in range(repeats + 1):
        began, began_processor = time.perf_counter(), time.process_time()
        jax.block_until_ready(call())
        walls.append(time.perf_counter() - began)
        processors.append(time.process_time() - began_processor)
    return statistics.median(walls[1:]), statistics.median(processors[1:])


def by_inputs(function: Callable, *differentiated: int) -> Callable:
    """The gradient of the sum of squares of all that `function` returns, by some of its arguments."""

    def scalar(*arguments):
        return sum(jnp.sum(x.astype(jnp.float32) ** 2) for x in jax.tree.leaves(function(*arguments)))

    return jax.grad(scalar, differentiated)


def parts_of(config: ConfigDict, shape: tuple[int, int, int, int]) -> dict[str, tuple[Callable, tuple]]:
    """Name of a part to its forward and backward pass and what that is given, for slabs `(B, T, H, W)`."""
    joint, weights = joint_step(config), loss_weights(config.loss)
    network, batch = joint.network, random_slabs(joint.channels, shape)
    params = fill_state(joint).params
    slices = shape[0] * shape[1]
    given = jnp.repeat(batch["available"], shape[1], axis=0)
    target = jnp.repeat(batch["target_onehot"], shape[1], axis=0)
    sources = batch["sources"].reshape(slices, *batch["sources"].shape[2:])

    def apply(method):
        return lambda params, *inputs: network.apply({"params": params}, *inputs, method=method)

    skips, bottleneck = jax.jit(apply("encode"))(params, sources, given)
    parts = {"encoder": (by_inputs(lambda p: apply("encode")(p, sources, given), 0), (params,))}
    context = None
    if network.mixer_kind != "none":

        def mix(params, skips, bottleneck):
            pooled = network.apply({"params": params}, skips, bottleneck, method="pool")
            pooled = pooled.reshape(*shape[:2], *pooled.shape[1:])
            inputs = (pooled, batch["depth"], batch["available"], batch["target_onehot"])
            context = network.apply({"params": params}, *inputs, method="mix")
            return context.reshape(slices, *context.shape[2:])

        parts["mixer"] = (by_inputs(mix, 0, 1, 2), (params, skips, bottleneck))
        context = jax.jit(mix)(params, skips, bottleneck)
    decode = functools.partial(_decode, network, given, target)
    parts["decoder"] = (by_inputs(decode, 0, 1, 2, 3), (params, skips, bottleneck, context))
    prediction = jnp.asarray(np.random.default_rng(1).uniform(-1, 1, shape), jnp.float32)
    terms = ("pixel", "structure", "similarity", "through_plane")
    for name in terms:
        if getattr(weights, name) > 0:
            only = LossWeights(**{**dict.fromkeys(terms, 0.0), name: 1.0})
            parts[f"loss: {name}"] = (jax.grad(functools.partial(_term, batch, only)), (prediction,))
    parts["optimizer"] = (functools.partial(_optimize, joint), (fill_state(joint),))
    return parts


def _decode(network, given, target, params, skips, bottleneck, context):
    return network.apply({"params": params}, skips, bottleneck, given, target, context, method="decode")


def _term(batch, weights, prediction):
    terms = paired_terms(
        prediction,
        batch["target_image"],
        weights,
        slice_weights=batch["slice_weights"],
        delta_z_weights=batch["delta_z_weights"],
    )
    return sum(terms.values())


def _optimize(joint, state):
    """The step, with a loss that costs nothing."""

    def loss(params, batch, key):
        del batch, key
        return sum(jnp.sum(leaf) for leaf in jax.tree.leaves(params)), {}

    return joint.step.func(state, {}, **joint.step.keywords | {"loss_function": loss})


def input_cost(config: ConfigDict, shape: tuple[int, int, int, int], repeats: int) -> Cost:
    """Of making a batch of slabs out of cached subjects of the slabs' own size."""
    joint, (batch, slices, *size) = joint_step(config), shape
    with tempfile.TemporaryDirectory() as folder:
        grid = (max(slices, 144), *size)
        subject = cache_subjects(Balls(("ball",), joint.channels.protocols, grid), folder, threads=1)[0]
        data = config.data
        slab = RandomSlab(slices, tuple(size), joint.channels, source_drop=data.source_drop, gamma=data.gamma)
        rng = np.random.default_rng(0)

        def make():
            slabs = [slab.random_map(subject, rng) for _ in range(batch)]
            return {name: np.stack([part[name] for part in slabs]) for name in slabs[0]}

        return Cost(*time_calls(make, repeats), 0.0)


def step_cost(config: ConfigDict, shape: tuple[int, int, int, int], repeats: int) -> Cost:
    """Of the whole step as training runs it; its first argument is donated, so states follow each other."""
    joint, mesh = joint_step(config), data_mesh()
    batch = place_batch(random_slabs(joint.channels, shape), mesh)
    state = replicate(fill_state(joint), mesh)
    step = compile_step(joint.step, mesh).lower(state, batch).compile()

    def call():
        nonlocal state
        state, metrics = step(state, batch)
        return metrics

    return Cost(*time_calls(call, repeats), (step.cost_analysis() or {}).get("flops", 0.0))
