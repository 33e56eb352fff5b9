"""How sure a translation is: by how much predictions differ from mirrored volumes and from fewer sources."""

import dataclasses
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from lift_jax.data.cases import Case
from lift_jax.inference.complete import predict_contrasts
from lift_jax.models.volume_translator import VolumeTranslator


class View(NamedTuple):
    """A way to look at a case: mirrored left and right or not, and the sources that are used, `[C]` bool."""

    mirrored: bool
    available: np.ndarray


def views(available: np.ndarray, passes: int) -> list[View]:
    """The first `passes` ways to look at a case, or all there are: 2, 6 and 8 with one, two and three sources.

    In this order: all sources as they are; all, mirrored; where there are two or more, without the first, without the
    second, …; and those mirrored.

    Args:
      available: `[C]` bool, the sources there are.
      passes: how many.
    """
    everything = np.asarray(available, bool)
    sources = np.flatnonzero(everything)
    fewer = [everything & (np.arange(everything.size) != channel) for channel in sources if sources.size > 1]
    subsets = [
        (False, everything),
        (True, everything),
        *((mirrored, some) for mirrored in (False, True) for some in fewer),
    ]
    return [View(*subset) for subset in subsets[:passes]]


def predict_with_deviation(
    network: VolumeTranslator,
    params: dict,
    case: Case,
    available: np.ndarray,
    targets: Sequence[int],
    passes: int,
    **options,
) -> tuple[np.ndarray, np.ndarray]:
    """Wanted contrasts of a case as `predict_contrasts` makes them, and the standard deviation over views.

    The deviation is that of the views themselves (divided by their number). The prediction is that of the first view
    alone: a mean would be smoother than any volume is.

    Args:
      network, params, case, available, targets, options: as in `predict_contrasts`.
      passes: views to predict from, see `views`.

    Returns:
      Both `[len(targets), D, H, W]` float32 in [0, 1].
    """
    plain = mean = squares = np.float32(0)
    for count, (mirrored, used) in enumerate(views(available, passes), 1):
        seen = dataclasses.replace(case, sources=case.sources[:, :, ::-1]) if mirrored else case
        prediction = predict_contrasts(network, params, seen, used, targets, **options)
        prediction = prediction[..., ::-1] if mirrored else prediction
        # Welford's sums, so that one volume more is in memory and not one for each view.
        departure = prediction - mean
        mean = mean + departure / np.float32(count)
        squares = squares + departure * (prediction - mean)
        plain = prediction if count == 1 else plain
    return plain, np.sqrt(np.maximum(squares, 0) / np.float32(count))
