"""LiFT-U's training: an encoder, then a slice generator, then a depth mapper."""

import dataclasses
import functools
from collections.abc import Sequence

import jax
import numpy as np
from ml_collections import ConfigDict

from lift_jax import hosts, run_directory
from lift_jax.data.contrasts import contrast_source, stack_volumes, volume_shape
from lift_jax.data.slices import TakeSlice
from lift_jax.data.splits import check_members
from lift_jax.data.windows import batch_cases, training_batches
from lift_jax.models.alexnet import alexnet_parameters
from lift_jax.models.generation import autoencoder, fresh_parameters, generation_networks
from lift_jax.models.resnet import resnet18_parameters
from lift_jax.places import Place
from lift_jax.training.banks import real_bank
from lift_jax.training.cases import agree_on_cases, cache_shared
from lift_jax.training.checkpoints import saved_steps
from lift_jax.training.generation_checks import check_count, check_generation
from lift_jax.training.generation_losses import generator_loss, mapper_loss, reconstruction_loss
from lift_jax.training.generation_parameters import stage_parameters, with_principal, with_trained
from lift_jax.training.generation_validation import (
    look_at_reconstructions,
    look_at_slices,
    look_at_volumes,
)
from lift_jax.training.optimisers import grouped_adamw
from lift_jax.training.parallel import DATA_AXIS
from lift_jax.training.stages import Everywhere, Stage, finished_parameters, run_stage
from lift_jax.training.starting import starting_parameters
from lift_jax.training.step import LossFunction, initial_state, train_step

TRAINED = {
    "encoder": ("autoencoder",),
    "generator": ("generator",),
    "mapper": ("mapper",),
}
"""Stage to the parts of `stage_parameters` that it trains, through the others."""


def train_generation(config: ConfigDict, workdir: Place) -> None:
    """Trains all stages of a configuration in a work directory, going on from its checkpoints if it has any.

    Raises:
      UserError: before any training, if configuration, data, devices or work directory do not fit; later on a full
        disk, or when too many steps have no finite loss.
    """
    check_generation(config, jax.device_count())
    sources = {split: contrast_source(config.data, split) for split in ("train", "validation")}
    for split, source in sources.items():
        check_members(source.names, split, config.data.split_file)
    agree_on_cases(sources)
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
    cache = run_directory.cache_directory(workdir, config)
    real = {split: stack_volumes(cache_shared(source, config, workdir)) for split, source in sources.items()}
    params = with_trained(params, start)
    begins = networks.prior_slices and not (config.start_from and "generator" in start)
    for index, name in enumerate(config.stages):
        if begins and name == "generator" and not saved_steps(run_directory.checkpoint_directory(workdir, name)):
            # What a linear algebra library finds may differ between machines, in signs too.
            params = hosts.of_first(with_principal(params, networks, real["train"]))
        like = stage_parameters(name, params, networks, config)
        trained = finished_parameters(workdir, name, config.stage[name].steps, like)
        if trained is None:
            trained = run_stage(
                _stage(index, name, like, networks, config, real, cache, sources["train"].names), config, workdir
            )
        params = with_trained(params, trained)


def _stage(index, name, params, networks, config, real, cache, cases) -> Stage:
    settings = config.stage[name]
    drifting = {"temperatures": tuple(config.loss.temperatures), "field": config.loss.field}
    look = {"real": real["validation"][: config.log.validation_cases], "config": config}
    if name == "encoder":
        batches = training_batches(
            real["train"],
            TakeSlice(max(real["train"].shape[1:])),
            seed=config.seed,
            batch=settings.batch,
            threads=config.data.threads,
            process_index=jax.process_index(),
            process_count=jax.process_count(),
        )
        network = autoencoder(networks)
        loss = reconstruction_loss(network, patch=settings.patch, covered=settings.covered, axis_name=DATA_AXIS)
        validate = functools.partial(look_at_reconstructions, network, **look)
        stage = _planned(index, name, loss, params, batches, settings.batch, validate, config)
        return dataclasses.replace(stage, cases=functools.partial(_batch_names, settings.batch, cases, config.seed))

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
            decoding=settings.decoding,
            mixing=settings.mixing,
            **drifting,
            axis_name=DATA_AXIS,
        )
        if settings.decoding:
            bank = bank | {"volumes": real["train"].astype(np.float16)}
        validate = functools.partial(look_at_slices, networks, **look)
        return _planned(index, name, loss, params, Everywhere(bank), settings.batch, validate, config)
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
    validate = functools.partial(look_at_volumes, networks, **look)
    return _planned(index, name, loss, params, Everywhere(bank), settings.batch * shape[0], validate, config)


def _batch_names(batch: int, cases: Sequence[str], seed: int, step: int) -> list[str]:
    """The names of the cases in the encoder's batch of a step."""
    return [cases[i] for i in batch_cases(len(cases), seed=seed, batch=batch, number=step - 1)]


def _planned(index, name, loss: LossFunction, params, batches, slices, validate, config) -> Stage:
    """A stage, of its loss and what goes into it."""
    settings, optimiser = config.stage[name], config.optimiser
    transformation = grouped_adamw(
        dict.fromkeys(TRAINED[name], settings.rate),
        steps=settings.steps,
        warmup=optimiser.warmup,
        weight_decay=optimiser.weight_decay,
        clip=optimiser.clip,
    )
    step = functools.partial(
        train_step, loss_function=loss, optimiser=transformation, trained=TRAINED[name], ema_decay=optimiser.ema
    )
    key = jax.random.fold_in(jax.random.key(config.seed), 10 + index)
    state = initial_state(params, transformation, TRAINED[name], key)
    return Stage(name, settings.steps, slices, step, state, batches, validate)
