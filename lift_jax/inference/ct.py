"""From an MR to its synthetic CT in Hounsfield units."""

import jax
import numpy as np

from lift_jax.data.hounsfield import OUTSIDE, network_to_hounsfield
from lift_jax.data.intensities import to_network
from lift_jax.data.paired_cases import PairedCase
from lift_jax.inference.translate import translate_volume
from lift_jax.models.volume_translator import VolumeTranslator


def predict_ct(
    network: VolumeTranslator,
    params: dict,
    case: PairedCase,
    *,
    chunk: int,
    skip_memory: float,
    mesh: jax.sharding.Mesh | None = None,
) -> np.ndarray:
    """The CT of a case, `[D, H, W]` float32 in HU within [-1024, 3000], -1024 outside the body.

    Args:
      network: the network; params: its parameters.
      case: the case; its MR and mask are looked at, never its CT.
      chunk, skip_memory, mesh: see `translate_volume`.
    """
    (prediction,) = translate_volume(
        network,
        params,
        to_network(case.mr)[..., None],
        available=[True],
        targets=[0],
        chunk=chunk,
        skip_memory=skip_memory,
        mesh=mesh,
    )
    return np.where(case.mask, network_to_hounsfield(prediction), np.float32(OUTSIDE)).astype(np.float32)
