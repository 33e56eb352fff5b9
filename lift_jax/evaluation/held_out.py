"""The task of missing-modality MR on a case that has all contrasts: hide one, and predict it from the others."""

import jax
import numpy as np
from ml_collections import ConfigDict

from lift_jax.data.cases import CONTRASTS, Case
from lift_jax.evaluation.report_figures import PictureCase
from lift_jax.inference.complete import predict_contrasts
from lift_jax.models.volume_translator import VolumeTranslator


def other_contrasts(case: Case, target: str) -> np.ndarray:
    """`[C]` bool: the contrasts that the case has, but for the one that is hidden."""
    return case.available & (np.array(CONTRASTS) != target)


def predict_hidden(
    network: VolumeTranslator,
    params: dict,
    case: Case,
    target: str,
    config: ConfigDict,
    mesh: jax.sharding.Mesh | None = None,
) -> np.ndarray:
    """The hidden contrast from all others, `[D, H, W]` float32 in [0, 1].

    Args:
      network: the network; params: its parameters.
      case: a case that has the target.
      target: the contrast to hide and predict.
      config: of the run, for its `inference` section.
      mesh: see `translate_volume`.
    """
    available = other_contrasts(case, target)
    (prediction,) = predict_contrasts(
        network,
        params,
        case,
        available,
        [CONTRASTS.index(target)],
        chunk=config.inference.chunk,
        skip_memory=config.inference.skip_memory,
        mesh=mesh,
    )
    return prediction


def picture_hidden(case: Case, target: str, prediction: np.ndarray, rank: str) -> PictureCase:
    """The prediction beside the first source and the truth; `rank` says why this case is shown."""
    first = np.flatnonzero(other_contrasts(case, target))[0]
    return PictureCase(
        case=case.name,
        contrast=target,
        rank=rank,
        source=case.sources[..., first],
        target=case.targets[..., CONTRASTS.index(target)],
        prediction=prediction,
        spacing=tuple(np.linalg.norm(case.affine[:3, :3], axis=0)[::-1]),
    )
