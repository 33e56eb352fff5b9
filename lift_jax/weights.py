"""Weights of runs that come with the package, and folders like them: `config.json` beside `weights.safetensors`.

Such a folder stands for a work directory wherever a trained run is read. Nothing in it is executed.
"""

import json
import os
from pathlib import Path

import jax.numpy as jnp
import numpy as np
from flax.traverse_util import flatten_dict, unflatten_dict
from safetensors.numpy import save

from lift_jax.errors import UserError, near
from lift_jax.models.encoders.weights import read_safetensors
from lift_jax.paths import PathLike, is_in_bucket, resolve_path

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
    wanted = flatten_dict(like)
    params = {key: tensor for key, tensor in found.items() if key not in progress}
    if {key: tensor.shape for key, tensor in params.items()} != {key: leaf.shape for key, leaf in wanted.items()}:
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
