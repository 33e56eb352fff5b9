"""Translation (LiFT-C): channels of a subject to another."""

from lift_jax.tasks.base import Task
from lift_jax.training.translation import check_devices, train_translation

TASK = Task("translation", check_devices, train_translation, None, None, frozenset(), None)
