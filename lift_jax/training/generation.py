"""LiFT-U's training: an encoder, then a slice generator, then a depth mapper."""

import functools
import pathlib
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np
from ml_collections import ConfigDict

from lift_jax import hosts, run_directory
from lift_jax.checkpoints import saved_steps
from lift_jax.data.single_channel import channel_source, stack_volumes, volume_shape
from lift_jax.data.slabs import RandomSlice
from lift_jax.data.splits import check_members
from lift_jax.errors import UserError
from lift_jax.models.encoders.alexnet import alexnet_parameters
from lift_jax.models.encoders.masked_autoencoder import initial_encoder_parameters
from lift_jax.models.encoders.resnet import resnet18_parameters
from lift_jax.models.generation_networks import (
    GenerationNetworks,
    autoencoder,
    generation_networks,
    initial_generation_parameters,
)
from lift_jax.models.pca import pca_prior, principal_components, with_components
from lift_jax.paths import PathLike
from lift_jax.training.feature_banks import real_bank
from lift_jax.training.generation_losses import generator_loss, mapper_loss, reconstruction_loss
from lift_jax.training.inputs import (
    assert_equal_subjects,
    batch_names,
    cache_shared,
    is_kept,
    keep_start,
    process_batches,
    record_split,
    starting_parameters,
)
from lift_jax.training.loop import ReplicatedBatch, Stage, finished_parameters, run_stage
from lift_jax.training.sharding import DATA_AXIS, check_batch
from lift_jax.training.step import step_and_state
from lift_jax.training.validation import validate_reconstructions, validate_slices, validate_volumes

TRAINED = {"encoder": ("autoencoder",), "generator": ("generator",), "mapper": ("mapper",)}
"""Stage to the groups of its parameters that it trains."""

HELD = {"generator": ("encoder", "prior", "generator"), "mapper": ("encoder", "prior", "generator", "mapper")}
"""Stage to the groups of parameters in its state and checkpoints, where there are any."""


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
    networks = generation_networks(config, volume_shape(config.data))
    names = list(sources["train"].names)
    check_count(config, len(names))
    params = initial_generation_parameters(networks, config)
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
        # Linear algebra libraries of different machines may disagree, in signs too.
        params = hosts.broadcast_from_first(with_principal(params, networks, real["train"]))
    keep_start(config, workdir, params)
    for index, name in enumerate(config.stages):
        like = stage_parameters(name, params, networks, config)
        trained = finished_parameters(workdir, name, config.stage[name].steps, like)
        if trained is None:
            stage = _stage(index, name, like, networks, config, real, cache, names)
            trained = run_stage(stage, config, workdir)
        params = with_trained(params, trained)


def stage_parameters(name: str, params: dict, networks: GenerationNetworks, config: ConfigDict) -> dict:
    """The parameters in a stage's state and checkpoints: those that it trains, and those of frozen networks."""
    if name == "encoder":
        key = jax.random.fold_in(jax.random.key(config.seed), 3)
        return {"autoencoder": initial_encoder_parameters(autoencoder(networks), key)}
    return {group: params[group] for group in HELD[name] if group in params}


def with_trained(params: dict, trained: dict) -> dict:
    """Parameters of networks and prior, updated by those of a stage's checkpoint."""
    if "autoencoder" in trained:
        return params | {"encoder": trained["autoencoder"]["encoder"]}
    return params | {group: trained[group] for group in params if group in trained}


def with_principal(params: dict, networks: GenerationNetworks, volumes: np.ndarray) -> dict:
    """Parameters with generator and prior from principal components of real volumes `[V, D, H, W]` in [0, 1]."""
    components = principal_components(volumes, networks.generator.slice_latent_dim)
    prior = pca_prior(volumes, components, networks.volume_latent_dim)
    return params | {"prior": prior, "generator": with_components(params["generator"], components)}


def check_generation(config: ConfigDict, devices: int) -> None:
    """Refuses batches that do not divide over so many devices, and volumes or settings that do not fit the networks."""
    for name in config.stages:
        for key in ("batch", "positives"):
            if key in config.stage[name]:
                check_batch(config.stage[name][key], 1, devices, f"stage.{name}.{key}")
    shape = volume_shape(config.data)
    check_shapes(generation_networks(config, shape), config, shape)


