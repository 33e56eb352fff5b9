"""LiFT-U's training: an encoder, then a slice generator, then a depth mapper."""

import dataclasses
import functools
from collections.abc import Sequence

import jax
import numpy as np
from ml_collections import ConfigDict

from lift_jax import hosts, run_directory
from lift_jax.checkpoints import saved_steps
from lift_jax.data.single_channel import channel_source, stack_volumes, volume_shape
from lift_jax.data.slabs import RandomSlice, batch_subjects, training_batches
from lift_jax.data.splits import check_members
from lift_jax.models.encoders.alexnet import alexnet_parameters
from lift_jax.models.encoders.resnet import resnet18_parameters
from lift_jax.models.generation.networks import autoencoder, fresh_parameters, generation_networks
from lift_jax.paths import PathLike
from lift_jax.training.feature_banks import real_bank
from lift_jax.training.generation_checks import check_count, check_generation
from lift_jax.training.generation_losses import generator_loss, mapper_loss, reconstruction_loss
from lift_jax.training.generation_parameters import stage_parameters, with_principal, with_trained
from lift_jax.training.generation_validation import (
    validate_reconstructions,
    validate_slices,
    validate_volumes,
)
from lift_jax.training.optimizers import grouped_adamw
from lift_jax.training.sharding import DATA_AXIS
from lift_jax.training.stages import ReplicatedBatch, Stage, finished_parameters, run_stage
from lift_jax.training.starting import is_kept, keep_start, starting_parameters
from lift_jax.training.step import LossFunction, initial_state, train_step
from lift_jax.training.subjects import assert_equal_subjects, cache_shared, record_split

TRAINED = {
    "encoder": ("autoencoder",),
    "generator": ("generator",),
    "mapper": ("mapper",),
}
"""Stage to the parts of `stage_parameters` that it trains, through the others."""


def train_generation(config: ConfigDict, workdir: PathLike) -> None:
    """Trains all stages of a configuration in a work directory, going on from its checkpoints if it has any.

    Raises:
      UserError: before any training, if configuration, data, devices or work directory do not fit; later on a full
        disk, or when too many steps have no finite loss.
    """
    check_generation(config, jax.device_count())
    sources = {split: channel_source(config.data, split) for split in ("train", "validation")}
    for split, source in sources.items():
        check_members(source.names, split, config.data.split_file)
    assert_equal_subjects(sources)
    shape = volume_shape(config.data)
    networks = generation_networks(config, shape)
    check_count(config, len(sources["train"].names))
    params = fresh_parameters(networks, config)
    if config.model.encoder.kind == "alexnet":
        params["encoder"] = alexnet_parameters()
    elif config.model.encoder.kind == "resnet18":
        params["encoder"] = resnet18_parameters(config.model.encoder.weights)
    held = functools.partial(stage_parameters, params=params, networks=networks, config=config)
    start = starting_parameters(config, workdir, params, held)
    run_directory.prepare(workdir, config)
    hosts.report(record_split(config, workdir))
    cache, (channel,) = run_directory.cache_directory(workdir, config), config.data.targets
    real = {split: stack_volumes(cache_shared(source, config, workdir), channel) for split, source in sources.items()}
    params = with_trained(params, start)
    if networks.prior_slices and not _has_generator(config, workdir, start):
        # What a linear algebra library finds may differ between machines, in signs too.
        params = hosts.broadcast_from_first(with_principal(params, networks, real["train"]))
    keep_start(config, workdir, params)
    for index, name in enumerate(config.stages):
        like = stage_parameters(name, params, networks, config)
        trained = finished_parameters(workdir, name, config.stage[name].steps, like)
        if trained is None:
            trained = run_stage(
                _stage(index, name, like, networks, config, real, cache, sources["train"].names), config, workdir
            )
        params = with_trained(params, trained)


