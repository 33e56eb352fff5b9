"""LiFT-U's training: an encoder, then a slice generator, then a depth mapper."""

import dataclasses
import functools
from collections.abc import Sequence

import jax
from ml_collections import ConfigDict

from lift_jax import run_directory
from lift_jax.data.contrasts import contrast_source, stack_volumes, volume_shape
from lift_jax.data.slices import TakeSlice
from lift_jax.data.windows import batch_cases, training_batches
from lift_jax.errors import UserError
from lift_jax.losses.drifting import DriftingOptions
from lift_jax.models.encoders import initial_encoder_parameters
from lift_jax.models.generation import (
    GenerationNetworks,
    autoencoder,
    fresh_parameters,
    generation_networks,
)
from lift_jax.models.resnet import resnet18_parameters
from lift_jax.places import Place
from lift_jax.training.banks import real_bank
from lift_jax.training.cases import agree_on_cases, cache_shared
from lift_jax.training.generation_losses import generator_loss, mapper_loss, reconstruction_loss
from lift_jax.training.generation_validation import look_at_reconstructions, look_at_slices, look_at_volumes
from lift_jax.training.optimisers import grouped_adamw
from lift_jax.training.parallel import DATA_AXIS, check_batch
from lift_jax.training.stages import Everywhere, Stage, finished_parameters, run_stage
from lift_jax.training.starting import starting_parameters
from lift_jax.training.step import LossFunction, TrainState, initial_state, train_step

NEEDED = {"generator": ("encoder", "generator"), "mapper": ("encoder", "generator", "mapper")}
"""Stage to the networks that it holds: the last is trained, through the others."""


def train_generation(config: ConfigDict, workdir: Place) -> None:
    """Trains all stages of a configuration in a work directory, going on from its checkpoints if it has any.

    Raises:
      UserError: before any training, if configuration, data, devices or work directory do not fit; later on a full
        disk, or when too many steps have no finite loss.
    """
    check_generation(config, jax.device_count())
    sources = {split: contrast_source(config.data, split) for split in ("train", "validation")}
    agree_on_cases(sources)
    shape = volume_shape(config.data)
    networks = generation_networks(config, shape[1:])
    check_count(config, len(sources["train"].names))
    params = fresh_parameters(networks, config)
    if config.model.encoder.kind == "resnet18":
        params["encoder"] = resnet18_parameters(config.model.encoder.weights)
    held = functools.partial(stage_parameters, params=params, networks=networks, config=config)
    params = with_trained(params, starting_parameters(config, workdir, params, held))
    run_directory.prepare(workdir, config)
    cache = run_directory.cache_directory(workdir, config)
    real = {split: stack_volumes(cache_shared(source, config, workdir)) for split, source in sources.items()}
    for index, name in enumerate(config.stages):
        like = stage_parameters(name, params, networks, config)
        trained = finished_parameters(workdir, name, config.stage[name].steps, like)
        if trained is None:
            trained = run_stage(
                _stage(index, name, like, networks, config, real, cache, sources["train"].names), config, workdir
            )
        params = with_trained(params, trained)


def check_generation(config: ConfigDict, devices: int) -> None:
    """Refuses batches that do not divide over so many devices, and volumes or settings that do not fit the networks."""
    for name in config.stages:
        for key in ("batch", "positives", "negatives"):
            if key in config.stage[name]:
                check_batch(config.stage[name][key], 1, devices, f"stage.{name}.{key}")
    shape = volume_shape(config.data)
    check_shapes(generation_networks(config, shape[1:]), config, shape)


def stage_parameters(name: str, params: dict, networks: GenerationNetworks, config: ConfigDict) -> dict:
    """What a stage's state and checkpoints hold: what it trains, and what it trains that through."""
    if name == "encoder":
        return {"autoencoder": fresh_autoencoder(networks, config)}
    return {group: params[group] for group in NEEDED[name]}


def with_trained(params: dict, trained: dict) -> dict:
    """Parameters of the three networks, with those that a stage has trained; of the encoder's stage, the encoder."""
    if "autoencoder" in trained:
        return params | {"encoder": trained["autoencoder"]["encoder"]}
    return params | trained


def fresh_autoencoder(networks: GenerationNetworks, config: ConfigDict) -> dict:
    """Random parameters of the encoder with its decoder."""
    return initial_encoder_parameters(autoencoder(networks), jax.random.fold_in(jax.random.key(config.seed), 3))


def check_count(config: ConfigDict, count: int) -> None:
    """Refuses steps that ask for more real volumes than there are."""
    positives = config.stage.mapper.positives
    if positives > count:
        raise UserError(
            f"config.stage.mapper.positives: {positives} real volumes a step are asked for, there are {count}"
        )


