"""Predicts a contrast of a real scan with a trained run, on the scan's own grid."""

from collections.abc import Callable

import numpy as np

from experiments.real_scans.scans import CONTRASTS, Scan
from lift_jax.data.cases import Case
from lift_jax.data.regrid import regrid_brain_onto
from lift_jax.inference.complete import predict_contrasts
from lift_jax.inference.guided import guided_upsampling
from lift_jax.places import place
from lift_jax.trained import load_trained


def predictor(workdir: str, guided: bool = True) -> Callable[[Scan, str], np.ndarray]:
    """A function of a scan and the contrast to hide, to its prediction `[D, H, W]` in [0, 1] from all others."""
    trained = load_trained(place(workdir))

    def predict(scan: Scan, target: str) -> np.ndarray:
        images, affine = scan.coarse(trained.config.data.spacing)
        shape = next(iter(images.values())).shape
        volumes = np.stack([images.get(contrast, np.zeros(shape, np.float32)) for contrast in CONTRASTS], axis=-1)
        available = np.array([contrast in images and contrast != target for contrast in CONTRASTS])
        case = Case(scan.name, volumes, volumes, available, affine)
        wanted = [CONTRASTS.index(target)]
        (coarse,) = predict_contrasts(trained.network, trained.params, case, available, wanted, **trained.options)
        sources = scan.sources(target)
        if guided:
            return guided_upsampling(coarse, volumes[..., available], affine, sources, scan.affine)
        return regrid_brain_onto(coarse, affine, (sources > 0).any(axis=-1), scan.affine)

    return predict
