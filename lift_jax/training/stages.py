"""A run: its stages in order, each from wherever it stopped."""

import functools
import math
import pathlib
import time

import jax
from ml_collections import ConfigDict
from tqdm import tqdm

from lift_jax import run_directory
from lift_jax.data.cache import CachedCase, cache_cases
from lift_jax.data.cases import CONTRASTS, CaseSource
from lift_jax.data.sources import case_source
from lift_jax.data.windows import TakeWindow, slice_size, training_batches
from lift_jax.errors import UserError
from lift_jax.models.build import initial_parameters, side_features, volume_translator
from lift_jax.models.volume_translator import VolumeTranslator
from lift_jax.training.checkpoints import open_checkpoints, restore_checkpoint, restore_ema, save_checkpoint
from lift_jax.training.optimisers import grouped_adamw
from lift_jax.training.parallel import check_batch, compile_step, data_mesh, replicate, shard_batch
from lift_jax.training.run_log import RunLog
from lift_jax.training.step import initial_state, train_step
from lift_jax.training.translation_loss import translation_loss
from lift_jax.training.validation import validate


def train(config: ConfigDict, workdir: pathlib.Path) -> None:
    """Trains all stages of a configuration in a work directory, going on from its checkpoints if it has any.

    Raises:
      UserError: before any training, if configuration, data, devices or work directory do not fit; later on a full
        disk, or when the loss is no longer finite.
    """
    for name in config.stages:
        stage = config.stage[name]
        check_batch(stage.batch, stage.accumulate, jax.device_count(), f"stage.{name}.batch")
    sources = {split: case_source(config.data, split) for split in ("train", "validation")}
    run_directory.prepare(workdir, config)
    cases = cache_cases(sources["train"], run_directory.cache_directory(workdir, config), config.data.threads)
    network = volume_translator(config.model)
    params = initial_parameters(network, jax.random.key(config.seed), side_features(config))
    for index, name in enumerate(config.stages):
        params = _train_stage(index, name, params, network, cases, sources["validation"], config, workdir)


def _train_stage(
    index: int,
    name: str,
    params: dict,
    network: VolumeTranslator,
    cases: list[CachedCase],
    validation_cases: CaseSource,
    config: ConfigDict,
    workdir: pathlib.Path,
) -> dict:
    """Trains one stage from `params`, or from its newest checkpoint, and returns its averaged parameters."""
    stage = config.stage[name]
    directory = run_directory.checkpoint_directory(workdir, name)
    options = {"every": config.checkpoint.every, "keep": config.checkpoint.keep, "last": stage.steps}
    with open_checkpoints(directory, **options) as manager:
        if manager.latest_step() == stage.steps:
            return restore_ema(directory, params)[0]
        mesh = data_mesh()
        step_function, state = _step_and_state(index, name, params, network, config)
        step_function, state = compile_step(step_function, mesh), replicate(state, mesh)
        batches = _batches(index, stage, cases, network, config)
        done = 0
        if manager.latest_step() is not None:
            state = restore_checkpoint(manager, state, batches)
            done = int(state.step)
        is_first = jax.process_index() == 0
        with (
            RunLog(workdir, name, done, enabled=is_first) as log,
            tqdm(total=stage.steps, initial=done, desc=name, unit="step", disable=not is_first) as bar,
        ):
            clock = _Clock(stage.batch * stage.window)
            for step in range(done + 1, stage.steps + 1):
                state, metrics = step_function(state, shard_batch(next(batches), mesh))
                if mesh.size > 1 and jax.default_backend() == "cpu":
                    jax.block_until_ready(metrics)  # simulated devices on few cores deadlock if steps queue up
                bar.update()
                if step % config.log.every == 0 or step == 1:
                    values = _finite({key: float(value) for key, value in metrics.items()}, name, step)
                    log.scalars(step, values | clock.rates(step))
                    bar.set_postfix(loss=f"{values['loss']:.4f}")
                if step % config.log.validate == 0 or step == stage.steps:
                    values, picture = validate(network, state.ema, validation_cases, config)
                    log.scalars(step, values)
                    log.picture(step, "validation", picture)
                # Last, so that whatever interrupts a run, all that a checkpoint's steps tell has been logged.
                save_checkpoint(manager, state, batches, config, step)
        manager.wait_until_finished()
        return jax.device_get(state.ema)


def _step_and_state(index: int, name: str, params: dict, network: VolumeTranslator, config: ConfigDict):
    """The step of a stage, as a function of state, batch and axis name, and the state before it."""
    stage, settings = config.stage[name], config.optimiser
    rates = {"translator": stage.translator_rate, "mixer": stage.mixer_rate}
    rates = {group: rate for group, rate in rates.items() if rate > 0 and group in params}
    optimiser = grouped_adamw(
        rates,
        steps=stage.steps,
        warmup=settings.warmup,
        weight_decay=settings.weight_decay,
        clip=settings.clip,
    )
    loss_function = translation_loss(network, config.loss, config.loss.brain_weight, use_mixer=name != "translator")
    step_function = functools.partial(
        train_step,
        loss_function=loss_function,
        optimiser=optimiser,
        trained=tuple(rates),
        ema_decay=settings.ema,
        accumulate=stage.accumulate,
    )
    key = jax.random.fold_in(jax.random.key(config.seed), index + 1)
    return step_function, initial_state(params, optimiser, tuple(rates), key)


def _batches(index: int, stage: ConfigDict, cases: list[CachedCase], network: VolumeTranslator, config: ConfigDict):
    """The batches of a stage for this process."""
    data = config.data
    take_window = TakeWindow(
        window=stage.window,
        size=slice_size(cases, data.crop, network.translator.multiple),
        targets=tuple(CONTRASTS.index(name) for name in data.targets),
        flip=data.flip,
        source_drop=data.source_drop,
        gamma=data.gamma,
        oracle=config.model.oracle,
    )
    return training_batches(
        cases,
        take_window,
        seed=config.seed * len(config.stage) + index,
        batch=stage.batch,
        threads=data.threads,
        process_index=jax.process_index(),
        process_count=jax.process_count(),
    )


def _finite(values: dict[str, float], stage: str, step: int) -> dict[str, float]:
    if not math.isfinite(values["loss"]):
        raise UserError(
            f"{stage}: the loss is {values['loss']} at step {step}; lower config.stage.{stage}'s rates or "
            "config.optimiser.clip, and start again: training goes on from the last checkpoint"
        )
    return values


class _Clock:
    """Rates since the last reading."""

    def __init__(self, slices_per_step: int):
        self._slices, self._since, self._step = slices_per_step, time.perf_counter(), None

    def rates(self, step: int) -> dict[str, float]:
        """Steps and slices per second since the last reading; nothing at the first, which holds the compilation."""
        now, before = time.perf_counter(), self._since
        steps = None if self._step is None else step - self._step
        self._since, self._step = now, step
        if steps is None:
            return {}
        return {"steps_per_second": steps / (now - before), "slices_per_second": steps * self._slices / (now - before)}
