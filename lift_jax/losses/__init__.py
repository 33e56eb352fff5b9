"""Training losses."""

from lift_jax.losses.drifting import drifting_loss
from lift_jax.losses.fields import FIELDS
from lift_jax.losses.triplanar import triplanar_drifting_loss

__all__ = ["FIELDS", "drifting_loss", "triplanar_drifting_loss"]
