"""A trained network, rebuilt from a work directory: its configuration as JSON, its averaged parameters from Orbax."""

import dataclasses
import functools
import json
import os
from collections.abc import Sequence
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict
from ml_collections import ConfigDict
from safetensors.numpy import save

from lift_jax import run_directory
from lift_jax.checkpoints import restore_ema, saved_steps
from lift_jax.data.channels import Channels, channels_of
from lift_jax.data.single_channel import volume_shape
from lift_jax.data.subject import Subject
from lift_jax.errors import UserError, near
from lift_jax.inference.translate import place, predict_channels, slice_mesh
from lift_jax.models.encoders.weights import read_safetensors
from lift_jax.models.generation_networks import GenerationNetworks, generation_networks, initial_generation_parameters
from lift_jax.models.volume_translator import VolumeTranslator, initial_parameters, volume_translator
from lift_jax.paths import PathLike, is_in_bucket, resolve_path


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


WEIGHTS_FILE, CARD_FILE = "weights.safetensors", "model_card.md"

SHIPPED = Path(__file__).parent / "shipped"
"""A folder for each set of weights of the package."""

NOTICE = "trained on simulated brains only; for research, not for diagnosis"
"""What is said wherever shipped weights are used."""


def shipped_names() -> list[str]:
    """The names of the weights that come with the package."""
    return sorted(path.parent.name for path in SHIPPED.glob(f"*/{WEIGHTS_FILE}"))


def shipped_folder(name: str) -> Path:
    """The folder of shipped weights, which stands for a work directory.

    Raises:
      UserError: there are none of this name.
    """
    if name not in shipped_names():
        known = shipped_names()
        raise UserError(
            f"--weights: {name!r} is none of {', '.join(known) or 'none that came along'}{near(name, known)}"
        )
    return SHIPPED / name


def trained_folder(name: str | os.PathLike) -> PathLike:
    """The folder of shipped weights of this name, or else the work directory at this path."""
    return shipped_folder(str(name)) if name in shipped_names() else resolve_path(os.fspath(name))


def is_exported(workdir: PathLike) -> bool:
    """Whether a folder holds exported weights in place of checkpoints."""
    return not is_in_bucket(workdir) and (workdir / WEIGHTS_FILE).exists()


def is_shipped(workdir: PathLike) -> bool:
    """Whether a folder is one of the package."""
    return not is_in_bucket(workdir) and Path(os.fspath(workdir)).parent == SHIPPED


def read_weights(workdir: PathLike, like: dict) -> tuple[dict, str, int]:
    """Parameters of an exported run as float32, the stage that they are of, and its step.

    Args:
      workdir: the folder.
      like: arrays, or their shapes, in the structure of the parameters.

    Raises:
      UserError: a file is missing or damaged, or is of another network.
    """
    path = workdir / WEIGHTS_FILE
    found = {tuple(name.split("/")): tensor for name, tensor in read_safetensors(path).items()}
    progress = [key for key in found if key[0] == "progress"]
    expected = flatten_dict(like)
    params = {key: tensor for key, tensor in found.items() if key not in progress}
    if {key: tensor.shape for key, tensor in params.items()} != {key: leaf.shape for key, leaf in expected.items()}:
        raise UserError(f"{path}: is of another network than config.json beside it; export the run again")
    stage, step = next(((key[1], int(found[key])) for key in progress), ("joint", 0))
    return unflatten_dict({key: jnp.asarray(tensor, jnp.float32) for key, tensor in params.items()}), stage, step


def write_weights(folder: Path, params: dict, config: dict, stage: str, step: int) -> None:
    """Writes `config.json` and `weights.safetensors`, parameters in half precision.

    Args:
      folder: made if it is not there.
      params: averaged parameters.
      config: of the run, as JSON holds it; paths of the machine are left out.
      stage, step: which checkpoint they are.
    """
    folder.mkdir(parents=True, exist_ok=True)
    config = config | {"data": config["data"] | dict.fromkeys(("root", "manifest", "split_file", "cache"), "")}
    tensors = {"/".join(key): np.asarray(leaf, np.float16) for key, leaf in flatten_dict(params).items()}
    tensors[f"progress/{stage}"] = np.array(step, np.int32)
    (folder / "config.json").write_text(json.dumps(config | {"start_from": ""}, indent=2) + "\n", encoding="utf-8")
    (folder / WEIGHTS_FILE).write_bytes(save(tensors))
