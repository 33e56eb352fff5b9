"""Trains LiFT-C on scans in memory, from the start or from the weights of another run."""

import dataclasses
import functools
import hashlib
from collections.abc import Sequence
from pathlib import Path

import jax
import numpy as np
from ml_collections import ConfigDict

from experiments.real_scans.scans import CONTRASTS, Scan
from lift_jax import run_directory
from lift_jax.data.cases import Case
from lift_jax.data.windows import TakeWindow
from lift_jax.models.build import configured_translator, initial_parameters
from lift_jax.models.volume_translator import VolumeTranslator
from lift_jax.training.cases import cache_shared
from lift_jax.training.translation_loss import translation_loss
from lift_jax.training.translator_stages import train_stages, training_size


def as_case(scan: Scan, spacing: float) -> Case:
    """A scan in voxels of `spacing` mm with the levels that it has at its own resolution."""
    images, affine = scan.coarse(spacing)
    absent = np.zeros(next(iter(images.values())).shape, np.float32)
    volumes = np.stack([images.get(contrast, absent) for contrast in CONTRASTS], axis=-1)
    return Case(scan.name, volumes, volumes, np.array([contrast in images for contrast in CONTRASTS]), affine)


@dataclasses.dataclass(frozen=True)
class ScanCases:
    """A `CaseSource` of scans in voxels of `spacing` mm."""

    scans: Sequence[Scan]
    spacing: float

    @property
    def names(self) -> list[str]:
        """Names of the scans."""
        return [scan.name for scan in self.scans]

    def load(self, index: int) -> Case:
        """Scan `index` as a case."""
        return as_case(self.scans[index], self.spacing)

    def fingerprint(self, index: int) -> str:
        """A hex digest of the scan's name, voxels and spacing."""
        scan = self.scans[index]
        digest = hashlib.blake2b(f"{scan.site} {scan.name} {self.spacing} {sorted(scan.images)}".encode())
        for image in scan.images.values():
            digest.update(np.ascontiguousarray(image))
        return digest.hexdigest()[:32]


def train_on_scans(
    config: ConfigDict, workdir: Path, scans: Sequence[Scan], start: dict | None = None
) -> tuple[VolumeTranslator, dict]:
    """The network and its averaged parameters after the stages of a configuration; resumable.

    Args:
      config: its `data.spacing`, `data.targets` and augmentation count, its data set doesn't.
      workdir: for cache and checkpoints.
      scans: what to train on.
      start: parameters to begin with; None begins at random.
    """
    network = configured_translator(config)
    params = initial_parameters(network, jax.random.key(config.seed)) if start is None else start
    run_directory.prepare(workdir, config)
    cases = cache_shared(ScanCases(scans, config.data.spacing), config, workdir)
    take_window = functools.partial(
        TakeWindow,
        size=training_size(cases, config, network),
        targets=tuple(CONTRASTS.index(name) for name in config.data.targets),
        flip=config.data.flip,
        source_drop=config.data.source_drop,
        gamma=config.data.gamma,
    )
    loss = functools.partial(translation_loss, network, config.loss)
    params = train_stages(
        config, workdir, params, cases, take_window=take_window, loss=loss, look=lambda params: ({}, {})
    )
    return network, params
