"""LiFT-C's training: the stages `translator` then `mixer`, or `joint`, and their loss."""

import warnings
from collections.abc import Callable, Sequence
from typing import Any

import grain
import jax
import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict

from lift_jax import hosts, run_directory
from lift_jax.data.cache import CachedSubject
from lift_jax.data.channels import Channels, channels_of
from lift_jax.data.intensity import to_network
from lift_jax.data.slabs import RandomSlab, slab_size
from lift_jax.data.sources import subject_source
from lift_jax.data.splits import check_members
from lift_jax.data.subject import BoxedSubjects
from lift_jax.errors import DataWarning, UserError
from lift_jax.evaluation.metrics import BONE_THRESHOLD
from lift_jax.losses.paired import LossWeights, paired_terms
from lift_jax.models.slice_translator import BACKGROUND
from lift_jax.models.volume_translator import VolumeTranslator, initial_parameters, volume_translator
from lift_jax.paths import PathLike
from lift_jax.training.inputs import (
    assert_equal_subjects,
    batch_names,
    cache_shared,
    keep_start,
    process_batches,
    record_split,
    record_statistics,
    starting_parameters,
)
from lift_jax.training.loop import Stage, Validation, finished_parameters, run_stage
from lift_jax.training.sharding import check_batch
from lift_jax.training.step import LossFunction, step_and_state
from lift_jax.training.validation import validate_translation

NO_BONE = 2.0
"""A threshold above all network intensities, for targets without bone."""


def check_devices(config: ConfigDict, devices: int) -> None:
    """Refuses stages whose batches do not divide over so many devices, before anything is read."""
    for name in config.stages:
        check_batch(config.stage[name].batch, config.optimizer.accumulate, devices, f"stage.{name}.batch")


def train_translation(config: ConfigDict, workdir: PathLike) -> None:
    """Trains all stages of a configuration in a work directory, each from wherever it stopped.

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
    subjects, data = usable_subjects(cached, channels), config.data
    size = slab_size(subjects, data.crop, network.translator.multiple)
    train_stages(
        config,
        workdir,
        params,
        subjects,
        slab=lambda slices: RandomSlab(slices, size, channels, source_drop=data.source_drop, gamma=data.gamma),
        loss=lambda use_mixer: translation_loss(network, channels, loss_weights(config.loss), use_mixer),
        validate=lambda params: validate_translation(network, params, channels, sources["validation"], config),
    )


def train_stages(
    config: ConfigDict,
    workdir: PathLike,
    params: dict,
    subjects: Sequence[CachedSubject],
    *,
    slab: Callable[[int], grain.transforms.RandomMap],
    loss: Callable[[bool], LossFunction],
    validate: Validation,
) -> dict:
    """Trains all stages of a configuration, each from wherever it stopped; of any network that takes slabs.

    Args:
      config: of the run.
      workdir: of the run, prepared.
      params: parameters before the first stage, in the groups `translator` and, where there is one, `mixer`.
      subjects: that train.
      slab: number of slices to the transform that draws a slab of a subject.
      loss: the loss with or without the mixer.
      validate: averaged parameters to metrics and pictures.

    Returns:
      The averaged parameters of the last stage.
    """
    names = [subject.name for subject in subjects]
    for index, name in enumerate(config.stages):
        settings, optimizer = config.stage[name], config.optimizer
        finished = finished_parameters(workdir, name, settings.steps, params)
        if finished is None:
            learning_rates = {group: settings.get(f"{group}_learning_rate", 0.0) for group in ("translator", "mixer")}
            step, state = step_and_state(
                loss(name != "translator"),
                params,
                {group: rate for group, rate in learning_rates.items() if rate > 0 and group in params},
                jax.random.fold_in(jax.random.key(config.seed), index + 1),
                steps=settings.steps,
                optimizer=optimizer,
                weight_decay=optimizer.weight_decay.to_dict(),
                accumulate=optimizer.accumulate,
            )
            draw = {"seed": config.seed * len(config.stage) + index, "batch": settings.batch}
            batches = process_batches(subjects, slab(settings.slices), threads=config.data.threads, **draw)
            slices = settings.batch * settings.slices
            stage = Stage(name, settings.steps, slices, step, state, batches, validate, batch_names(names, **draw))
            finished = run_stage(stage, config, workdir)
        params = finished
    return params


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


def loss_weights(loss: ConfigDict) -> LossWeights:
    """The weights of a configuration's section `loss`."""
    return LossWeights(loss.pixel, loss.structure, loss.similarity, loss.through_plane, loss.bone)


def translation_loss(
    network: VolumeTranslator, channels: Channels, weights: LossWeights, use_mixer: bool
) -> LossFunction:
    """LiFT-C's loss, a weighted sum of terms, as a `LossFunction`.

    Predictions are background outside the foreground, in training as in inference.

    Args:
      network: the network to apply.
      channels: its channels.
      weights: of the terms.
      use_mixer: False trains every slice by itself.

    Returns:
      A function of `(params, batch, key)`, where the batch is what `RandomSlab` makes, stacked: `[B, T, …]`.
    """
    thresholds = bone_thresholds(channels)

    def loss_function(params: dict, batch: dict[str, jax.Array], key: jax.Array):
        del key  # nothing is drawn on the device
        inputs = (batch[name] for name in ("sources", "available", "target_onehot", "depth"))
        prediction: Any = network.apply({"params": params}, *inputs, use_mixer=use_mixer)
        prediction = jnp.where(batch["foreground"] > 0, prediction, BACKGROUND)
        target, voxel_weights = batch["target_image"], None
        if weights.bone > 0:
            threshold = batch["target_onehot"] @ thresholds
            voxel_weights = 1 + weights.bone * (target > threshold[:, None, None, None])
        terms = paired_terms(
            prediction,
            target,
            weights,
            slice_weights=batch["slice_weights"],
            delta_z_weights=batch["delta_z_weights"],
            voxel_weights=voxel_weights,
        )
        return sum(getattr(weights, name) * term for name, term in terms.items()), terms

    return loss_function


def bone_thresholds(channels: Channels) -> np.ndarray:
    """Network intensity above which a voxel of each target is bone, `[T]` float32."""
    protocols = [channels.protocols[target] for target in channels.targets]
    thresholds = [to_network(p, np.float32(BONE_THRESHOLD)) if p.unit == "HU" else NO_BONE for p in protocols]
    return np.array(thresholds, np.float32)
