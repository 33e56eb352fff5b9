"""A stage that compiles in a moment, for tests of what surrounds a stage."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax

from configs.quickstart import get_config
from lift_jax.training.loop import ReplicatedBatch, Stage
from lift_jax.training.step import initial_state, train_step


def small_run():
    """The configuration of a run with the stage: checkpoints at every third step, each step logged."""
    config = get_config("tiny")
    with config.unlocked():
        config.data.cache = "cache"
        config.stage.joint.batch = 8
        config.checkpoint.every_steps, config.checkpoint.max_to_keep = 3, 2
        config.log.every_steps, config.log.validate_every_steps = 1, 4
    return config


def descent(steps, batches=None, looking=lambda: None) -> Stage:
    """One number that goes down to the mean of a batch's `y`; `looking` is called at each validation."""

    def loss(params, batch, key):
        error = ((params["only"]["x"] - batch["y"]) ** 2).mean()
        return error, {"error": error}

    def validate(averages):
        looking()
        return {"x": float(averages["only"]["x"][0])}, {"square": np.zeros((4, 4, 3), np.uint8)}

    optimizer = optax.sgd(0.1)
    step = functools.partial(train_step, loss_function=loss, optimizer=optimizer, trained=("only",), ema_decay=0.5)
    state = initial_state({"only": {"x": jnp.zeros(1)}}, optimizer, ("only",), jax.random.key(0))
    return Stage("joint", steps, 1, step, state, batches or ReplicatedBatch({"y": np.ones(8, np.float32)}), validate)
