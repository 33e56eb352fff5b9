"""One training step, on one device or as one of many."""

from collections.abc import Callable

import jax
import jax.numpy as jnp
import optax
from flax import struct

LossFunction = Callable[[dict, dict, jax.Array], tuple[jax.Array, dict[str, jax.Array]]]
"""`(params, batch, key) -> (loss, terms)`: the mean loss of a batch of slabs, and named scalars to log."""


class TrainState(struct.PyTreeNode):
    """All that a step changes.

    Attributes:
      step: int32, steps taken, and skipped.
      params: `{group: parameters}`, float32.
      optimizer_state: of the trained groups.
      ema: exponential moving average of `params`, which inference uses.
      key: typed random key of the stage; each step folds its number into it.
      skipped: int32, how many of the steps were skipped.
    """

    step: jax.Array
    params: dict
    optimizer_state: optax.OptState
    ema: dict
    key: jax.Array
    skipped: jax.Array


def initial_state(params: dict, optimizer: optax.GradientTransformation, trained: tuple[str, ...], key) -> TrainState:
    """The state before the first step of a stage; the average starts at the parameters."""
    optimizer_state = optimizer.init({group: params[group] for group in trained})
    ema, step, skipped = jax.tree.map(jnp.copy, params), jnp.zeros((), jnp.int32), jnp.zeros((), jnp.int32)
    return TrainState(step, params, optimizer_state, ema, key, skipped)


def train_step(
    state: TrainState,
    batch: dict[str, jax.Array],
    *,
    loss_function: LossFunction,
    optimizer: optax.GradientTransformation,
    trained: tuple[str, ...],
    ema_decay: float,
    accumulate: int = 1,
    axis_name: str | None = None,
    over_devices: Callable[[Callable], Callable] = lambda gradients: gradients,
) -> tuple[TrainState, dict[str, jax.Array]]:
    """Takes one optimizer step on the mean loss of the global batch.

    If the loss or the norm of its gradient is not finite, the step is skipped, on all devices: parameters, optimizer
    and average stay what they were, to the bit.

    Args:
      state: before the step.
      batch: this device's slabs, each array `[B, …]`.
      loss_function: see `LossFunction`; its key differs over steps and parts, and is the same on every device.
      optimizer: of the trained groups.
      trained: groups of `params` that are trained; the others are constants, and cost no gradient.
      ema_decay: of the averaged parameters, ramped up over the first steps as (1 + step) / (10 + step).
      accumulate: parts that the batch is taken in, one after the other; memory falls, numbers stay.
      axis_name: the mapped axis whose devices share the global batch, under `shard_map` or `pmap`.
      over_devices: what maps a function of parameters and batch over that axis, where the step itself is not under it:
        the optimizer then sees global arrays, which may be sharded.

    Returns:
      The state after the step, and metrics of the step: `loss`, its terms, `gradient_norm`, before clipping, and
      `skipped`, how many steps were skipped up to now.
    """
    key = jax.random.fold_in(state.key, state.step)
    trainable = {group: state.params[group] for group in trained}
    frozen = {group: state.params[group] for group in state.params if group not in trained}

    def mean_gradients(params, batch):
        local = {group: params[group] for group in trained}
        constant = {group: params[group] for group in frozen}
        if axis_name is not None:
            # A copy for each device: its gradient is then the device's own, whether or not replication is tracked.
            # (Under tracking, gradients of shared parameters arrive already summed, and a mean would be wrong by their
            # number.)
            local = jax.lax.pcast(local, axis_name, to="varying")

        def loss(local, part, key):
            return loss_function(constant | local, part, key)

        result = _accumulated_gradients(loss, local, batch, key, accumulate)
        return result if axis_name is None else jax.lax.pmean(result, axis_name)

    gradients, metrics = over_devices(mean_gradients)(state.params, batch)
    updates, optimizer_state = optimizer.update(gradients, state.optimizer_state, trainable)
    params = frozen | optax.apply_updates(trainable, updates)
    decay = jnp.minimum(ema_decay, (1 + state.step) / (10 + state.step))
    ema = optax.incremental_update(params, state.ema, 1 - decay)
    norm = optax.global_norm(gradients)
    finite = jnp.isfinite(metrics["loss"]) & jnp.isfinite(norm)
    skipped = state.skipped + jnp.where(finite, 0, 1)
    kept = (state.params, state.optimizer_state, state.ema)
    kept = jax.tree.map(lambda new, old: jnp.where(finite, new, old), (params, optimizer_state, ema), kept)
    metrics |= {"gradient_norm": norm, "skipped": skipped}
    return TrainState(state.step + 1, *kept, state.key, skipped), metrics


def _accumulated_gradients(loss, params, batch, key, parts):
    """Mean gradients and metrics over `parts` equal parts of a batch."""

    def one(part, key):
        (value, terms), gradients = jax.value_and_grad(loss, has_aux=True)(params, part, key)
        return gradients, {"loss": value, **terms}

    if parts == 1:
        return one(batch, key)
    split = jax.tree.map(lambda x: x.reshape(parts, x.shape[0] // parts, *x.shape[1:]), batch)

    def add(total, part):
        return jax.tree.map(jnp.add, total, one(*part)), None

    keys = jax.random.split(key, parts)
    first = one(jax.tree.map(lambda x: x[0], split), keys[0])
    rest = (jax.tree.map(lambda x: x[1:], split), keys[1:])
    total, _ = jax.lax.scan(add, first, rest)
    return jax.tree.map(lambda x: x / parts, total)
