"""Feature banks: features of all slices of all real volumes from the frozen encoder, cached on disk by content.

A bank is `{plane: {name: [V, D, L, C]}}`, in `<cache>/banks/<digest>-<plane>/`; the digest is of the volumes, the
encoder and its parameters, and the feature set.
"""

import functools
import hashlib
import pathlib
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np

from lift_jax.data.cache import atomic_directory, remove_leftovers, save_array
from lift_jax.data.intensity import unit_to_network
from lift_jax.errors import UserError
from lift_jax.losses.triplanar import PLANES
from lift_jax.models.generation_networks import GenerationNetworks
from lift_jax.progress import progress

VERSION = 1
"""Part of every digest; incremented when the content of banks changes."""


def real_bank(
    networks: GenerationNetworks,
    encoder: dict,
    volumes: np.ndarray,
    *,
    planes: Sequence[str],
    chunk: int,
    dtype: str,
    directory: pathlib.Path,
) -> dict[str, dict[str, np.ndarray]]:
    """The bank of real volumes, from disk or computed and written.

    Args:
      networks: of which `encode` is used.
      encoder: the encoder's parameters.
      volumes: `[V, D, H, W]` in [0, 1].
      planes: along which slices are taken.
      chunk: slices on the device at a time.
      dtype: of the features: float32 or bfloat16.
      directory: the cache.

    Raises:
      UserError: if a feature is not finite, or the disk is full.
    """
    digest = _digest(networks, encoder, volumes, dtype)
    bank = {}
    for plane in planes:
        path = directory / "banks" / f"{digest}-{plane}"
        if not path.is_dir():
            _write(path, _encode_plane(networks, encoder, volumes, plane, chunk, jnp.dtype(dtype)))
        bank[plane] = _read(path, jnp.dtype(dtype))
    return bank


def _encode_plane(networks, encoder, volumes, plane, chunk, dtype) -> dict[str, np.ndarray]:
    """Features of every slice along a plane's normal, `{name: [V, D, L, C]}`."""
    encode = jax.jit(functools.partial(networks.encode, {"encoder": encoder}))
    axis = PLANES.index(plane)
    tensors: dict[str, np.ndarray] = {}
    for i, volume in enumerate(progress(volumes, description=f"{plane} features of real volumes", unit="volume")):
        slices = unit_to_network(np.moveaxis(np.asarray(volume, np.float32), axis, 0))[..., None]
        for start in range(0, len(slices), chunk):
            # The last slice is repeated, so that all chunks have one shape and one compiled function.
            rows = np.minimum(np.arange(start, start + chunk), len(slices) - 1)
            stop = min(start + chunk, len(slices))
            for name, x in encode(slices[rows]).items():
                x = np.asarray(x)
                if name not in tensors:
                    tensors[name] = np.empty((len(volumes), len(slices), *x.shape[1:]), dtype)
                tensors[name][i, start:stop] = x[: stop - start]
    for name, x in tensors.items():
        if not all(np.isfinite(part.astype(np.float32)).all() for part in x):
            raise UserError(
                f"{plane} features of real volumes: {name} holds values that are not finite; check "
                "config.model.encoder and, if config.features.dtype is bfloat16, use float32"
            )
    return tensors


def _write(path: pathlib.Path, tensors: dict[str, np.ndarray]) -> None:
    remove_leftovers(path.parent)
    with atomic_directory(path) as folder:
        for name, x in tensors.items():
            save_array(folder / f"{name}.npy", x.view(np.uint16) if x.dtype == jnp.bfloat16 else x)


def _read(path: pathlib.Path, dtype: np.dtype) -> dict[str, np.ndarray]:
    try:
        arrays = {file.stem: np.load(file, mmap_mode="r", allow_pickle=False) for file in sorted(path.glob("*.npy"))}
    except (OSError, EOFError, ValueError) as error:
        raise UserError(f"{path}: damaged ({error}); delete it and start again") from None
    return {name: x.view(dtype) if dtype == jnp.bfloat16 else x for name, x in arrays.items()}


def _digest(networks: GenerationNetworks, encoder: dict, volumes: np.ndarray, dtype: str) -> str:
    digest = hashlib.sha256(repr((VERSION, networks.encoder, networks.features, volumes.shape, dtype)).encode())
    for leaf in jax.tree.leaves(encoder):
        digest.update(np.asarray(leaf).tobytes())
    for volume in volumes:
        digest.update(volume.tobytes())
    return digest.hexdigest()[:32]
