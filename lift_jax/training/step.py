"""One training step, on one device or as one of many, and its optimizer."""

import functools
from collections.abc import Callable, Mapping

import jax
import jax.numpy as jnp
import optax
from flax import struct
from ml_collections import ConfigDict

LossFunction = Callable[[dict, dict, jax.Array], tuple[jax.Array, dict[str, jax.Array]]]
"""`(params, batch, key) -> (loss, terms)`: the mean loss of a batch, and named scalars to log."""


class TrainState(struct.PyTreeNode):
    """All that a step changes.

    Attributes:
      step: int32, number of steps, including skipped ones.
      params: `{group: parameters}`, float32.
      optimizer_state: of the trained groups.
      ema: exponential moving average of `params`, which inference uses.
      key: typed random key of the stage; each step folds its number into it.
      skipped: int32, number of skipped steps.
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

    If the loss or the norm of its gradient is not finite, the step is skipped on all devices: parameters, optimizer and
    average keep every bit.

    Args:
      state: before the step.
      batch: this device's share, each array `[B, …]`.
      loss_function: see `LossFunction`; its key differs over steps and parts, and is the same on every device.
      optimizer: of the trained groups.
      trained: groups of `params` that are trained; the others are constants.
      ema_decay: of the averaged parameters, ramped up over the first steps as (1 + step) / (10 + step).
      accumulate: parts of the batch, computed one after the other; less memory, the same numbers.
      axis_name: the mapped axis whose devices share the global batch, under `shard_map` or `pmap`.
      over_devices: maps a function of parameters and batch over that axis, where the step itself is not mapped: the
        optimizer then sees global arrays, which may be sharded.

    Returns:
      The state after the step, and metrics: `loss`, its terms, `gradient_norm`, before clipping, and `skipped`, the
      number of skipped steps up to now.
    """
    key = jax.random.fold_in(state.key, state.step)
    trainable = {group: state.params[group] for group in trained}
    frozen = {group: state.params[group] for group in state.params if group not in trained}

    def mean_gradients(params, batch):
        local = {group: params[group] for group in trained}
        constant = {group: params[group] for group in frozen}
        if axis_name is not None:
            # A copy for each device, so that its gradient is the device's own: gradients of shared parameters would
            # arrive already summed.
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
    params, optimizer_state, ema = jax.tree.map(
        lambda new, old: jnp.where(finite, new, old), (params, optimizer_state, ema), kept
    )
    metrics |= {"gradient_norm": norm, "skipped": skipped}
    state = state.replace(step=state.step + 1, params=params, optimizer_state=optimizer_state, ema=ema, skipped=skipped)
    return state, metrics


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


def step_and_state(
    loss_function: LossFunction,
    params: dict,
    learning_rates: Mapping[str, float],
    key: jax.Array,
    *,
    steps: int,
    optimizer: ConfigDict,
    weight_decay: float | Mapping[str, float] = 0.0,
    accumulate: int = 1,
) -> tuple[Callable, TrainState]:
    """The step of a stage, `(state, batch, axis_name) -> (state, metrics)`, and the state before the first.

    Args:
      loss_function: of the stage.
      params: `{group: parameters}`.
      learning_rates: of the groups that are trained.
      key: of the stage.
      steps: of the stage.
      optimizer: the section of the configuration.
      weight_decay: see `grouped_adamw`.
      accumulate: see `train_step`.
    """
    transformation = grouped_adamw(
        learning_rates,
        steps=steps,
        warmup_steps=optimizer.warmup_steps,
        clip_norm=optimizer.clip_norm,
        weight_decay=weight_decay,
    )
    trained = tuple(learning_rates)
    step = functools.partial(
        train_step,
        loss_function=loss_function,
        optimizer=transformation,
        trained=trained,
        ema_decay=optimizer.ema_decay,
        accumulate=accumulate,
    )
    return step, initial_state(params, transformation, trained, key)


def warmup_cosine(learning_rate: float, steps: int, warmup_steps: int) -> optax.Schedule:
    """Linear from 0 to `learning_rate` over `warmup_steps` (at most half of all), then a cosine to 0 at `steps`."""
    return optax.warmup_cosine_decay_schedule(0.0, learning_rate, min(warmup_steps, steps // 2), steps)


def grouped_adamw(
    learning_rates: Mapping[str, float],
    *,
    steps: int,
    warmup_steps: int,
    clip_norm: float,
    weight_decay: float | Mapping[str, float] = 0.0,
) -> optax.GradientTransformation:
    """AdamW (Loshchilov & Hutter, arXiv 1711.05101) over `{group: parameters}`.

    Gradients are clipped by the global norm of all groups together; matrices and kernels decay, vectors do not.

    Args:
      learning_rates: peak learning rate of each trained group.
      steps: of the whole stage, at the end of which all learning rates are 0.
      warmup_steps: steps to the peak.
      clip_norm: largest global gradient norm.
      weight_decay: decoupled weight decay, of all groups or of each; 0 is Adam.
    """

    def adamw(group):
        schedule = warmup_cosine(learning_rates[group], steps, warmup_steps)
        decay = weight_decay[group] if isinstance(weight_decay, Mapping) else weight_decay
        return optax.adamw(schedule, weight_decay=decay, mask=_is_kernel)

    def labels(params):
        return {group: jax.tree.map(lambda _, group=group: group, params[group]) for group in params}

    groups = optax.partition({group: adamw(group) for group in learning_rates}, labels)
    return optax.chain(optax.clip_by_global_norm(clip_norm), groups)


def _is_kernel(params):
    return jax.tree.map(lambda x: x.ndim > 1, params)
