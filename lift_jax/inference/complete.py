"""From a case in protocol units to its missing contrasts in protocol units."""

from collections.abc import Sequence

import jax
import numpy as np

from lift_jax.data.cases import Case
from lift_jax.data.intensities import from_network, to_network
from lift_jax.inference.translate import translate_volume
from lift_jax.models.volume_translator import VolumeTranslator


def predict_contrasts(
    network: VolumeTranslator,
    params: dict,
    case: Case,
    available: np.ndarray,
    targets: Sequence[int],
    *,
    chunk: int,
    skip_memory: float,
    mesh: jax.sharding.Mesh | None = None,
) -> np.ndarray:
    """Wanted contrasts of a case, `[len(targets), D, H, W]` float32 in [0, 1], zero where all sources are.

    Args:
      network: the network; params: its parameters.
      case: the case; its sources are looked at, never its targets.
      available: `[C]` bool, the sources to use.
      targets: channels that are wanted.
      chunk, skip_memory, mesh: see `translate_volume`.
    """
    predictions = translate_volume(
        network,
        params,
        to_network(case.sources),
        available,
        targets,
        chunk=chunk,
        skip_memory=skip_memory,
        mesh=mesh,
    )
    inside = (case.sources[..., np.flatnonzero(available)] > 0).any(axis=-1)
    return np.where(inside, np.clip(from_network(predictions), 0, 1), 0).astype(np.float32)
