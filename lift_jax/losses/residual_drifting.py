"""A drifting loss beside a regression: residuals of a prediction drift towards those of the truth."""

from collections.abc import Sequence

import jax

from lift_jax.losses.drifting import TEMPERATURES, drifting_loss
from lift_jax.models.blocks import space_to_depth


def residual_drifting_loss(
    prediction: jax.Array,
    target: jax.Array,
    reference: jax.Array,
    *,
    patch: int = 8,
    temperatures: Sequence[float] = TEMPERATURES,
    field: str = "softmax",
    axis_name: str | None = None,
) -> tuple[jax.Array, dict[str, jax.Array]]:
    """The drifting loss of patches of `prediction - reference` towards patches of `target - reference`, a scalar.

    A particle is one slice's patch, and each place of the image a location of its own, at which the residuals of all
    slices of the batch are compared as a distribution: what a regression smooths away is missed there. Residuals,
    because in them distances tell slices of one place apart; and only beside a regression, which alone knows which
    prediction belongs to which target (arXiv 2604.19736, 2603.28498, 2605.17188).

    Args:
      prediction, target, reference: `[B, D, H, W]` in [-1, 1]; the reference is the source, say. Gradients flow into
        the prediction alone.
      patch: side of a patch, pixels; rows and columns beyond a multiple of it are left out.
      temperatures, field: see `drifting_loss`.
      axis_name: the mapped axis whose devices share the global batch.

    Returns:
      The mean over locations, and the statistics of `drifting_loss`, named `drifting_<statistic>`.

    Raises:
      ValueError: if a slice is smaller than a patch, or there is one slice in all.
    """
    if min(prediction.shape[2:]) < patch:
        raise ValueError(f"patches of {patch} pixels do not fit in slices of {prediction.shape[2:]}")
    generated, real = (_patches(x - reference, patch) for x in (prediction, target))
    losses, stats = drifting_loss(generated, real, temperatures=temperatures, field=field, axis_name=axis_name)
    return losses.mean(), {f"drifting_{name}": value for name, value in stats.items()}


def _patches(residuals, side):
    """`[B, D, H, W]` to one location a place, one particle a slice: `[places, B D, side²]`."""
    _, _, height, width = residuals.shape
    whole = residuals[:, :, : height // side * side, : width // side * side]
    patches = space_to_depth(whole.reshape(-1, *whole.shape[2:], 1), side)
    return patches.reshape(patches.shape[0], -1, side * side).transpose(1, 0, 2)
