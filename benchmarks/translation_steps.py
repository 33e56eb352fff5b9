"""LiFT-C's training step of a configuration, and random batches for it: what several benchmarks time."""

import functools
from collections.abc import Callable
from typing import NamedTuple

import jax
import numpy as np
from ml_collections import ConfigDict

from lift_jax.data.channels import Channels, channels_of
from lift_jax.data.slabs import slab_weights
from lift_jax.models.volume_translator import VolumeTranslator, initial_parameters, volume_translator
from lift_jax.training.step import LossFunction, TrainState, grouped_adamw, initial_state, train_step
from lift_jax.training.translation import loss_weights, translation_loss


class JointStep(NamedTuple):
    """A step that trains translator and mixer together.

    Attributes:
      network: the network; channels: its channels.
      loss: of a batch, a `LossFunction`.
      step: `(state, batch, axis_name) -> (state, metrics)`.
      state: shapes of the state before the step.
    """

    network: VolumeTranslator
    channels: Channels
    loss: LossFunction
    step: Callable
    state: TrainState


def joint_step(config: ConfigDict) -> JointStep:
    """The step of stage `joint`; nothing is computed yet."""
    channels, settings = channels_of(config.data), config.optimizer
    network = volume_translator(config.model, channels)
    params = jax.eval_shape(functools.partial(initial_parameters, network), jax.random.key(0))
    loss, groups = translation_loss(network, channels, loss_weights(config.loss), use_mixer=True), tuple(params)
    optimizer = grouped_adamw(
        dict.fromkeys(groups, 1e-4),
        steps=1000,
        warmup_steps=1,
        weight_decay=settings.weight_decay.to_dict(),
        clip_norm=settings.clip_norm,
    )
    step = functools.partial(
        train_step, loss_function=loss, optimizer=optimizer, trained=groups, ema_decay=settings.ema_decay
    )
    state = jax.eval_shape(lambda p: initial_state(p, optimizer, groups, jax.random.key(0)), params)
    return JointStep(network, channels, loss, step, state)


def fill_state(joint: JointStep) -> TrainState:
    """A state with fresh parameters."""
    params = initial_parameters(joint.network, jax.random.key(0))
    return initial_state(params, joint.step.keywords["optimizer"], tuple(params), jax.random.key(1))


def random_slabs(channels: Channels, shape: tuple[int, int, int, int], seed: int = 0) -> dict[str, np.ndarray]:
    """A batch as `RandomSlab` makes it, `(B, T, H, W)`, of noise: the last target from all sources but the first."""
    batch, slices = shape[:2]
    rng = np.random.default_rng(seed)
    available = np.ones(len(channels.sources), np.float32)
    available[0] = len(channels.sources) == 1
    target = np.eye(len(channels.targets), dtype=np.float32)[-1]
    weights = slab_weights(slices, slices, 0)
    return {
        "sources": rng.uniform(-1, 1, (*shape, len(channels.sources))).astype(np.float32),
        "target_image": rng.uniform(-1, 1, shape).astype(np.float32),
        "foreground": np.ones(shape, np.float32),
        "available": np.tile(available, (batch, 1)),
        "target_onehot": np.tile(target, (batch, 1)),
        "depth": np.tile(np.linspace(-1, 1, slices, dtype=np.float32), (batch, 1)),
        "slice_weights": np.tile(weights[0], (batch, 1)),
        "delta_z_weights": np.tile(weights[1], (batch, 1)),
    }