def check_count(config: ConfigDict, count: int) -> None:
    """Refuses steps with more real volumes than there are."""
    positives = config.stage.mapper.positives
    if positives > count:
        raise UserError(
            f"config.stage.mapper.positives: {positives} real volumes a step are asked for, there are {count}"
        )


def check_shapes(networks: GenerationNetworks, config: ConfigDict, sides: tuple[int, int, int]) -> None:
    """Refuses volumes `[D, H, W]` that do not fit the networks or the settings."""
    encoder: Any = networks.encoder
    generator, mapper = networks.generator, config.stage.mapper
    if min(sides) < encoder.smallest_side or any(side % encoder.multiple for side in sides):
        raise UserError(
            f"config.data: volumes of {tuple(sides)} do not suit the encoder, which takes sides of "
            f"{encoder.smallest_side} or more that are multiples of {encoder.multiple}"
        )
    if any(side % generator.multiple for side in sides[1:]):
        raise UserError(
            f"config.model.generator: slices of {tuple(sides[1:])} are no multiples of {generator.multiple}, its "
            "depth_to_space and upsampling; use fewer widths or a smaller depth_to_space"
        )
    if mapper.positions > min(sides) or (mapper.positions < 2 and config.loss.particles == "segment"):
        raise UserError(
            f"config.stage.mapper.positions: {mapper.positions} must be from 2 to the shortest side, {min(sides)}"
        )


def _has_generator(config: ConfigDict, workdir: PathLike, start: dict) -> bool:
    """Whether generator and prior are known, or not needed, before the first stage that is still to be trained."""
    given = config.start_from and ("generator" in start or is_kept(workdir))
    begun = saved_steps(run_directory.checkpoint_directory(workdir, "generator"))
    return bool(given or begun or tuple(config.stages) == ("encoder",))


def _stage(
    index: int,
    name: str,
    params: dict,
    networks: GenerationNetworks,
    config: ConfigDict,
    real: dict[str, np.ndarray],
    cache: pathlib.Path,
    names: Sequence[str],
) -> Stage:
    settings, volumes = config.stage[name], real["train"]
    shown = {"real": real["validation"][: config.log.validation_subjects], "config": config}
    drifting = {"temperatures": tuple(config.loss.temperatures), "field": config.loss.field, "axis_name": DATA_AXIS}
    slices, names_of_batch = settings.batch, None
    batches: Any
    if name == "encoder":
        draw = {"seed": config.seed, "batch": settings.batch}
        elements: Any = volumes
        batches = process_batches(elements, RandomSlice(max(volumes.shape[1:])), threads=config.data.threads, **draw)
        names_of_batch = batch_names(names, **draw)
        network = autoencoder(networks)
        loss = reconstruction_loss(
            network, mask_patch_size=settings.mask_patch_size, mask_ratio=settings.mask_ratio, axis_name=DATA_AXIS
        )
        validate = functools.partial(validate_reconstructions, network, **shown)
    else:
        planes = ("axial",) if name == "generator" else tuple(config.loss.planes)
        bank: dict[str, Any] = real_bank(
            networks,
            params["encoder"],
            volumes,
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
            )
            if settings.reconstruction_weight:
                bank = bank | {"volumes": volumes.astype(np.float16)}
            validate = functools.partial(validate_slices, networks, **shown)
        else:
            slices *= volumes.shape[1]
            loss = mapper_loss(
                networks,
                shape=volumes.shape[1:],
                batch=settings.batch,
                positives=settings.positives,
                positions=settings.positions,
                chunk=settings.chunk,
                planes=planes,
                particles=config.loss.particles,
                **drifting,
            )
            validate = functools.partial(validate_volumes, networks, **shown)
        batches = ReplicatedBatch(bank)
    step, state = step_and_state(
        loss,
        params,
        dict.fromkeys(TRAINED[name], settings.learning_rate),
        jax.random.fold_in(jax.random.key(config.seed), 10 + index),
        steps=settings.steps,
        optimizer=config.optimizer,
    )
    return Stage(name, settings.steps, slices, step, state, batches, validate, names_of_batch)
