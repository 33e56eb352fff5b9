"""Predicts a channel of a real scan with a trained run, on the scan's own grid."""

from collections.abc import Callable

import numpy as np

from experiments.real_scans.scans import Scan
from lift_jax.data.resample import resample_within_mask
from lift_jax.data.subject import Subject
from lift_jax.inference.guided import guided_upsampling
from lift_jax.inference.translate import predict_channels
from lift_jax.paths import resolve_path
from lift_jax.trained import load_trained


def predictor(workdir: str, guided: bool = True) -> Callable[[Scan, str], np.ndarray]:
    """A function of a scan and the channel to hide, to its prediction `[D, H, W]` in [0, 1] from all others."""
    trained = load_trained(resolve_path(workdir))
    spacing = trained.config.data.spacing

    def predict(scan: Scan, target: str) -> np.ndarray:
        images, affine = scan.coarse(spacing)
        subject = Subject(scan.name, images, affine)
        names = trained.channels.sources_of(target, images)
        inputs = trained.network, trained.params, trained.channels, subject, names, [target]
        coarse = predict_channels(*inputs, **trained.options)[target]
        sources = scan.sources(target)
        guides = np.stack([images[name] for name in images if name != target], axis=-1)
        known, inside = (guides > 0).any(axis=-1), (sources > 0).any(axis=-1)
        if guided:
            return guided_upsampling(coarse, guides, known, affine, sources, inside, scan.affine)
        return resample_within_mask(coarse, known, affine, inside, scan.affine)

    return predict
