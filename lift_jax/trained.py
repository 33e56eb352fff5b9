"""A trained network, rebuilt from a work directory: its configuration as JSON, its averaged parameters from Orbax."""

import dataclasses
import functools
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from ml_collections import ConfigDict

from lift_jax import run_directory
from lift_jax.checkpoints import restore_ema, saved_steps
from lift_jax.data.channels import Channels, channels_of
from lift_jax.data.single_channel import volume_shape
from lift_jax.data.subject import Subject
from lift_jax.errors import UserError
from lift_jax.inference.chunked import place, slice_mesh
from lift_jax.inference.predict import predict_channels
from lift_jax.models.generation_networks import GenerationNetworks, generation_networks, initial_generation_parameters
from lift_jax.models.volume_translator import VolumeTranslator, initial_parameters, volume_translator
from lift_jax.paths import PathLike
from lift_jax.weights import is_exported, is_shipped, read_weights


@dataclasses.dataclass(frozen=True)
class Trained:
    """What inference needs of a run.

    Attributes:
      config: of the run.
      channels: what it translates.
      network: the network.
      params: averaged parameters of the newest checkpoint of the last stage that has one.
      stage: that stage.
      step: the checkpoint's step.
      mesh: devices over which the slices of a volume are divided; None: one device.
      shipped: the weights come with the package.
    """

    config: ConfigDict
    channels: Channels
    network: VolumeTranslator
    params: dict
    stage: str
    step: int
    mesh: jax.sharding.Mesh | None = None
    shipped: bool = False

    def predict(self, subject: Subject, sources: Sequence[str], targets: Sequence[str]) -> dict[str, np.ndarray]:
        """Target channels of a subject in the units of their protocols; see `predict_channels`."""
        return predict_channels(self.network, self.params, self.channels, subject, sources, targets, **self.options)

    @property
    def options(self) -> dict:
        """How volumes are translated, as `predict_channels` takes it."""
        inference = self.config.inference
        return {
            "chunk": inference.chunk,
            "skip_cache_gib": inference.skip_cache_gib,
            "in_foreground_box": self.config.data.foreground_box,
            "mesh": self.mesh,
        }


def load_trained(workdir: PathLike) -> Trained:
    """The newest state of a run; nothing from the work directory is executed.

    Raises:
      UserError: if there is no run, or no checkpoint yet, or it is of another network.
    """
    config = run_directory.read_config(workdir)
    channels = channels_of(config.data)
    network = volume_translator(config.model, channels)
    shapes = jax.eval_shape(functools.partial(initial_parameters, network), jax.random.key(0))
    if is_exported(workdir):
        params, stage, step = read_weights(workdir, shapes)
    else:
        stage = newest_stage(workdir, config)
        params, step = restore_ema(run_directory.checkpoint_directory(workdir, stage), shapes)
    return Trained(config, channels, network, params, stage, step, shipped=is_shipped(workdir))


def newest_stage(workdir: PathLike, config: ConfigDict) -> str:
    """The last stage of a run that has a checkpoint.

    Raises:
      UserError: if none has.
    """
    for name in reversed(config.stages):
        if saved_steps(run_directory.checkpoint_directory(workdir, name)):
            return name
    raise UserError(f"{workdir}: holds no checkpoint yet; let train.py get to its first one")


def for_inference(trained: Trained, dtype: str | None = None) -> Trained:
    """The same run on all devices of this process, and with activations of another type if one is named."""
    network, config = trained.network, trained.config.copy_and_resolve_references()
    if dtype:
        network = network.clone(translator=network.translator.clone(dtype=jnp.dtype(dtype)))
        config.model.translator.dtype = dtype
    mesh = slice_mesh()
    return dataclasses.replace(trained, config=config, network=network, params=place(trained.params, mesh), mesh=mesh)


@dataclasses.dataclass(frozen=True)
class TrainedGeneration:
    """What sampling needs of a run of LiFT-U.

    Attributes:
      config: of the run.
      networks: encoder, generator and mapper.
      params: averaged parameters of all three.
      shape: of a volume in training, (D, H, W).
      stage: the stage that the parameters are of; step: its checkpoint's step.
    """

    config: ConfigDict
    networks: GenerationNetworks
    params: dict
    shape: tuple[int, int, int]
    stage: str
    step: int


def load_generation(workdir: PathLike) -> TrainedGeneration:
    """The newest state of a run of LiFT-U; nothing from the work directory is executed.

    Raises:
      UserError: if there is no such run, or its mapper has no checkpoint yet, or it is of another network.
    """
    config = run_directory.read_config(workdir)
    if config.task != "generation":
        raise UserError(f"{workdir}: is a run of task {config.task}, which makes no volumes out of noise")
    shape = volume_shape(config.data)
    networks = generation_networks(config, shape)
    shapes = jax.eval_shape(lambda: initial_generation_parameters(networks, config))
    directory = run_directory.checkpoint_directory(workdir, "mapper")
    params, step = restore_ema(directory, shapes)
    return TrainedGeneration(config, networks, params, shape, "mapper", step)
