"""LiFT-C's training: a slice translator and a z-mixer, together or one after the other."""

import functools
import pathlib

import jax
from ml_collections import ConfigDict

from lift_jax import run_directory
from lift_jax.data.cache import CachedCase, cache_cases
from lift_jax.data.cases import CONTRASTS
from lift_jax.data.sources import case_source
from lift_jax.data.windows import TakeWindow, slice_size, training_batches
from lift_jax.models.build import initial_parameters, side_features, volume_translator
from lift_jax.models.volume_translator import VolumeTranslator
from lift_jax.training.optimisers import grouped_adamw
from lift_jax.training.parallel import check_batch
from lift_jax.training.stages import Stage, finished_parameters, run_stage
from lift_jax.training.step import initial_state, train_step
from lift_jax.training.translation_loss import translation_loss
from lift_jax.training.validation import validate


def train_translation(config: ConfigDict, workdir: pathlib.Path) -> None:
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
    look = functools.partial(validate, network, cases=sources["validation"], config=config)
    params = initial_parameters(network, jax.random.key(config.seed), side_features(config))
    for index, name in enumerate(config.stages):
        finished = finished_parameters(workdir, name, config.stage[name].steps, params)
        if finished is None:
            step, state = _step_and_state(index, name, params, network, config)
            settings = config.stage[name]
            batches = _batches(index, settings, cases, network, config)
            stage = Stage(name, settings.steps, settings.batch * settings.window, step, state, batches, look)
            finished = run_stage(stage, config, workdir)
        params = finished


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
