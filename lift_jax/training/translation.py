"""LiFT-C's training: the stages `translator` then `mixer`, or `joint`."""

import functools
import warnings
from collections.abc import Callable, Sequence

import grain
import jax
from ml_collections import ConfigDict

from lift_jax import hosts, run_directory
from lift_jax.data.cache import CachedSubject
from lift_jax.data.channels import Channels, channels_of
from lift_jax.data.slabs import RandomSlab, batch_subjects, slab_size, training_batches
from lift_jax.data.sources import subject_source
from lift_jax.data.splits import check_members
from lift_jax.data.subject import BoxedSubjects
from lift_jax.errors import DataWarning, UserError
from lift_jax.losses.paired import LossWeights
from lift_jax.models.translation.build import initial_parameters, volume_translator
from lift_jax.paths import PathLike
from lift_jax.training.optimizers import grouped_adamw
from lift_jax.training.sharding import check_batch
from lift_jax.training.stages import Stage, Validation, finished_parameters, run_stage
from lift_jax.training.starting import keep_start, starting_parameters
from lift_jax.training.step import LossFunction, initial_state, train_step
from lift_jax.training.subjects import assert_equal_subjects, cache_shared, record_split, record_statistics
from lift_jax.training.translation_loss import translation_loss
from lift_jax.training.validation import validate


def check_devices(config: ConfigDict, devices: int) -> None:
    """Refuses stages whose batches do not divide over so many devices, before anything is read."""
    for name in config.stages:
        stage = config.stage[name]
        check_batch(stage.batch, stage.accumulate, devices, f"stage.{name}.batch")


def train_translation(config: ConfigDict, workdir: PathLike) -> dict:
    """Trains all stages of a configuration in a work directory, each from wherever it stopped.

    Returns:
      The averaged parameters of the last stage.

    Raises:
      UserError: before any training, if configuration, data, devices or work directory do not fit; later on a full
        disk, or when too many steps have no finite loss.
    """
    check_devices(config, jax.device_count())
    sources = {split: subject_source(config.data, split) for split in ("train", "validation")}
    check_members(sources["train"].names, "train", config.data.split_file)
    assert_equal_subjects(sources)
    channels = channels_of(config.data)
    network = volume_translator(config.model, channels)
    params = starting_parameters(config, workdir, initial_parameters(network, jax.random.key(config.seed)))
    run_directory.prepare(workdir, config)
    keep_start(config, workdir, params)
    hosts.report(record_split(config, workdir))
    source = BoxedSubjects(sources["train"]) if config.data.foreground_box else sources["train"]
    cached = cache_shared(source, config, workdir)
    record_statistics(sources["train"], cached, channels, config, workdir)
    subjects = usable_subjects(cached, channels)
    size = slab_size(subjects, config.data.crop, network.translator.multiple)
    return train_stages(
        config,
        workdir,
        params,
        subjects,
        slab=functools.partial(random_slab, config.data, channels, size),
        loss=functools.partial(translation_loss, network, channels, LossWeights(**config.loss)),
        validate=functools.partial(validate, network, channels=channels, subjects=sources["validation"], config=config),
    )


def train_stages(
    config: ConfigDict,
    workdir: PathLike,
    params: dict,
    subjects: Sequence[CachedSubject],
    *,
    slab: Callable[[int], grain.transforms.RandomMap],
    loss: Callable[..., LossFunction],
    validate: Validation,
) -> dict:
    """Trains all stages of a configuration, each from wherever it stopped; of any network that takes slabs.

    Args:
      config: of the run.
      workdir: of the run, prepared.
      params: parameters before the first stage, in the groups `translator` and, where there is one, `mixer`.
      subjects: that train.
      slab: number of slices to what draws a slab of a subject, as `random_slab`.
      loss: the loss by its argument `use_mixer`.
      validate: averaged parameters to figures and pictures.

    Returns:
      The averaged parameters of the last stage.
    """
    for index, name in enumerate(config.stages):
        finished = finished_parameters(workdir, name, config.stage[name].steps, params)
        if finished is None:
            step, state = _step_and_state(index, name, params, loss(use_mixer=name != "translator"), config)
            settings, seed = config.stage[name], config.seed * len(config.stage) + index
            batches = _batches(settings.batch, seed, subjects, slab(settings.slices), config)
            names = functools.partial(_batch_names, settings.batch, seed, subjects)
            slices = settings.batch * settings.slices
            stage = Stage(name, settings.steps, slices, step, state, batches, validate, names)
            finished = run_stage(stage, config, workdir)
        params = finished
    return params


def random_slab(data: ConfigDict, channels: Channels, size: tuple[int, int], slices: int) -> RandomSlab:
    """What draws slabs of so many slices, by a data section."""
    return RandomSlab(slices, size, channels, data.flip, data.source_drop, data.gamma)


def usable_subjects(subjects: Sequence[CachedSubject], channels: Channels) -> list[CachedSubject]:
    """The subjects that have a target and another channel to predict it from; others are warned about.

    Raises:
      UserError: there is none.
    """
    usable = [subject for subject in subjects if channels.predictable(subject.channels)]
    left_out = [subject.name for subject in subjects if not channels.predictable(subject.channels)]
    if not usable:
        raise UserError(
            f"config.data: no subject that trains has one of the targets {', '.join(channels.targets)} and another "
            f"channel of {', '.join(channels.sources)} to predict it from"
        )
    if left_out:
        more = f" and {len(left_out) - 3} more" if len(left_out) > 3 else ""
        warnings.warn(
            f"{', '.join(left_out[:3])}{more}: no target with another channel to predict it from; not trained on",
            DataWarning,
            stacklevel=2,
        )
    return usable


def _step_and_state(index: int, name: str, params: dict, loss_function: LossFunction, config: ConfigDict):
    """The step of a stage, as a function of state, batch and axis name, and the state before it."""
    stage, settings = config.stage[name], config.optimizer
    rates = {"translator": stage.translator_learning_rate, "mixer": stage.mixer_learning_rate}
    rates = {group: rate for group, rate in rates.items() if rate > 0 and group in params}
    optimizer = grouped_adamw(
        rates,
        steps=stage.steps,
        warmup=settings.warmup_steps,
        weight_decay=settings.weight_decay.to_dict(),
        clip=settings.clip_norm,
    )
    step_function = functools.partial(
        train_step,
        loss_function=loss_function,
        optimizer=optimizer,
        trained=tuple(rates),
        ema_decay=settings.ema_decay,
        accumulate=stage.accumulate,
    )
    key = jax.random.fold_in(jax.random.key(config.seed), index + 1)
    return step_function, initial_state(params, optimizer, tuple(rates), key)


def _batches(batch: int, seed: int, subjects, transform, config: ConfigDict) -> grain.DatasetIterator:
    """The batches of a stage for this process."""
    return training_batches(
        subjects,
        transform,
        seed=seed,
        batch=batch,
        threads=config.data.threads,
        process_index=jax.process_index(),
        process_count=jax.process_count(),
    )


def _batch_names(batch: int, seed: int, subjects: Sequence[CachedSubject], step: int) -> list[str]:
    """The names of the subjects in the batch of a step, over all processes."""
    return [subjects[i].name for i in batch_subjects(len(subjects), seed=seed, batch=batch, number=step - 1)]