def check_shapes(networks: GenerationNetworks, config: ConfigDict, sides: tuple[int, int, int]) -> None:
    """Refuses volumes `[D, H, W]` that the networks or the settings cannot take, naming what to change."""
    encoder, generator, mapper = networks.encoder, networks.generator, config.stage.mapper
    if min(sides) < encoder.smallest_side or any(side % encoder.multiple for side in sides):
        raise UserError(
            f"config.data: volumes of {tuple(sides)} do not suit the encoder, which takes sides of "
            f"{encoder.smallest_side} or more that are multiples of {encoder.multiple}"
        )
    if any(side % generator.multiple for side in sides[1:]):
        raise UserError(
            f"config.model.generator: slices of {tuple(sides[1:])} are no multiples of {generator.multiple}, its head "
            "and doublings; use fewer widths or a smaller head"
        )
    if mapper.positions > min(sides) or (mapper.positions < 2 and config.loss.particles == "segment"):
        raise UserError(
            f"config.stage.mapper.positions: {mapper.positions} must be from 2 to the shortest side, {min(sides)}"
        )


def _stage(index, name, params, networks, config, real, cache, cases) -> Stage:
    settings = config.stage[name]
    drifting = drifting_settings(config.loss)
    annealing = config.loss.annealing / settings.steps
    look = {"real": real["validation"][: config.log.validation_cases], "config": config}
    if name == "encoder":
        side = max(real["train"].shape[1:])
        batches = training_batches(
            real["train"],
            TakeSlice(side),
            seed=config.seed,
            batch=settings.batch,
            threads=config.data.threads,
            process_index=jax.process_index(),
            process_count=jax.process_count(),
        )
        network = autoencoder(networks)
        loss = reconstruction_loss(network, patch=settings.patch, covered=settings.covered, axis_name=DATA_AXIS)
        validate = functools.partial(look_at_reconstructions, network, **look)
        stage = _planned(index, name, "autoencoder", loss, params, batches, settings.batch, validate, config)
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
            negatives=settings.negatives,
            drifting=drifting,
            annealing=annealing,
            axis_name=DATA_AXIS,
        )
        validate = functools.partial(look_at_slices, networks, **look)
        return _planned(index, name, name, loss, params, Everywhere(bank), settings.batch, validate, config)
    shape = real["train"].shape[1:]
    loss = mapper_loss(
        networks,
        shape=shape,
        batch=settings.batch,
        volume_code=config.model.mapper.code,
        positives=settings.positives,
        positions=settings.positions,
        chunk=settings.chunk,
        plane_weights=config.loss.planes.to_dict(),
        particles=config.loss.particles,
        negatives=settings.negatives,
        drifting=drifting | {"guidance": config.loss.drifting.guidance},
        annealing=annealing,
        axis_name=DATA_AXIS,
    )
    validate = functools.partial(look_at_volumes, networks, **look)
    return _planned(index, name, name, loss, params, Everywhere(bank), settings.batch * shape[0], validate, config)


def drifting_settings(loss: ConfigDict) -> dict:
    """What `drift_all` is to be given, of a configuration's section `loss`."""
    switches = loss.drifting.to_dict()
    switches.pop("guidance")
    frozen, floor = switches.pop("frozen_scale"), switches["affinity_floor"]
    scale = frozen if switches["distance_scale"] == "frozen" else switches["distance_scale"]
    options = DriftingOptions(**switches | {"distance_scale": scale, "affinity_floor": None if floor < 0 else floor})
    return {
        "kind": loss.kind,
        "field": loss.field,
        "temperatures": tuple(loss.temperatures),
        "options": options,
    }


def numbered_step(state: TrainState, batch: dict, *, loss_function: LossFunction, **settings):
    """`train_step` with a loss that is told which step it is."""
    return train_step(state, batch, loss_function=functools.partial(loss_function, step=state.step), **settings)


def _batch_names(batch: int, cases: Sequence[str], seed: int, step: int) -> list[str]:
    """The names of the cases in the encoder's batch of a step."""
    return [cases[i] for i in batch_cases(len(cases), seed=seed, batch=batch, number=step - 1)]


def _planned(index, name, group, loss: LossFunction, params, batches, slices, validate, config) -> Stage:
    """A stage that trains one group of its parameters."""
    settings, optimiser = config.stage[name], config.optimiser
    transformation = grouped_adamw(
        {group: settings.rate},
        steps=settings.steps,
        warmup=optimiser.warmup,
        weight_decay=optimiser.weight_decay,
        clip=optimiser.clip,
    )
    take = numbered_step if config.loss.annealing and name != "encoder" else train_step
    step = functools.partial(
        take, loss_function=loss, optimiser=transformation, trained=(group,), ema_decay=optimiser.ema
    )
    key = jax.random.fold_in(jax.random.key(config.seed), 10 + index)
    state = initial_state(params, transformation, (group,), key)
    return Stage(name, settings.steps, slices, step, state, batches, validate)