def _has_generator(config: ConfigDict, workdir: PathLike, start: dict) -> bool:
    """Whether generator and prior are known, or not needed, before the first stage that is still to be trained."""
    given = config.start_from and ("generator" in start or is_kept(workdir))
    begun = saved_steps(run_directory.checkpoint_directory(workdir, "generator"))
    return bool(given or begun or tuple(config.stages) == ("encoder",))


def _stage(index, name, params, networks, config, real, cache, subjects) -> Stage:
    settings = config.stage[name]
    drifting = {"temperatures": tuple(config.loss.temperatures), "field": config.loss.field}
    look = {"real": real["validation"][: config.log.validation_subjects], "config": config}
    if name == "encoder":
        batches = training_batches(
            real["train"],
            RandomSlice(max(real["train"].shape[1:])),
            seed=config.seed,
            batch=settings.batch,
            threads=config.data.threads,
            process_index=jax.process_index(),
            process_count=jax.process_count(),
        )
        network = autoencoder(networks)
        loss = reconstruction_loss(
            network, mask_patch_size=settings.mask_patch_size, mask_ratio=settings.mask_ratio, axis_name=DATA_AXIS
        )
        validate = functools.partial(validate_reconstructions, network, **look)
        stage = _planned(index, name, loss, params, batches, settings.batch, validate, config)
        return dataclasses.replace(
            stage, subjects=functools.partial(_batch_names, settings.batch, subjects, config.seed)
        )

    planes = ["axial"] if name == "generator" else [p for p, weight in config.loss.planes.items() if weight > 0]
    bank = real_bank(
        networks,
        params["encoder"],
        real["train"],
        planes=planes,
        chunk=config.inference.chunk,
        dtype=config.features.dtype,
        directory=cache,
    )
    if name == "generator":
        loss = generator_loss(
            networks,
            batch=settings.batch,
            positives=settings.positives,
            reconstruction_weight=settings.reconstruction_weight,
            latent_interpolation=settings.latent_interpolation,
            **drifting,
            axis_name=DATA_AXIS,
        )
        if settings.reconstruction_weight:
            bank = bank | {"volumes": real["train"].astype(np.float16)}
        validate = functools.partial(validate_slices, networks, **look)
        return _planned(index, name, loss, params, ReplicatedBatch(bank), settings.batch, validate, config)
    shape = real["train"].shape[1:]
    loss = mapper_loss(
        networks,
        shape=shape,
        batch=settings.batch,
        positives=settings.positives,
        positions=settings.positions,
        chunk=settings.chunk,
        plane_weights=config.loss.planes.to_dict(),
        particles=config.loss.particles,
        **drifting,
        axis_name=DATA_AXIS,
    )
    validate = functools.partial(validate_volumes, networks, **look)
    return _planned(index, name, loss, params, ReplicatedBatch(bank), settings.batch * shape[0], validate, config)


def _batch_names(batch: int, subjects: Sequence[str], seed: int, step: int) -> list[str]:
    """The names of the subjects in the encoder's batch of a step."""
    return [subjects[i] for i in batch_subjects(len(subjects), seed=seed, batch=batch, number=step - 1)]


def _planned(index, name, loss: LossFunction, params, batches, slices, validate, config) -> Stage:
    """A stage, of its loss and what goes into it."""
    settings, optimizer = config.stage[name], config.optimizer
    transformation = grouped_adamw(
        dict.fromkeys(TRAINED[name], settings.learning_rate),
        steps=settings.steps,
        warmup=optimizer.warmup_steps,
        weight_decay=optimizer.weight_decay,
        clip=optimizer.clip_norm,
    )
    step = functools.partial(
        train_step, loss_function=loss, optimizer=transformation, trained=TRAINED[name], ema_decay=optimizer.ema_decay
    )
    key = jax.random.fold_in(jax.random.key(config.seed), 10 + index)
    state = initial_state(params, transformation, TRAINED[name], key)
    return Stage(name, settings.steps, slices, step, state, batches, validate)
