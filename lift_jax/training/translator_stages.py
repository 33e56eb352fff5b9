"""The stages of LiFT-C, whatever it translates: `translator` then `mixer`, or `joint`."""

import functools
from collections.abc import Callable, Sequence

import grain
import jax
from ml_collections import ConfigDict

from lift_jax.data.cache import CachedCase
from lift_jax.data.windows import batch_cases, slice_size, training_batches
from lift_jax.models.volume_translator import VolumeTranslator
from lift_jax.places import Place
from lift_jax.training.optimisers import grouped_adamw
from lift_jax.training.parallel import check_batch
from lift_jax.training.stages import Stage, Validation, finished_parameters, run_stage
from lift_jax.training.step import LossFunction, initial_state, train_step


def check_batches(config: ConfigDict, devices: int) -> None:
    """Refuses stages whose batches do not divide over so many devices, before anything is read."""
    for name in config.stages:
        stage = config.stage[name]
        check_batch(stage.batch, stage.accumulate, devices, f"stage.{name}.batch")


def training_size(
    cases: Sequence[CachedCase], config: ConfigDict, network: VolumeTranslator, array: str = "sources"
) -> tuple[int, int]:
    """Rows and columns of training slices, see `slice_size`.

    Raises:
      UserError: if the cases differ in size and are not cropped.
    """
    return slice_size(cases, config.data.crop, network.translator.multiple, array)


def train_stages(
    config: ConfigDict,
    workdir: Place,
    params: dict,
    cases: Sequence[CachedCase],
    *,
    take_window: Callable[[int], grain.transforms.RandomMap],
    loss: Callable[[bool], LossFunction],
    look: Validation,
) -> dict:
    """Trains the configured stages in order, each from wherever it stopped, and returns the averaged parameters.

    Args:
      config: of the run.
      workdir: of the run.
      params: before the first stage, `{"translator": …, "mixer": …}`.
      cases: the training cases.
      take_window: number of slices to what takes a window of so many out of a case.
      loss: whether the mixer is used to the loss of a batch; the stage `translator` does not use it.
      look: what is looked at now and then.
    """
    for index, name in enumerate(config.stages):
        finished = finished_parameters(workdir, name, config.stage[name].steps, params)
        if finished is None:
            settings = config.stage[name]
            step, state = _step_and_state(index, name, params, loss(name != "translator"), config)
            batches = _batches(index, settings, cases, take_window(settings.window), config)
            slices = settings.batch * settings.window
            names = functools.partial(_batch_names, index, settings, cases, config)
            stage = Stage(name, settings.steps, slices, step, state, batches, look, names)
            finished = run_stage(stage, config, workdir)
        params = finished
    return params


def _step_and_state(index: int, name: str, params: dict, loss_function: LossFunction, config: ConfigDict):
    """The step of a stage, as a function of state, batch and axis name, and the state before it."""
    stage, settings = config.stage[name], config.optimiser
    rates = {"translator": stage.translator_rate, "mixer": stage.mixer_rate}
    rates = {group: rate for group, rate in rates.items() if rate > 0 and group in params}
    decay = settings.weight_decay  # of all groups, or of each
    optimiser = grouped_adamw(
        rates,
        steps=stage.steps,
        warmup=settings.warmup,
        weight_decay=decay.to_dict() if isinstance(decay, ConfigDict) else decay,
        clip=settings.clip,
    )
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


def _batches(index, stage: ConfigDict, cases, take_window, config: ConfigDict) -> grain.DatasetIterator:
    """The batches of a stage for this process."""
    return training_batches(
        cases,
        take_window,
        seed=_data_seed(index, config),
        batch=stage.batch,
        threads=config.data.threads,
        process_index=jax.process_index(),
        process_count=jax.process_count(),
    )


def _batch_names(index, stage: ConfigDict, cases, config: ConfigDict, step: int) -> list[str]:
    """The names of the cases in the batch of a step, over all processes."""
    chosen = batch_cases(len(cases), seed=_data_seed(index, config), batch=stage.batch, number=step - 1)
    return [cases[i].facts["name"] for i in chosen]


def _data_seed(index: int, config: ConfigDict) -> int:
    return config.seed * len(config.stage) + index
