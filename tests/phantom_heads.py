"""Writes phantom heads as SynthRAD2023 names them: `<output>/<subject>/{mr,ct,mask}.nii.gz`."""

import pathlib
from collections.abc import Collection, Iterable

import numpy as np

from lift_jax.data.geometry import new_geometry
from lift_jax.data.phantom.head import field_spacing, make_phantom_head
from lift_jax.data.volumes import write_volume


def write(
    output: pathlib.Path, seed: int, indices: Iterable[int], shape: tuple[int, int, int], without: Collection[str] = ()
) -> None:
    """Makes the subjects of the data set `seed` and writes their files, but for those of the kinds in `without`."""
    for index in indices:
        phantom = make_phantom_head(seed, index, shape, field_spacing(shape))
        folder = output / phantom.name
        folder.mkdir(parents=True, exist_ok=True)
        grid = new_geometry(phantom.mr.shape, phantom.affine)
        volumes = {
            "mr": (1000 * phantom.mr, np.float32),
            "ct": (phantom.ct, np.int16),
            "mask": (phantom.mask, np.uint8),
        }
        for kind, (array, dtype) in volumes.items():
            if kind not in without:
                write_volume(folder / f"{kind}.nii.gz", array, grid, dtype=dtype)
        print(folder)
